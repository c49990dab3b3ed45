"""Call and outcome: what every level of the sandbox takes, and what it returns."""

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
    """A cancellation token: ends one call from another thread, before or while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self.given = False

    def give(self) -> None:
        """End the call, which returns `killed`. Does nothing to a call that is over."""
        with self._lock:
            self.given = True
            for end in self._ends:
                end()

    @contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` when the stop is given within this block; at once when it was given before.

        `end` may be called from another thread, but never after the block: what it would end then
        may already belong to another call.
        """
        with self._lock:
            self._ends.append(end)
            if self.given:
                end()
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


@dataclass(frozen=True)
class Call:
    """One call of f, and how long it may take."""

    x: Any  # plain data
    timeout_secs: float  # wall clock, counted by the monotonic clock of the optimizer
    # Of random and numpy.random in the child; PYTHONHASHSEED of what it starts.
    seed: int = 0
    arrays: bool = False  # whether numpy arrays may be in x and in the value
    # Ends this call only.
    stop: Stop = field(default_factory=Stop, compare=False, repr=False)

    def body(self) -> bytes:
        """Return x as bytes. Raises TypeError when it is not plain data."""
        if not self.arrays:
            return join(self.x)
        packer = Packer(arrays=True)
        plain = packer.plain(self.x)
        return packer.join(plain)


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
    unusable: bool = False  # for `raised`: f did return, but not plain data
    fault: str = ""  # for `raised`: of f itself, whatever x is; see `blame`
    # Why f was called twice: a process of the sandbox died under it.
    scored_again: str = ""


def crashed(exit_code: int, cpu_limit_secs: int, cpu_secs: float = 0.0) -> Outcome:
    """Return the outcome of a process that ended before f returned.

    A negative exit code is the signal that ended it. The kernel enforces a CPU limit by SIGXCPU and
    then SIGKILL, so these two may mean that limit.

    >>> crashed(-11, 60).message, crashed(3, 60).message
    ('crashed with SIGSEGV', 'ended with exit code 3 before f returned')
    >>> crashed(-9, 60, cpu_secs=61.2).message
    'CPU limit of 60 s reached (cpu_secs)'
    """
    if exit_code >= 0:
        message = f"ended with exit code {exit_code} before f returned"
        return Outcome(OutcomeStatus.CRASHED, message=message, exit_code=exit_code)
    number = -exit_code
    names = {known.value: known.name for known in signal.Signals}
    name = names.get(number, f"signal {number}")
    killed_at_limit = name == "SIGKILL" and cpu_secs >= cpu_limit_secs
    if name == "SIGXCPU" or killed_at_limit:
        message = f"CPU limit of {cpu_limit_secs} s reached (cpu_secs)"
        return Outcome(OutcomeStatus.KILLED, message=message)
    message = f"crashed with {name}"
    return Outcome(OutcomeStatus.CRASHED, message=message, signal=number)


def killed() -> Outcome:
    """Return the outcome of a call that was stopped, or whose sandbox was closed."""
    message = "ended from outside before f returned"
    return Outcome(OutcomeStatus.KILLED, message=message)


class Sandbox(Protocol):
    """A place where f is called."""

    level: str

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The isolation at work here, beyond a process for each call and its resource limits."""

    def run(self, call: Call) -> Outcome:
        """Call f(x) and return the outcome; nothing that f does raises here.

        May be called from several threads. A call whose stop is given ends soon, as `killed`.
        """

    def close(self) -> None:
        """End all calls in flight; they return `killed`."""
