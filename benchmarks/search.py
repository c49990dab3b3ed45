"""Benchmark of searches: python -m benchmarks.search [--seeds N] [--only NAME ...].

Each contender has the same number of calls, the same starts, and a simulated model that sees the
text of the prompt and nothing else; for programs, a random change of the parent takes its place.
The score in the tables is the true one of the x that would have been returned after that many
calls, the median over the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from random import Random
from statistics import NormalDist, median

from llm_optimize.propose.language import HUMAN_PROMPT, SYSTEM_PROMPT
from llm_optimize.propose.model import ModelProposer
from llm_optimize.propose.mutation import Mutation
from llm_optimize.records import (
    Message,
    Plan,
    Proposer,
    Reply,
    Search,
    Status,
    Task,
    Trial,
    Usage,
    X,
    rank,
)
from llm_optimize.search import as_search

from .bars import Bar, measure, report, zero
from .guesser import Guesser
from .landscapes import LANDSCAPES, Place
from .programs import PROGRAMS, run_program

SEARCHES = ("best", "chat", "tree", "islands", "pareto")
BEST_OF_N = "best-of-n"
AT_CALLS = (25, 50, 100, 200)
SEEDS = 20
_PROGRAM_SEEDS = 0.5  # of the seeds: a program takes longer
_SEEDS_FOR_NOISE = 8  # with fewer, a lag cannot be distinguished from noise
_BEYOND_NOISE = 0.01  # p-value of a lag, per comparison
_TASK = Task(
    "Find an x with a high score. x is numbers from -5 to 5.",
    "Which x scores higher?",
    SYSTEM_PROMPT,
    HUMAN_PROMPT,
)
Scores = Mapping[
    str, Mapping[str, Sequence[Sequence[float]]]
]  # by problem, contender, seed, calls


class BestOfN:
    """Independent drafts: every plan is the first x alone."""

    def __init__(self) -> None:
        self._first: Trial | None = None

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the same plan every time."""
        return Plan(self._first)

    def observe(self, trial: Trial) -> None:
        """Learn nothing but the first x."""
        self._first = self._first or trial


@dataclass(frozen=True)
class Problem:
    """What is optimized, by which proposer and model, for one seed."""

    start: str
    proposer: Proposer
    model: Callable[[Sequence[Message]], str]
    score: Callable[
        [str], float
    ]  # that the search observes; it may raise ValueError or ArithmeticError
    truth: Callable[[str], float]


def problem(name: str, seed: int) -> Problem:
    """Return a landscape or a program."""
    if name in LANDSCAPES:
        place = Place(LANDSCAPES[name], seed)
        start = f"[{', '.join(f'{a:.5g}' for a in place.start)}]"
        model = Guesser(seed)
        return Problem(
            start,
            ModelProposer(_TASK),
            model,
            lambda x: place.score(_numbers(x)),
            lambda x: -place.height(_numbers(x)),
        )
    run = partial(run_program, name, seed=seed)
    return Problem(PROGRAMS[name][0], Mutation(), lambda messages: "", run, run)


def _numbers(x: str) -> list[float]:
    return [float(number) for number in x.strip("[]").split(",")]


async def curve(
    contender: str, name: str, seed: int, at_calls: Sequence[int]
) -> list[float]:
    """Return the true score of the best after so many calls each."""
    search: Search = BestOfN() if contender == BEST_OF_N else as_search(contender)
    here = problem(name, seed)
    best = _scored(here, 0, here.start, None)
    search.observe(best)
    here.proposer.observe(best)
    found = []
    for number in range(1, max(at_calls) + 1):
        plan = search.ask(Random(f"{seed}/plan/{number}"), ())
        proposal = await here.proposer.propose(
            plan, partial(_answer, here), Random(f"{seed}/propose/{number}")
        )
        trial = _scored(here, number, proposal.x, plan.parent)
        search.observe(trial)
        here.proposer.observe(trial)
        best = max(best, trial, key=rank)
        if number in at_calls:
            found.append(here.truth(str(best.x)))
    return found


async def _answer(here: Problem, messages: Sequence[Message]) -> Reply:
    return Reply(here.model(messages), Usage(1), "simulated")


def _scored(here: Problem, number: int, x: X | None, parent: Trial | None) -> Trial:
    above = parent.number if parent else None
    if not isinstance(x, str):
        return Trial.of(
            number, None, Status.INVALID, "simulated", feedback="no x", parent=above
        )
    try:
        score = here.score(x)
    except (ArithmeticError, ValueError) as error:
        return Trial.of(
            number,
            x,
            Status.FAILED,
            "simulated",
            feedback=f"{type(error).__name__}: {error}",
            parent=above,
        )
    return Trial.of(number, x, Status.COMPLETE, "simulated", score=score, parent=above)


def _run(job: tuple[str, str, int, tuple[int, ...]]) -> list[float]:
    return asyncio.run(curve(*job))


def compare(
    problems: Iterable[str],
    seeds: int,
    at_calls: Sequence[int] = AT_CALLS,
    contenders: Sequence[str] = (),
) -> Scores:
    """Return what all contenders reach on all problems with all seeds, on all cores."""
    names = contenders or (*SEARCHES, BEST_OF_N)
    jobs = [
        (one, name, seed, tuple(at_calls))
        for name in problems
        for one in names
        for seed in range(seeds)
    ]
    with get_context("spawn").Pool(os.cpu_count(), initializer=_be_nice) as pool:
        curves = pool.map(_run, jobs, chunksize=4)
    scores: dict[str, dict[str, list[Sequence[float]]]] = {}
    for (one, name, _, _), reached in zip(jobs, curves, strict=True):
        scores.setdefault(name, {}).setdefault(one, []).append(reached)
    return scores


