"""What the rooms hand to each other, as plain frozen records."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypedDict

from ..errors import InvalidScore, UsageError
from ..looks import TrialLooks

X: TypeAlias = str | dict[str, Any]


class Message(TypedDict):
    """One message of a chat, in the form that OpenAI-compatible endpoints take."""

    role: str  # system | user | assistant
    content: str


class Status(StrEnum):
    """What became of a trial."""

    COMPLETE = "complete"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INVALID = "invalid"
    DUPLICATE = "duplicate"
    PENDING = "pending"


@dataclass(frozen=True)
class Score:
    """What f says of one x: a finite number, higher is better, and what a model may read.

    Raises InvalidScore when `value` is NaN or infinite.
    """

    value: float
    feedback: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)  # further named numbers
    instances: Mapping[str, float] = field(default_factory=dict)  # scores per example

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InvalidScore(f"the score is {self.value}: f must return a finite number, or raise")


@dataclass(frozen=True)
class Usage:
    """What model calls used. `cost_usd` is None where the price is unknown, never 0."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens
    reasoning_tokens: int = 0  # part of completion_tokens
    cost_usd: float | None = None
    estimated: bool = False  # tokens of a reply whose endpoint reported none were guessed from its length
    uncertain_calls: int = 0  # further requests that brought no whole answer and may be billed all the same

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            _sum_costs(self, other),
            self.estimated or other.estimated,
            self.uncertain_calls + other.uncertain_calls,
        )


def _sum_costs(left: Usage, right: Usage) -> float | None:
    """Add two costs; a side with calls of unknown price makes the sum unknown."""
    known = [usage.cost_usd for usage in (left, right) if usage.calls]
    return None if not known or None in known else math.fsum(cost for cost in known if cost is not None)


@dataclass(frozen=True)
class Reply:
    """One answer of a chat model."""

    text: str
    usage: Usage
    model: str  # who answered
    seconds: float = 0.0  # wall clock, all attempts
    reasoning: str = ""  # thinking that the endpoint returned apart from the answer
    finish_reason: str = "stop"
    incomplete: str = ""  # why the answer is no whole one, as a sentence; empty when it is whole


@dataclass(frozen=True)
class Limits:
    """What one scoring may use and see; a breach ends it, and is reported as what it was."""

    memory_mb: int = 4096  # address space of each process; of all together where a cgroup can be written
    cpu_secs: float | None = None  # CPU time of each process; None: twice the deadline on all cores
    processes: int = 256  # processes and threads of this user (for root only where a cgroup can be written)
    open_files: int = 512  # of each process
    file_mb: int = 256  # the largest file
    scratch_mb: int = 1024  # all files of the scratch directory together
    output_mb: int = 16  # stdout and stderr together
    result_mb: int = 16  # what f returns, as JSON
    network: bool | None = (
        None  # None: yes at `process`, no at `namespace`; False at `process` leaves Unix sockets only
    )
    env: tuple[str, ...] = ()  # names of environment variables let through
    readable: tuple[str, ...] = ()  # files and folders, besides the interpreter, the system and the working directory
    writable: tuple[str, ...] = ()  # files and folders, besides the scratch directory

    def __post_init__(self) -> None:
        for name in ("memory_mb", "processes", "open_files", "file_mb", "scratch_mb", "output_mb", "result_mb"):
            if getattr(self, name) < 1:
                raise UsageError(f"limits: {name} is {getattr(self, name)}, it must be at least 1")
        if self.cpu_secs is not None and self.cpu_secs <= 0:
            raise UsageError(f"limits: cpu_secs is {self.cpu_secs}, it must be more than 0")
        for name in ("env", "readable", "writable"):
            if isinstance(getattr(self, name), str):
                raise UsageError(f"limits: {name} is one text, {getattr(self, name)!r}: give a tuple of texts")
            object.__setattr__(self, name, tuple(map(str, getattr(self, name))))


@dataclass(frozen=True)
class Budget:
    """When a run ends; whichever comes first. None means no cap."""

    scorings: int | None = None  # calls of f
    seconds: float | None = None  # wall clock of the run
    calls: int | None = None  # model calls
    tokens: int | None = None  # prompt and completion tokens
    usd: float | None = None  # US dollars; the price of the model must be known
    stale_steps: int | None = None  # steps in a row without a new best

    def __post_init__(self) -> None:
        for name in ("scorings", "seconds", "calls", "tokens", "usd", "stale_steps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"budget: {name} is {value}, it must be more than 0, or None for no cap")


@dataclass(frozen=True)
class Task:
    """What the user wants, in words. The two prompts hold {task_description}, {task_question}, {x}, {fx}."""

    description: str
    question: str
    system_prompt: str
    human_prompt: str


@dataclass(frozen=True)
class Trial(TrialLooks):
    """One x and what became of it."""

    number: int  # from 0, never reused
    x: X | None  # None when no candidate could be read from the reply
    status: Status
    source: str  # who wrote x: x0, user, model:NAME, mutation, ...
    score: float | None = None  # higher is better; only a complete trial or a duplicate has one; finite
    feedback: str = ""  # shown to the model
    parent: int | None = None  # the trial that it was built on
    metrics: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(default_factory=dict)
    output: str = ""  # what f printed, clipped: head and tail
    seconds: float = 0.0  # wall clock of f(x)
    usage: Usage = field(default_factory=Usage)  # of the model calls that wrote x
    seed: int | None = None  # of the dice that f was given; it fits into 63 bits
    scorings: int = 1  # calls of f for this x; score is their mean
    standard_error: float | None = None  # of the mean; None for a single scoring
    stage: str = ""  # which of several stages x did not pass
    lesson: str = ""  # what a model concluded from it: why, and what to do instead
    decision: Mapping[str, Any] = field(default_factory=dict)  # what a gate decided, and why
    finished_at: float = field(default=0.0, compare=False)  # seconds since the epoch; 0 while it is not finished

    @property
    def scored(self) -> bool:
        """Whether it can be compared with others."""
        return self.score is not None


def rank(trial: Trial) -> tuple[bool, float, int]:
    """Return a sort key: failures lowest, then by score; of equals the earlier is higher."""
    return (trial.score is not None, trial.score or 0.0, -trial.number)


@dataclass(frozen=True)
class Plan:
    """What to build the next x on."""

    parent: Trial | None  # None: nothing to build on yet
    context: tuple[Trial, ...] = ()  # others to show, in the order of showing
    failures: tuple[Trial, ...] = ()  # to be remembered in a line each
    transcript: bool = False  # show context and parent as a conversation, oldest first
    hint: str = ""  # one more sentence for the model


@dataclass(frozen=True)
class Proposal:
    """The next x, or why there is none."""

    x: X | None
    source: str
    usage: Usage = field(default_factory=Usage)
    problem: str = ""  # why there is no x; empty when there is one
    decision: Mapping[str, Any] = field(default_factory=dict)  # of a gate, which becomes the trial's
    note: str = ""  # what was mended in the reply; the trial's feedback begins with it
    parent: int | None = None  # the trial that x was built on, where that is not the plan's parent
