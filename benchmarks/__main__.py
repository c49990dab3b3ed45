"""All bars of all benchmarks: python -m benchmarks [--search-seeds N]."""

from __future__ import annotations

import argparse
import sys

from . import advisor, engine, hybrid, learner, sandbox, search, store, watch
from .bars import measure, report


def main() -> int:
    """Measure all, print one table, and return the exit code: 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    parser.add_argument(
        "--search-seeds",
        type=int,
        default=4,
        help="of each problem: 4 take seconds, 20 take minutes",
    )
    given = parser.parse_args()
    bars = measure(engine.BENCHMARKS)
    bars += measure(store.BENCHMARKS)
    for level in ("process", "namespace"):
        bars += measure(sandbox.benchmarks(level))
    bars += measure(hybrid.BENCHMARKS)
    bars += measure(learner.BENCHMARKS)
    bars += measure(search.benchmarks(given.search_seeds))
    bars += measure(watch.BENCHMARKS)
    bars += measure(advisor.BENCHMARKS)
    return report(bars, given.output)


if __name__ == "__main__":
    sys.exit(main())
