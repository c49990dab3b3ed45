"""Kill campaign: runs that are killed at random moments and resumed until they end (Linux).

python -m benchmarks.kills [--runs N] [--load N]

An answer counts as arrived when its last byte was sent a stated time before the kill: until it is
committed it goes through a socket, an event loop and a disk, which cannot be one atomic step. The
table names that time, and how long it took from the last byte until the x of that answer was
committed, which is after the answer itself.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from .bars import Bar, report, zero
from .faults import name_of
from .load import competitors
from .sandbox import descendants, describe
from .server import ROOT, Server, start_server
from .victim import Order

_PR_SET_CHILD_SUBREAPER = 36
# An answer sent so shortly before a kill may still have been on its way.
_WIRE_SECS, _LOADED_WIRE_SECS = 0.1, 0.5
_DEAD_SECS = 2.0  # for all that a killed run had started
_HANG_SECS = 60.0
_ENDPOINT: dict[str, Any] = {"latency_secs": 0.15, "sigma": 0.6}


@dataclass(frozen=True)
class Snapshot:
    """What the database of a run holds."""

    integrity: str
    trials: dict[int, tuple[Any, ...]]  # finished ones: x, score, status, when
    replies: list[tuple[int, str]]  # the trial, and the name of the reply
    calls: int
    begun: bool

    def story(self) -> list[tuple[Any, ...]]:
        """Return the finished trials without their times."""
        return [(number, *self.trials[number][:3]) for number in sorted(self.trials)]


@dataclass(frozen=True)
class Death:
    """One kill, and what it left."""

    at: float  # seconds since the epoch
    noted: int  # lines of the notes of f
    snapshot: Snapshot
    left: int  # processes


@dataclass
class Story:
    """One run from its beginning to its end."""

    deaths: list[Death] = field(default_factory=list)
    final: Snapshot | None = None
    notes: list[str] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    errors: str = ""
    proposed: list[float] = field(
        default_factory=list
    )  # seconds from an answer sent to its x committed


def snapshot(store: Path) -> Snapshot:
    """Read a copy of a database: opening the original would repair what the next session must."""
    with TemporaryDirectory() as folder:
        for suffix in ("", "-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(f"{store}{suffix}", f"{folder}/copy.db{suffix}")
        with closing(sqlite3.connect(f"{folder}/copy.db")) as database:
            return _read(database)


def _read(database: sqlite3.Connection) -> Snapshot:
    integrity = str(database.execute("PRAGMA integrity_check").fetchone()[0])
    tables = {
        name
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table'"
        )
    }
    if not {"run", "trial", "call"} <= tables:
        return Snapshot(integrity, {}, [], 0, begun=False)
    rows = database.execute(
        "SELECT number, x, score, status, finished_at FROM trial WHERE finished IS NOT NULL"
    ).fetchall()
    replies = database.execute(
        "SELECT trial, reply FROM call WHERE reply IS NOT NULL"
    ).fetchall()
    return Snapshot(
        integrity,
        {number: tuple(facts) for number, *facts in rows},
        [(trial, name_of(json.loads(reply)["text"])) for trial, reply in replies],
        database.execute("SELECT count(*) FROM call").fetchone()[0],
        begun=bool(database.execute("SELECT count(*) FROM run").fetchone()[0]),
    )


class Scene:
    """Where one run is begun, killed, resumed."""

    def __init__(self, folder: Path, server: Server, order: Order, rng: Random) -> None:
        self._server = server
        self._order = order
        self._rng = rng
        self._store = Path(order.store)
        self._notes = Path(order.notes)
        self._errors = folder / "stderr"
        self._spared = set(descendants())  # the endpoint
        self.story = Story()

    def play(self, kills: int) -> Story:
        """Kill it so many times, or until it is finished, then let it end."""
        while True:
            with self._errors.open("w") as errors:
                order = replace(self._order, resume=snapshot(self._store).begun)
                command = [
                    sys.executable,
                    "-m",
                    "benchmarks.victim",
                    json.dumps(asdict(order)),
                ]
                victim = subprocess.Popen(
                    command, cwd=ROOT, stdout=errors, stderr=errors
                )
            if len(self.story.deaths) == kills or not self._await_moment(victim):
                return self._end(victim)
            self._kill(victim)

    def _await_moment(self, victim: subprocess.Popen[bytes]) -> bool:
        """Wait for a random moment; return False when the run ended before."""
        seen, more = self._requests(), self._rng.randint(1, self._order.steps)
        early = self._rng.random() < 0.15  # while it starts
        end = time.monotonic() + (self._rng.uniform(0, 1) if early else _HANG_SECS)
        while (
            victim.poll() is None
            and time.monotonic() < end
            and self._requests() < seen + more
        ):
            time.sleep(0.005)
        time.sleep(self._rng.uniform(0, 0.15))  # anywhere between two requests
        return victim.poll() is None

    def _requests(self) -> int:
        return self._server.path.read_text().count('"event": "request"')

    def _kill(self, victim: subprocess.Popen[bytes]) -> None:
        killed_at = time.time()
        victim.kill()
        victim.wait()
        left = self._left()
        self.story.deaths.append(
            Death(killed_at, len(self._noted()), snapshot(self._store), left)
        )

    def _left(self) -> int:
        """Return how many processes of the run are alive when they had time enough to end."""
        end = time.monotonic() + _DEAD_SECS
        while True:
            left = set(descendants()) - self._spared
            for pid in left:
                with suppress(
                    ChildProcessError
                ):  # not ours: a child of one that still lives
                    os.waitpid(pid, os.WNOHANG)
            if not left or time.monotonic() > end:
                break
            time.sleep(0.01)
        for pid in left:
            print(
                f"left {_DEAD_SECS:g} s after kill {len(self.story.deaths) + 1}: {describe(pid)}",
                file=sys.stderr,
            )
        return len(left)

    def _noted(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    def _end(self, victim: subprocess.Popen[bytes]) -> Story:
        try:
            victim.wait(_HANG_SECS)
        except subprocess.TimeoutExpired:
            victim.kill()
            victim.wait()
        story = self.story
        story.errors = self._errors.read_text() if victim.returncode else ""
        story.final, story.notes, story.log = (
            snapshot(self._store),
            self._noted(),
            self._server.log(),
        )
        story.proposed = list(_delays(story, Path(self._order.times)))
        return story


def _delays(story: Story, times: Path) -> Iterator[float]:
    """Yield the time from the last byte of each answer until its x was committed."""
    sent = {
        name_of(line["text"]): line["time"]
        for line in story.log
        if line["event"] == "answer"
    }
    answers = dict(story.final.replies) if story.final else {}
    for line in times.read_text().splitlines() if times.exists() else ():
        number, at = line.split()
        sent_at = sent.get(answers.get(int(number), ""), float(at))
        if sent_at < float(at) and not any(
            sent_at <= death.at <= float(at) for death in story.deaths
        ):
            yield float(at) - sent_at


def play(number: int, kills: int, *, alone: bool, steps: int, rng: Random) -> Story:
    """Play one run: with four workers, or `alone` with one, whose history must repeat."""
    with (
        TemporaryDirectory() as name,
        start_server(seed=number, by_prompt=alone, **_ENDPOINT) as server,
    ):
        folder = Path(name)
        workers, search = (1, "chat") if alone else (4, "best")
        paths: dict[str, Any] = {
            "store": str(folder / "runs.db"),
            "notes": str(folder / "notes"),
            "times": str(folder / "times"),
            "scoring_secs": 0.05,
        }
        order = Order(
            "run",
            base_url=server.base_url,
            workers=workers,
            search=search,
            steps=steps,
            **paths,
        )
        return Scene(folder, server, order, rng).play(kills)


# What must not happen.


def lost_scores(story: Story) -> int:
    """Count trials that were finished at a kill, and are gone or different at the end."""
    final = story.final.trials if story.final else {}
    known = {
        (number, facts)
        for death in story.deaths
        for number, facts in death.snapshot.trials.items()
    }
    return sum(final.get(number) != facts for number, facts in known)


def scored_again(story: Story) -> int:
    """Count scorings that began when the score of that x was in the store."""
    count = 0
    for death in story.deaths:
        done = {
            f"scoring {json.loads(facts[0])}"
            for facts in death.snapshot.trials.values()
        }
        count += sum(line in done for line in story.notes[death.noted :])
    return count


def asked_again(story: Story, wire_secs: float = _WIRE_SECS) -> int:
    """Count answers sent that long before a kill that are not stored, or were asked for again."""
    stored = story.final.replies if story.final else []
    names = {name for _, name in stored}
    answers = [
        name_of(line["text"])
        for line in story.log
        if line["event"] == "answer"
        and not _on_the_wire(line["time"], story, wire_secs)
    ]
    missing = sum(name not in names for name in answers)
    return missing + _repeats(answers) + _repeats([trial for trial, _ in stored])


def _repeats(words: Sequence[int | str]) -> int:
    return len(words) - len(set(words))


def _on_the_wire(sent_at: float, story: Story, wire_secs: float) -> bool:
    """Whether the next kill came so soon, or had come, that nobody may have read it."""
    return any(
        death.at - wire_secs < sent_at < death.at + _DEAD_SECS / 10
        for death in story.deaths
    )


def unlisted_calls(story: Story) -> int:
    """Count requests that reached the endpoint and stand nowhere in the store."""
    requests = [line for line in story.log if line["event"] == "request"]
    return max(0, len(requests) - (story.final.calls if story.final else 0))


def damaged(story: Story) -> int:
    """Count databases that fail their integrity check."""
    found = [death.snapshot for death in story.deaths] + (
        [story.final] if story.final else []
    )
    return sum(one.integrity != "ok" for one in found)


# The campaign.


@contextmanager
def _adopting() -> Iterator[None]:
    """Become the parent of whatever loses its own, so that nothing that a run started can hide."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def campaign(
    runs: int = 100,
    steps: int = 30,
    most_kills: int = 3,
    seed: int = 0,
    wire_secs: float = _WIRE_SECS,
) -> list[Bar]:
    """Play the runs, every fifth with one worker, and count what must not happen."""
    with _adopting():
        usual = play(0, 0, alone=True, steps=steps, rng=Random(seed))
        lone: list[Story] = []
        crowd: list[Story] = []
        for number in range(1, runs + 1):
            rng, alone = Random(f"{seed}/{number}"), number % 5 == 0
            story = play(
                0 if alone else number,
                rng.randint(1, most_kills),
                alone=alone,
                steps=steps,
                rng=rng,
            )
            (lone if alone else crowd).append(story)
            if story.errors:
                print(f"run {number} failed:\n{story.errors}", file=sys.stderr)
    return [
        *_verdicts([*lone, *crowd], lone, usual, steps, wire_secs),
        _arrival([*lone, *crowd], wire_secs),
    ]


