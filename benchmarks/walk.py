"""Trace of one candidate through the rooms, in a real run: python -m benchmarks.walk.

A callable model, `sandbox="process"`, `search="best"`, one worker. A room is entered when one of
its functions is called by one of another room; modules of floor 0, which every room may use, are
left out. A coroutine that goes on after a wait enters nothing, nor does a callback of an event loop
or a thread. Each number is the median over the trials of one run. A trial's
way begins where its x is to be proposed, and ends when it has been learned.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import llm_optimize
from llm_optimize import optimize

from .bars import Bar, report

PACKAGE = Path(llm_optimize.__file__).parent
WORDS = (
    "blocking",
    "checks",
    "errors",
    "identity",
    "records",
    "redaction",
    "settings",
    "stop",
    "text",
    "token_estimate",
    "ucb1",
)
_THE_LOOP = ("", "blocking")  # the callers of what an event loop or a thread calls
_BEGINNING = ("optimize/engine.py", "_propose")
_END = ("optimize/watchers.py", "held")  # what watchers are told of a learned trial
_ROOM_ENTRIES = 12
_HALL_FILES = 3


class Walk:
    """Notes which functions of the package are called, by phase: set-up, then trial by trial."""

    def __init__(self) -> None:
        self.phase = "setup"
        # Phase -> (file of the caller, file called).
        self.calls: dict[str, list[tuple[str, str]]] = {}

    def __call__(self, frame: FrameType, what: str, _argument: Any) -> None:
        """Note a call; this is what `sys.setprofile` calls."""
        if what != "call" or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        if _goes_on(frame):
            return
        called = _file_of(frame)
        caller = _caller(frame)
        name = frame.f_code.co_name
        if (called, name) == _BEGINNING:
            self.phase = f"trial {frame.f_locals['number']}"
        elif (called, name) == _END:
            self.phase = "between"
        self.calls.setdefault(self.phase, []).append((caller, called))


def _goes_on(frame: FrameType) -> bool:
    """Whether a frame is a coroutine or generator that goes on after it has waited or yielded.

    The argument of RESUME is 0 where a function begins (the documentation of the module dis).
    """
    code = frame.f_code.co_code
    place = frame.f_lasti
    return place >= 0 and dis.opname[code[place]] == "RESUME" and code[place + 1] != 0


def _file_of(frame: FrameType) -> str:
    return frame.f_code.co_filename.removeprefix(f"{PACKAGE}/")


def _caller(frame: FrameType) -> str:
    """Return the file of the package that a call comes from, directly or not; empty for none."""
    above = frame.f_back
    while above is not None:
        if above.f_code.co_filename.startswith(str(PACKAGE)):
            return _file_of(above)
        above = above.f_back
    return ""


def room_of(file: str) -> str:
    """Return the room that a file of the package is in.

    >>> room_of("store/run.py"), room_of("text.py")
    ('store', 'text')
    """
    return file.partition("/")[0].removesuffix(".py")


def entries(calls: Sequence[tuple[str, str]]) -> list[str]:
    """Return the rooms that are entered, in order."""
    found = []
    for caller, called in calls:
        room = room_of(called)
        if room not in WORDS and room_of(caller) not in (*_THE_LOOP, room):
            found.append(room)
    return found


def walk(trials: int = 12) -> Walk:
    """Run some trials and return what was called, on every thread of this process."""
    traced = Walk()

    def model(_messages: Any) -> str:
        return f"Better.\n\n```\nx = {len(traced.calls)}\n```"

    def f(x: str) -> float:
        return float(x.partition("=")[2])

    with TemporaryDirectory() as folder:
        threading.setprofile(traced)
        sys.setprofile(traced)
        try:
            optimize.run(
                "Raise f.",
                "A better x?",
                f,
                "x = 1",
                trials,
                model,
                False,
                store=f"{folder}/runs.db",
                seed=1,
            )
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return traced


def bars(traced: Walk) -> list[Bar]:
    """Return the medians over the trials; the first two are left out, as they open what stays."""
    later = _ways(traced)
    rooms = [entries(calls) for calls in later]
    halls = [
        {called for _, called in calls if room_of(called) == "optimize"}
        for calls in later
    ]
    typical = sorted(rooms, key=len)[len(rooms) // 2]
    return [
        Bar(
            "room entries of one trial",
            median(map(len, rooms)),
            _ROOM_ENTRIES,
            note=" ".join(typical),
        ),
        Bar(
            "files of optimize/ of one trial",
            median(map(len, halls)),
            _HALL_FILES,
            note=" ".join(sorted(halls[-1])),
        ),
    ]


def _ways(traced: Walk) -> list[list[tuple[str, str]]]:
    """Return the calls of each trial but the first two."""
    names = [name for name in traced.calls if name.startswith("trial")]
    return [traced.calls[name] for name in names[2:]]


def main() -> int:
    """Trace, print, and return the exit code."""
    traced = walk()
    later = _ways(traced)
    files = [{called for _, called in calls} for calls in later]
    setup = {called for _, called in traced.calls["setup"]}
    lines = sum(
        len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    )
    sys.stdout.write(
        f"files entered before the first trial {len(setup)}, "
        f"by one trial {median(map(len, files))}; "
    )
    sys.stdout.write(
        f"calls of one trial {median(map(len, later))}; lines of the package {lines}\n"
    )
    return report(bars(traced), None)


if __name__ == "__main__":
    sys.exit(main())
