"""What became of one call of f, in the same words at every level."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


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


class Sandbox(Protocol):
    """A place where f is called."""

    level: str

    def run(self, x: Any, timeout_secs: float, seed: int = 0) -> Outcome:
        """Return what becomes of f(x); nothing that f does raises here. May be called from several threads."""

    def close(self) -> None:
        """End everything in flight; those calls return `killed`."""
