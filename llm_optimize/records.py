"""What the rooms hand to each other: frozen records, whole at birth.

x, a candidate, is plain data: a text (`str`), or a dict of named texts, or a dict of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Protocol, TypeAlias, TypedDict, overload

from .errors import InvalidScore, UsageError
from .looks import Looks, TrialLooks

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
    network: bool | None = None  # None: yes at `process`, no at `namespace`; False at `process` stops TCP, by Landlock
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


class Ask(Protocol):
    """How a proposer talks to the model of the run: recorded, counted, under the budget."""

    def __call__(self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None) -> Awaitable[Reply]:
        """Return the reply, which is to be JSON of this schema where the endpoint can be told so.

        Raises ModelError; BudgetSpent when no call may be made.
        """


class Result(Looks, Sequence[Any]):
    """What a run found; unpacks and indexes as `(best_score, scores, best_x)`."""

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        usage: Usage,
        stop_reason: str,
        test_scores: Mapping[int, float] | None = None,
    ) -> None:
        """Take the run's name, its finished trials by number, what it used, why it ended, and its test scores."""
        self.name = name
        self.test_scores = dict(test_scores or {})  # by trial: of x0 and the best, on examples that no model has seen
        self.trials = tuple(trials)
        self.usage = usage
        self.stop_reason = stop_reason

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score, the earliest of equals; None when none has a score."""
        return max((trial for trial in self.trials if trial.scored), key=rank, default=None)

    @property
    def best_score(self) -> float:
        """The highest score; NaN when no trial has one."""
        return self.best.score if self.best and self.best.score is not None else math.nan

    @property
    def best_x(self) -> X | None:
        """The x of the best trial; the first x when no trial has a score; None without trials."""
        return self.best.x if self.best else (self.trials[0].x if self.trials else None)

    @property
    def scores(self) -> list[float]:
        """The scores by trial number, x0's first; a failed trial stands as NaN."""
        return [math.nan if trial.score is None else trial.score for trial in self.trials]

    @property
    def decisions(self) -> dict[str, int]:
        """How many trials a gate gave to whom: model, learner, or fallback for a model that failed; else empty."""
        who = [trial.decision.get("who") for trial in self.trials]
        return {one: who.count(one) for one in ("model", "learner", "fallback") if any(who)}

    def _triple(self) -> tuple[float, list[float], X | None]:
        return (self.best_score, self.scores, self.best_x)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._triple()[index]

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        return iter(self._triple())

    def __repr__(self) -> str:
        return (
            f"Result(name={self.name!r}, best_score={self.best_score!r}, trials={len(self.trials)}, "
            f"stop_reason={self.stop_reason!r})"
        )


# What watchers are told, in this order, once the store has it.


@dataclass(frozen=True)
class RunStarted:
    """A run began or was resumed; `trials` are those already finished."""

    name: str
    task: Task
    store: str
    max_steps: int
    budget: Budget
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class TrialStarted:
    """An x is being written: trial `number`, built on `parent`."""

    number: int
    parent: int | None


@dataclass(frozen=True)
class TrialProposed:
    """An x is written and about to be scored."""

    number: int
    source: str


@dataclass(frozen=True)
class TrialFinished:
    """A trial ended; `champion` says whether it is the best so far; `usage` is the run's."""

    trial: Trial
    champion: bool
    usage: Usage


@dataclass(frozen=True)
class ChampionFound:
    """A trial is the best so far; `before` is the champion that it took over from."""

    trial: Trial
    before: Trial | None


@dataclass(frozen=True)
class ScoredAgain:
    """A finished trial was scored again, because another challenged it or it challenges: its score is a mean now."""

    trial: Trial


@dataclass(frozen=True)
class CallFailed:
    """A model call of trial `number` ended without a reply, after all its attempts."""

    number: int
    model: str
    error: str


@dataclass(frozen=True)
class Cap:
    """One cap of a run: its name as in `Budget` or "max_steps", what is used of it, and where it ends the run."""

    name: str
    used: float
    cap: float | None  # None: no cap


@dataclass(frozen=True)
class BudgetUsed:
    """What is used of each cap, after each finished trial."""

    caps: tuple[Cap, ...]


@dataclass(frozen=True)
class RunEnded:
    """The run is over."""

    result: Result


Event: TypeAlias = (
    RunStarted
    | TrialStarted
    | TrialProposed
    | TrialFinished
    | ChampionFound
    | ScoredAgain
    | CallFailed
    | BudgetUsed
    | RunEnded
)
Watcher: TypeAlias = Callable[[Event], None]


class Search(Protocol):
    """Decides what to build on next; rebuilt on resume by telling it the stored trials again."""

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the next plan; `pending` are the parents of trials in flight; randomness comes from `rng` only."""

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial; one that is told again was scored again, and replaces what was known of it."""


class Proposer(Protocol):
    """Writes the next x."""

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the next x or why there is none; randomness comes from `rng` only."""

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial."""
