"""Benchmark of proposers of parameters: python -m benchmarks.learner [--seeds 30].

The columns: the best score of the first 30 and of all trials, the mean score of the first 30 and of
the last 30; all are means over the seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from random import Random
from statistics import fmean
from typing import Any

from llm_optimize.errors import BudgetSpent
from llm_optimize.propose.gates import AdaptiveRule, FixedAlphaRule, Gate, Rule
from llm_optimize.propose.policy_gradient import PolicyGradient
from llm_optimize.records import (
    Ask,
    Message,
    Plan,
    Proposal,
    Proposer,
    Reply,
    Status,
    Trial,
)
from llm_optimize.space import Space

from .bars import Bar, report
from .problems import A, B, Problem

TRIALS, EARLY, SEEDS = 150, 30, 30
COLUMNS = ("best of 30", "best of all", "mean of the first 30", "mean of the last 30")


class Uniform:
    """Draws every x afresh: what any learner has to beat."""

    def __init__(self, space: Space) -> None:
        """Take the parameters."""
        self._space = space

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return any x."""
        return Proposal(self._space.sample(rng), "uniform")

    def observe(self, trial: Trial) -> None:
        """Learn nothing."""


MAKERS: dict[str, Callable[[Space], Proposer]] = {
    "uniform": Uniform,
    "policy_gradient": PolicyGradient,
}


async def no_model(
    messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
) -> Reply:
    """Stand where a model would be asked."""
    raise BudgetSpent("no model here")


def scores_of(
    proposer: Proposer, problem: Problem, seed: int, trials: int = TRIALS
) -> list[float]:
    """Return the scores of a search in which this proposer writes every x."""

    async def search() -> list[float]:
        scores = []
        for number in range(trials):
            proposal = await proposer.propose(
                Plan(None), no_model, Random(f"{seed}/propose/{number}")
            )
            if not isinstance(proposal.x, dict):
                raise TypeError(
                    f"trial {number} has no parameters: {proposal.problem or proposal.x}"
                )
            scores.append(problem.f(proposal.x))
            trial = Trial.of(
                number,
                proposal.x,
                Status.COMPLETE,
                proposal.source,
                score=scores[-1],
                usage=proposal.usage,
                decision=proposal.decision,
            )
            proposer.observe(trial)
        return scores

    return asyncio.run(search())


def table(
    makers: dict[str, Callable[[Space], Proposer]], problem: Problem, seeds: int = SEEDS
) -> dict[str, list[list[float]]]:
    """Return the scores of each proposer, a list for each seed."""
    return {
        name: [scores_of(make(problem.space), problem, seed) for seed in range(seeds)]
        for name, make in makers.items()
    }


def columns(runs: Sequence[Sequence[float]]) -> list[float]:
    """Return the four columns of the table for the runs of one proposer."""
    best = [fmean(max(scores[:end]) for scores in runs) for end in (EARLY, None)]
    return [
        *best,
        fmean(fmean(scores[:EARLY]) for scores in runs),
        fmean(fmean(scores[-EARLY:]) for scores in runs),
    ]


def wins(runs: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> float:
    """Return the share of seeds in which the last third has a better mean than the others."""
    pairs = zip(runs, others, strict=True)
    return fmean(
        fmean(one[-(len(one) // 3) :]) > fmean(other[-(len(other) // 3) :])
        for one, other in pairs
    )


def learner(seeds: int = SEEDS) -> Iterable[Bar]:
    """Measure policy_gradient against uniform draws on both problems."""
    for problem, late in ((A, 0.96), (B, 0.65)):
        found = table(MAKERS, problem, seeds)
        random, own = columns(found["uniform"]), columns(found["policy_gradient"])
        for name, bar, value in zip(COLUMNS, random, own, strict=True):
            yield Bar(
                f"policy_gradient on {problem.name}: {name}",
                value,
                bar,
                at_least=True,
                note="bar: uniform",
            )
        yield Bar(
            f"policy_gradient on {problem.name}: {COLUMNS[-1]}",
            own[-1],
            late,
            at_least=True,
        )
        share = wins(found["policy_gradient"], found["uniform"])
        yield Bar(
            f"policy_gradient on {problem.name}: seeds won by the last third",
            share,
            29 / 30,
            at_least=True,
        )


def useless_model(problem: Problem, seeds: int = SEEDS) -> Iterable[Bar]:
    """Measure what a gate that asks an ignorant model leaves of the learner's best score."""

    def mixed(space: Space, rule: Rule) -> Gate:
        return Gate(Uniform(space), PolicyGradient(space), rule)

    gates: dict[str, Callable[[Space], Proposer]] = {
        "adaptive": lambda space: mixed(space, AdaptiveRule()),
        "fixed_alpha": lambda space: mixed(space, FixedAlphaRule()),
    }
    found = table({"alone": PolicyGradient, **gates}, problem, seeds)
    alone = columns(found["alone"])
    for gate in gates:
        for place in (0, 1):
            share = columns(found[gate])[place] / alone[place]
            name = f"{gate} with a useless model on {problem.name}: {COLUMNS[place]}"
            yield Bar(
                name, share, 0.9, at_least=True, note="share of policy_gradient alone"
            )


def gates(seeds: int = SEEDS) -> Iterable[Bar]:
    """Measure the gates on both problems."""
    for problem in (A, B):
        yield from useless_model(problem, seeds)


BENCHMARKS: dict[str, Callable[[], Iterable[Bar]]] = {
    "learner": learner,
    "gates": gates,
}


def main() -> int:
    """Measure, print the table, and return the exit code: 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    return report([*learner(seeds), *gates(seeds)])


if __name__ == "__main__":
    sys.exit(main())