def _verdicts(
    stories: Sequence[Story],
    lone: Sequence[Story],
    usual: Story,
    steps: int,
    wire_secs: float,
) -> list[Bar]:
    finished = sum(
        story.final is not None and len(story.final.trials) == steps + 1
        for story in stories
    )
    deaths = [death for story in stories for death in story.deaths]
    other = sum(_story(story) != _story(usual) for story in lone)
    uncertain = sum(
        story.final.calls - len(story.final.replies) for story in stories if story.final
    )
    return [
        Bar(
            "runs finished",
            finished,
            len(stories),
            at_least=True,
            note=f"{len(deaths)} kills",
        ),
        zero("scores lost", sum(map(lost_scores, stories))),
        zero(
            "trials scored after their score was stored",
            sum(map(scored_again, stories)),
        ),
        zero(
            f"calls repeated, answered {wire_secs:g} s before a kill",
            sum(asked_again(story, wire_secs) for story in stories),
            f"{uncertain} on the wire at a kill",
        ),
        zero("calls that the store does not list", sum(map(unlisted_calls, stories))),
        zero("databases damaged", sum(map(damaged, stories))),
        zero(
            f"processes left {_DEAD_SECS:g} s after a kill",
            sum(death.left for death in deaths),
        ),
        zero(
            "histories unlike an undisturbed run's",
            other,
            f"of {len(lone)} with one worker",
        ),
    ]


