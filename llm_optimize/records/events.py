"""Events: what watchers are notified of, each after the store has written it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from .direction import Direction
from .result import Result
from .trial import Trial
from .values import Budget, Task, Usage


@dataclass(frozen=True)
class Cap:
    """One cap of a run, its name as in `Budget` or "max_steps", and what is used of it."""

    name: str
    used: float
    cap: float | None  # None: no cap

    def is_reached(self, in_flight: float = 0) -> bool:
        """Whether nothing is left of it, once what is in flight is used as well."""
        if self.cap is None:
            return False
        return self.used + in_flight >= self.cap

    @property
    def stop_reason(self) -> str:
        """Why a run ends that has reached it."""
        if self.name == "max_steps":
            return self.name
        return f"budget: {self.name}"


@dataclass(frozen=True)
class RunStarted:
    """A run began or was resumed; `trials` are those already finished."""

    name: str
    task: Task
    store: str
    max_steps: int
    budget: Budget
    trials: tuple[Trial, ...]
    caps: tuple[Cap, ...] = ()  # what earlier sessions used of each
    usage: Usage = field(default_factory=Usage)  # of all model calls so far
    direction: Direction = Direction.MAXIMIZE


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
    """A trial ended."""

    trial: Trial
    champion: bool  # whether it is the best so far
    usage: Usage  # of the run


@dataclass(frozen=True)
class ChampionFound:
    """A trial is the best so far."""

    trial: Trial
    before: Trial | None  # the champion until now


@dataclass(frozen=True)
class ScoredAgain:
    """A finished trial was re-scored, as champion or challenger; its score is now a mean."""

    trial: Trial


@dataclass(frozen=True)
class CallFailed:
    """A model call of trial `number` ended without a reply, after all its attempts."""

    number: int
    model: str
    error: str


@dataclass(frozen=True)
class Noticed:
    """Something that the user should know; the run goes on."""

    text: str  # one sentence


@dataclass(frozen=True)
class BudgetUsed:
    """What is used of each cap; sent after each finished trial and each re-scoring."""

    caps: tuple[Cap, ...]


@dataclass(frozen=True)
class RunEnded:
    """The run is over."""

    result: Result
    caps: tuple[Cap, ...] = ()  # what is used of each


Event: TypeAlias = (
    RunStarted
    | TrialStarted
    | TrialProposed
    | TrialFinished
    | ChampionFound
    | ScoredAgain
    | CallFailed
    | Noticed
    | BudgetUsed
    | RunEnded
)
Watcher: TypeAlias = Callable[[Event], None]
