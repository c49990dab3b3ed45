"""All bars of the engine, the sandbox, report and page: python -m benchmarks [--output FILE]."""

from __future__ import annotations

import argparse
import sys

from . import engine, sandbox, watch
from .bars import measure, report


def main() -> int:
    """Measure all, print one table, and return the exit code: 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    bars = measure(engine.BENCHMARKS)
    for level in ("process", "namespace"):
        bars += measure(sandbox.benchmarks(level))
    bars += measure(watch.BENCHMARKS)
    return report(bars, given.output)


if __name__ == "__main__":
    sys.exit(main())
