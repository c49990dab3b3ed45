"""What became of one call of f, in the same words at every level."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from .data import Packer, join


class OutcomeStatus(StrEnum):
    """How a call ended."""

    OK = "ok"
    RAISED = "raised"
    TIMEOUT = "timeout"
    KILLED = "killed"  # by us, for another reason than the deadline
    MEMORY = "memory"
    OUTPUT = "output"
    CRASHED = "crashed"
    PROTOCOL = "protocol"


class Stop:
    """The way to end one call from another thread, before it begins or while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self.given = False

    def give(self) -> None:
        """End the call; it returns `killed`. Does nothing to one that is over."""
        with self._lock:
            self.given = True
            for end in self._ends:
                end()

    @contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Let `end` be called, at once and perhaps in another thread, when the stop is given in this block or was."""
        with self._lock:
            self._ends.append(end)
            if self.given:
                end()
        try:
            yield
        finally:
            with (
                self._lock
            ):  # from here on whatever `end` ends may belong to another call
                self._ends.remove(end)


@dataclass(frozen=True)
class Call:
    """One call of f, and how long it may take."""

    x: Any  # plain data
    timeout_secs: float  # wall clock, counted by the monotonic clock of the optimizer
    seed: int = 0  # of the dice in the child: random, numpy.random, PYTHONHASHSEED of what it starts
    arrays: bool = False  # whether numpy arrays may be in x and in the value
    stop: Stop = field(
        default_factory=Stop, compare=False, repr=False
    )  # ends this call alone

    def body(self) -> bytes:
        """Return x as bytes. Raises TypeError when it is no plain data."""
        packer = Packer(arrays=True)
        return packer.join(packer.plain(self.x)) if self.arrays else join(self.x)


@dataclass(frozen=True)
class Outcome:
    """What became of one call."""

    status: OutcomeStatus
    value: Any = None  # plain JSON data; None unless ok
    output: str = ""  # what was printed: head and tail
    seconds: float = 0.0  # wall clock
    cpu_secs: float = 0.0
    peak_memory_mb: float = 0.0
    message: str = ""  # one sentence for people; for `raised` the exception
    traceback: str = ""  # its last lines, for `raised`
    signal: int | None = None  # that ended it, for `crashed`
    exit_code: int | None = None  # with which it ended before f returned, for `crashed`
    unusable: bool = False  # for `raised`: f itself returned, but no plain data
    scored_again: str = ""  # why f was called a second time: a process of the sandbox died under the first call


def crashed(exit_code: int, cpu_limit_secs: int, cpu_secs: float = 0.0) -> Outcome:
    """Return the outcome of a process that ended before f returned; a negative code is the signal that ended it.

    >>> crashed(-11, 60).message, crashed(3, 60).message
    ('crashed with SIGSEGV', 'ended with exit code 3 before f returned')
    >>> crashed(-9, 60, cpu_secs=61.2).message
    'CPU limit of 60 s reached (cpu_secs)'
    """
    if exit_code >= 0:
        message = f"ended with exit code {exit_code} before f returned"
        return Outcome(OutcomeStatus.CRASHED, message=message, exit_code=exit_code)
    known = {number.value: number.name for number in signal.Signals}
    name = known.get(-exit_code, f"signal {-exit_code}")
    if name == "SIGXCPU" or (name == "SIGKILL" and cpu_secs >= cpu_limit_secs):
        return Outcome(
            OutcomeStatus.KILLED,
            message=f"CPU limit of {cpu_limit_secs} s reached (cpu_secs)",
        )
    return Outcome(
        OutcomeStatus.CRASHED, message=f"crashed with {name}", signal=-exit_code
    )


def killed() -> Outcome:
    """Return the outcome of a call that was told to stop, or whose sandbox was closed."""
    return Outcome(OutcomeStatus.KILLED, message="ended from outside before f returned")


class Sandbox(Protocol):
    """A place where f is called."""

    level: str

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What is at work here beyond processes and limits for each of them."""

    def run(self, call: Call) -> Outcome:
        """Return what becomes of f(x); nothing that f does raises here. May be called from several threads.

        A call whose stop is given ends soon, and returns `killed`.
        """

    def close(self) -> None:
        """End everything in flight; those calls return `killed`."""
