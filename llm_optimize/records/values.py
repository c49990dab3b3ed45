"""Plain values: messages, scores, usage, replies, limits, budgets and the task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypedDict

from ..checks import is_number
from ..errors import InPython, InvalidScore, OptionName, UsageError


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
    """The score of one x: a finite number, higher is better, and feedback for the model.

    Raises InvalidScore when `value` is NaN or infinite.
    """

    value: float
    feedback: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)  # further named numbers
    instances: Mapping[str, float] = field(default_factory=dict)  # scores per example

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InvalidScore(
                f"the score is {self.value}: f must return a finite number, or raise"
            )


@dataclass(frozen=True, slots=True)
class Usage:
    """What model calls used. `cost_usd` is None where the price is unknown, never 0."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0  # part of prompt_tokens
    reasoning_tokens: int = 0  # part of completion_tokens
    cost_usd: float | None = None
    estimated: bool = False  # some tokens were estimated: an endpoint reported none
    uncertain_calls: int = 0  # without a whole answer, besides `calls`; maybe billed

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
    costs: list[float] = []
    for usage in (left, right):
        if not usage.calls:
            continue
        if usage.cost_usd is None:
            return None
        costs.append(usage.cost_usd)
    return math.fsum(costs) if costs else None


@dataclass(frozen=True)
class Reply:
    """One answer of a chat model."""

    text: str
    usage: Usage
    model: str  # who answered
    seconds: float = 0.0  # wall clock, all attempts
    reasoning: str = ""  # thinking that the endpoint returned apart from the answer
    finish_reason: str = "stop"
    incomplete: str = ""  # why the answer is not whole, a sentence; empty when it is


@dataclass(frozen=True)
class Limits:
    """What one scoring may use and see; a scoring that exceeds a limit is ended, and fails."""

    # Address space of each process; memory of all together where a cgroup can be written.
    memory_mb: int = 4096
    cpu_secs: float | None = None  # of each process; None: 2 x the deadline x the cores
    # Processes and threads of this user; for root only where a cgroup can be written.
    processes: int = 256
    open_files: int = 512  # of each process
    file_mb: int = 256  # the largest file
    scratch_mb: int = 1024  # all files of the scratch directory together
    output_mb: int = 16  # stdout and stderr together
    result_mb: int = 16  # what f returns, as JSON
    # None: yes at `process`, no at `namespace`; False at `process` leaves Unix sockets only.
    network: bool | None = None
    env: tuple[str, ...] = ()  # names of environment variables let through
    # Files and folders, besides the interpreter, the system and the working directory.
    readable: tuple[str, ...] = ()
    writable: tuple[str, ...] = ()  # files and folders, besides the scratch directory

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if not is_number(value) or value < 1:
                option = OptionName(f"limits.{name}")
                raise UsageError(option, f" is {value!r}, it must be at least 1")
        secs = self.cpu_secs
        if secs is not None and not (is_number(secs) and secs > 0):
            raise UsageError(
                OptionName("limits.cpu_secs"),
                f" is {secs!r}, it must be more than 0",
            )
        for name in ("env", "readable", "writable"):
            texts = _texts(name, getattr(self, name))
            object.__setattr__(self, name, texts)


_AT_LEAST_ONE = (
    "memory_mb",
    "processes",
    "open_files",
    "file_mb",
    "scratch_mb",
    "output_mb",
    "result_mb",
)


def _texts(name: str, value: Any) -> tuple[str, ...]:
    """Return a limit that lists texts as a tuple. Raises UsageError for anything else."""
    if isinstance(value, str):
        raise UsageError(
            OptionName(f"limits.{name}"),
            f" is one text, {value!r}: give a tuple of texts",
        )
    if not isinstance(value, Iterable):
        raise UsageError(
            OptionName(f"limits.{name}"), f" is {value!r}: give a tuple of texts"
        )
    return tuple(map(str, value))


@dataclass(frozen=True)
class Budget:
    """Caps of a run, which ends at the first one that is reached. None means no cap."""

    scorings: int | None = None  # calls of f
    seconds: float | None = None  # wall clock of the run
    calls: int | None = None  # model calls
    tokens: int | None = None  # prompt and completion tokens
    usd: float | None = None  # US dollars; the price of the model must be known
    stale_steps: int | None = None  # steps in a row without a new best

    def __post_init__(self) -> None:
        for name in ("scorings", "seconds", "calls", "tokens", "usd", "stale_steps"):
            value = getattr(self, name)
            if value is None or (is_number(value) and value > 0):
                continue
            raise UsageError(
                OptionName(f"budget.{name}"),
                f" is {value!r}, it must be more than 0",
                InPython(", or None for no cap", shell=""),
            )


@dataclass(frozen=True)
class Task:
    """What the user wants, in words.

    The two prompts hold {task_description}, {task_question}, {x} and {fx}.
    """

    description: str
    question: str
    system_prompt: str
    human_prompt: str

    def __post_init__(self) -> None:
        for name, text in vars(self).items():
            if not isinstance(text, str):
                option = name if name.endswith("prompt") else f"task_{name}"
                raise UsageError(OptionName(option), f" is {text!r}: give a text")