def _arrival(stories: Sequence[Story], wire_secs: float) -> Bar:
    """Return how long answers took to the disk: the window must cover nearly all of them."""
    delays = sorted(delay for story in stories for delay in story.proposed)
    if not delays:
        return Bar(
            "answer sent until its x is committed",
            None,
            wire_secs,
            "s",
            note="no answer came",
        )
    shares = [
        (share, delays[min(len(delays) - 1, int(share * len(delays)))])
        for share in (0.5, 0.9, 0.99)
    ]
    note = (
        ", ".join(f"{share:.0%} {delay:.3f}" for share, delay in shares)
        + f", longest {delays[-1]:.3f}"
    )
    return Bar(
        "answer sent until its x is committed, 90 %",
        shares[1][1],
        wire_secs,
        "s",
        note=note,
    )


def _story(story: Story) -> list[tuple[Any, ...]]:
    return story.final.story() if story.final else []


def main() -> int:
    """Run it, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--steps", type=int, default=30, help="of each run")
    parser.add_argument("--kills", type=int, default=3, help="of each run, at the most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--load", type=int, default=0, help="busy processes of low priority beside it"
    )
    parser.add_argument(
        "--window",
        type=float,
        help="seconds that an answer may be on its way: 0.1, or 0.5 with --load",
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    if not sys.platform.startswith("linux"):
        sys.exit("the kill campaign counts processes as Linux shows them: run it there")
    wire_secs = given.window or (_LOADED_WIRE_SECS if given.load else _WIRE_SECS)
    with competitors(given.load):
        bars = campaign(given.runs, given.steps, given.kills, given.seed, wire_secs)
    return report(bars, given.output)


if __name__ == "__main__":
    sys.exit(main())