def _be_nice() -> None:
    if hasattr(os, "nice"):
        os.nice(10)


# Statistics of the scores.


def medians(curves: Sequence[Sequence[float]]) -> list[float]:
    """Return the median over the seeds, after each number of calls."""
    return [median(scores) for scores in zip(*curves, strict=True)]


def lags(scores: Sequence[float], others: Sequence[float]) -> float:
    """Return the p-value of scores this low against the others of the same seeds.

    Wilcoxon's signed ranks, one-sided, with the normal approximation.
    """
    gaps = sorted(
        (a - b for a, b in zip(scores, others, strict=True) if a != b), key=abs
    )
    if not gaps:
        return 1.0
    ranks = [_mean_rank(gaps, gap) for gap in gaps]
    low = math.fsum(rank for rank, gap in zip(ranks, gaps, strict=True) if gap < 0)
    count = len(gaps)
    mean, spread = (
        count * (count + 1) / 4,
        math.sqrt(math.fsum(rank * rank for rank in ranks)) / 2,
    )
    return 1 - NormalDist().cdf((low - mean - 0.5) / spread)


def _mean_rank(gaps: Sequence[float], gap: float) -> float:
    same = [place for place, other in enumerate(gaps, 1) if abs(other) == abs(gap)]
    return sum(same) / len(same)


def table(scores: Scores, at_calls: Sequence[int] = AT_CALLS) -> str:
    """Return the medians of all contenders, problem by problem."""
    lines = []
    for name, rows in scores.items():
        lines.append(f"{name:24}" + "".join(f"{calls:>12}" for calls in at_calls))
        lines += [
            f"  {one:22}" + "".join(f"{value:12.4g}" for value in medians(rows[one]))
            for one in rows
        ]
    return "\n".join(lines)


def in_half_the_calls(
    scores: Scores, rival: str, at_calls: Sequence[int] = AT_CALLS
) -> list[str]:
    """Return the problems on which `best` reaches the last score of a rival in half the calls."""
    half = list(at_calls).index(at_calls[-1] // 2)
    return [
        name
        for name, rows in scores.items()
        if medians(rows["best"])[half] >= medians(rows[rival])[-1]
    ]


def worse(scores: Scores, at_calls: Sequence[int] = AT_CALLS) -> list[str]:
    """Return where a search lags behind best-of-n beyond noise."""
    return [
        f"{one} on {name} at {calls}"
        for name, rows in scores.items()
        for one in rows
        for place, calls in enumerate(at_calls)
        if lags(
            [row[place] for row in rows[one]], [row[place] for row in rows[BEST_OF_N]]
        )
        < _BEYOND_NOISE
    ]


def landscapes(seeds: int = SEEDS) -> list[Bar]:
    """Compare on landscapes, with a model that reads the prompt."""
    scores = compare(LANDSCAPES, seeds)
    print(table(scores))
    return [_half_bar(scores, rival, 5) for rival in (BEST_OF_N, "chat")] + [
        _worse_bar("landscapes", scores)
    ]


def programs(seeds: int = SEEDS) -> list[Bar]:
    """Compare on programs, with random changes."""
    scores = compare(PROGRAMS, max(2, round(seeds * _PROGRAM_SEEDS)))
    print(table(scores))
    return [_half_bar(scores, BEST_OF_N, 2), _worse_bar("programs", scores)]


def _half_bar(scores: Scores, rival: str, limit: int) -> Bar:
    reached = in_half_the_calls(scores, rival)
    missing = ", ".join(sorted(set(scores) - set(reached)))
    kind = "programs" if set(scores) <= set(PROGRAMS) else "landscapes"
    name = f"{kind} where best with half the calls reaches {rival}"
    return Bar(
        name,
        len(reached),
        limit,
        at_least=True,
        note=f"of {len(scores)}" + (f", not on {missing}" if missing else ""),
    )


def _worse_bar(kind: str, scores: Scores) -> Bar:
    name = f"{kind}: lags behind best-of-n beyond noise"
    if (
        min(len(curves) for rows in scores.values() for curves in rows.values())
        < _SEEDS_FOR_NOISE
    ):
        return Bar(
            name,
            None,
            0,
            note=f"it takes {_SEEDS_FOR_NOISE} seeds to distinguish a lag from noise",
        )
    found = worse(scores)
    return zero(name, len(found), "; ".join(found))


BENCHMARKS: dict[str, Callable[[int], list[Bar]]] = {
    "landscapes": landscapes,
    "programs": programs,
}


def benchmarks(seeds: int) -> dict[str, Callable[[], Iterable[Bar]]]:
    """Return the benchmarks with so many seeds; 3 take seconds, 20 take minutes."""
    return {name: partial(benchmark, seeds) for name, benchmark in BENCHMARKS.items()}


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="of each landscape; programs have half as many",
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    return report(measure(benchmarks(given.seeds), given.only), given.output)


if __name__ == "__main__":
    raise SystemExit(main())
