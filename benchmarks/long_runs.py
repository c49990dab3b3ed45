"""Benchmark of commands that read a long run: python -m benchmarks.long_runs [--trials N]."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from llm_optimize.store import Store

from .bars import Bar, measure, report
from .server import ROOT
from .watch import bulk_run, page_server

TRIALS = 100_000
_LIMIT_SECS = 5.0


def commands(trials: int = TRIALS) -> list[Bar]:
    """Measure the commands that read a run, and the opening of its page, each in a new process."""
    with TemporaryDirectory() as folder:
        with closing(Store(f"{folder}/runs.db")) as store:
            bulk_run(store, "long", trials, calls=False)
        looks = {
            "list": ("list",),
            "show": ("show", "long"),
            "show of one trial": ("show", "long", str(trials - 1)),
            "best": ("best", "long"),
            "report": ("report", "long", "-o", "report.html"),
        }
        taken = {
            name: seconds_of(Path(folder), *arguments)
            for name, arguments in looks.items()
        }
        taken["page: the facts of the run"] = _page_seconds(f"{folder}/runs.db")
    return [
        Bar(name, value, _LIMIT_SECS, "s", note=f"{trials:,} trials")
        for name, value in taken.items()
    ]


def seconds_of(folder: Path, *arguments: str) -> float:
    """Return how long a command takes in a folder, with the start of its process."""
    command = [sys.executable, "-m", "llm_optimize", *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    begun = time.perf_counter()
    subprocess.run(command, cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def _page_seconds(store: str) -> float:
    with page_server(store) as url:
        begun = time.perf_counter()
        with urllib.request.urlopen(
            url.replace("/?", "/api/facts?run=long&")
        ) as answer:
            answer.read()
        return time.perf_counter() - begun


def benchmarks(trials: int = TRIALS) -> dict[str, Callable[[], Iterable[Bar]]]:
    """Return the benchmarks for runs of so many trials."""
    return {"commands": partial(commands, trials)}


def main() -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=TRIALS)
    parser.add_argument("--only", nargs="+", default=(), help=", ".join(benchmarks()))
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    return report(measure(benchmarks(given.trials), given.only), given.output)


if __name__ == "__main__":
    sys.exit(main())
