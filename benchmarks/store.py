"""Benchmark of durable writes, alone and by a run's writer: python -m benchmarks.store."""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from llm_optimize.records import Message, Plan, Proposal, Reply, Status, Trial, Usage
from llm_optimize.store import Run, Store

from .bars import Bar, measure, report

TRIAL_WRITES = 5  # plan, sent, received, propose, finish
_TEXT = "word " * 200
_MESSAGES = [Message(role="user", content=_TEXT)]
_REPLY = Reply(_TEXT, Usage(1, 300, 100), "m", 1.0)
_WAITING = (1, 32, 256)


@dataclass(frozen=True)
class Cost:
    """What a number of writes came to."""

    writes: int
    commits: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Writes per second."""
        return self.writes / self.seconds

    def __str__(self) -> str:
        per_commit = self.writes / max(1, self.commits)
        cpu = 1e6 * self.cpu_seconds / self.writes
        return f"{self.rate:.0f} writes/s, {per_commit:.1f} a commit, {cpu:.0f} us CPU a write"


def writing(folder: str | None = None, trials: int = 1024) -> list[Bar]:
    """Compare writes that wait for each other with those of a writer that serves several tasks."""
    direct = _cost_of(folder, 0, min(trials, 256))
    bars = [
        Bar(
            "synchronous writes", direct.rate, 20, "/s", at_least=True, note=str(direct)
        )
    ]
    for waiting in _WAITING:
        cost = _cost_of(folder, waiting, trials if waiting > 1 else min(trials, 256))
        least = 0.5 if waiting == 1 else 1.5  # one alone pays for two changes of thread
        name = f"writer, {waiting} waiting, to synchronous writes"
        bars.append(
            Bar(
                name, cost.rate / direct.rate, least, "x", at_least=True, note=str(cost)
            )
        )
    return bars


def _cost_of(folder: str | None, waiting: int, trials: int) -> Cost:
    """Return the cost of writing trials with that many tasks waiting; 0: without a writer."""
    with (
        TemporaryDirectory(dir=folder) as place,
        closing(Store(f"{place}/runs.db")) as store,
    ):
        run = store.create_run("amber", {})
        with closing(sqlite3.connect(f"{place}/runs.db")) as watcher:
            counter = _Commits(watcher, run)
            begun, cpu = time.perf_counter(), time.process_time()
            if waiting:
                asyncio.run(_write_all(run, waiting, trials))
            else:
                for number in range(trials):
                    _write(run, number)
            seconds, cpu_seconds = (
                time.perf_counter() - begun,
                time.process_time() - cpu,
            )
            return Cost(TRIAL_WRITES * trials, counter.since(), seconds, cpu_seconds)


class _Commits:
    """Counts commits in SQLite's WAL: each ends with a frame that holds the database's size."""

    def __init__(self, connection: sqlite3.Connection, run: Run) -> None:
        connection.execute("BEGIN")
        connection.execute(
            "SELECT count(*) FROM run"
        ).fetchone()  # an open reader: the log is never begun anew
        self._log = run.store.files[1]
        self._before = self._count()

    def since(self) -> int:
        """Return how many there were since the beginning."""
        return self._count() - self._before

    def _count(self) -> int:
        with open(self._log, "rb") as file:
            page_size = int.from_bytes(file.read(32)[8:12], "big")
            commits = 0
            while len(head := file.read(24)) == 24:
                commits += int.from_bytes(head[4:8], "big") != 0
                file.seek(page_size, 1)
        return commits


def _write(run: Run, number: int) -> None:
    run.plan(number, Plan(None))
    key = run.sent(number, 0, "m", _MESSAGES)
    run.received(key, _REPLY)
    run.propose(number, Proposal(_TEXT, "m"))
    run.finish(Trial.of(number, _TEXT, Status.COMPLETE, "m", score=1.0), number + 1)


async def _write_all(run: Run, waiting: int, trials: int) -> None:
    writer, numbers = run.writer(), iter(range(trials))

    async def live() -> None:
        for number in numbers:
            await writer.plan(number, Plan(None))
            key = await writer.sent(number, 0, "m", _MESSAGES)
            await writer.received(key, _REPLY)
            await writer.propose(number, Proposal(_TEXT, "m"))
            await writer.finish(
                Trial.of(number, _TEXT, Status.COMPLETE, "m", score=1.0), number + 1
            )

    await asyncio.gather(*(live() for _ in range(waiting)))


BENCHMARKS = {"writing": writing}


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", help="where the store is made: on the disk that is to be measured"
    )
    parser.add_argument(
        "--trials", type=int, default=1024, help="whose writes are measured"
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()

    return report(
        measure({"writing": lambda: writing(given.folder, given.trials)}), given.output
    )


if __name__ == "__main__":
    sys.exit(main())
