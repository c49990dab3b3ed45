"""Benchmark of proposers without a model: python -m benchmarks.hybrid [--seeds N].

Each contender is compared with figures that were measured before it was written; a mean may stay
behind its figure by what chance explains, and by no more.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import mean, stdev

from llm_optimize.propose.classical import Classical
from llm_optimize.records import Proposer
from llm_optimize.space import Space

from .bars import Bar, measure, report
from .learner import scores_of
from .problems import A, B

SEEDS = 30
_SEEDS_OF_FIGURES = 20
# Standard errors of a difference that may be chance, in one of two dozen comparisons.
_ERRORS = 2.5

Maker = Callable[[Space], Proposer]


PROBLEMS = {problem.name: problem for problem in (A, B)}
CONTENDERS: dict[str, Maker] = {
    "random": partial(Classical, sampler="random"),
    "tpe": partial(Classical, sampler="tpe"),
    "cmaes": partial(Classical, sampler="cmaes"),
}

COLUMNS = ("best of 30", "best of 150", "mean 1-30", "mean 121-150")
# Contender -> problem -> a figure for each column.
FIGURES: dict[str, dict[str, Sequence[float]]] = {
    "random": {"A": (0.970, 0.986, 0.67, 0.68), "B": (0.633, 0.776, 0.17, 0.18)},
    "tpe": {"A": (0.992, 1.000, 0.82, 0.99), "B": (0.729, 0.893, 0.33, 0.73)},
    "cmaes": {
        "A": (0.970, 0.986, 0.67, 0.68),
        "B": (0.633, 0.776, 0.17, 0.18),
    },  # not worse than random anywhere
}


def columns(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the columns of the table for one run."""
    return max(scores[:30]), max(scores), mean(scores[:30]), mean(scores[120:])


def contend(contender: str, seeds: int = SEEDS) -> list[Bar]:
    """Return a bar for each column of each problem."""
    bars = []
    for name, problem in PROBLEMS.items():
        runs = [
            scores_of(CONTENDERS[contender](problem.space), problem, seed)
            for seed in range(seeds)
        ]
        for column, figure, values in zip(
            COLUMNS,
            FIGURES[contender][name],
            zip(*map(columns, runs), strict=True),
            strict=True,
        ):
            bars.append(against(f"{contender} on {name}, {column}", figure, values))
    return bars


def against(name: str, figure: float, values: Sequence[float]) -> Bar:
    """Return the bar of a mean that must reach a figure (a mean of fewer seeds), but for chance."""
    spread = stdev(values) * math.sqrt(1 / len(values) + 1 / _SEEDS_OF_FIGURES)
    rounding = 0.005 if round(figure, 2) == figure else 0.0005
    return Bar(
        name,
        mean(values),
        figure - _ERRORS * spread - rounding,
        at_least=True,
        note=f"{figure:g} but for chance",
    )


BENCHMARKS: dict[str, Callable[..., Iterable[Bar]]] = {
    name: partial(contend, name) for name in CONTENDERS
}


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="runs of each contender on each problem",
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    benchmarks = {
        name: partial(benchmark, seeds=given.seeds)
        for name, benchmark in BENCHMARKS.items()
    }
    return report(measure(benchmarks, given.only), given.output)


if __name__ == "__main__":
    sys.exit(main())
