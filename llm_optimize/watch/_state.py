"""What a view of a run knows: built from events alone, of bounded size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..records import (
    Budget,
    BudgetUsed,
    CallFailed,
    Cap,
    ChampionFound,
    Event,
    Result,
    RunEnded,
    RunStarted,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
    rank,
)

_KEPT = 200  # trials, of which a screen shows the last
_UNSTEADY = ("seconds", "stale_steps")  # caps that are not reached at the pace of the trials


@dataclass
class State:
    """A run as far as its events tell."""

    clock: Callable[[], float] = time.monotonic
    name: str = ""
    store: str = ""
    description: str = ""
    max_steps: int = 0
    first_trials: int = 0  # how many of the trials are x0
    budget: Budget = field(default_factory=Budget)
    begun_at: float = 0.0
    finished_at: float = 0.0  # when the last trial was
    ended_at: float | None = None
    champion: Trial | None = None
    champion_at: float = 0.0
    base: Trial | None = None  # what the champion is compared with: its parent, or the champion before it
    best_scores: list[float] = field(default_factory=list)  # every `stride`-th, and the last
    stride: int = 1
    last: deque[tuple[Trial, float | None]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    flying: dict[int, str] = field(default_factory=dict)  # number -> what it waits for
    finished: int = 0
    scorings: int = 0
    stale_steps: int = 0
    usage: Usage = field(default_factory=Usage)
    failed_calls: int = 0
    failure: CallFailed | None = None  # the last one
    told: tuple[Cap, ...] = ()  # by the hall
    before: dict[str, float] = field(default_factory=dict)  # used of each cap when this session began
    result: Result | None = None

    def update(self, event: Event) -> None:
        """Learn from an event."""
        match event:
            case RunStarted():
                self._start(event)
            case TrialStarted():
                self.flying[event.number] = "asking"
            case TrialProposed():
                self.flying[event.number] = f"scoring ({event.source})"
            case TrialFinished():
                self.flying.pop(event.trial.number, None)
                self.usage = event.usage
                self._add(event.trial, event.champion)
                self.finished_at = self.clock()
            case ChampionFound():
                self._crown(event.trial)
            case CallFailed():
                self.failed_calls, self.failure = self.failed_calls + 1, event
            case BudgetUsed():
                self.told = event.caps
            case RunEnded():
                self.result, self.ended_at = event.result, self.clock()
                self.flying.clear()

    def _start(self, event: RunStarted) -> None:
        self.name, self.store, self.description = event.name, event.store, event.task.description
        self.max_steps, self.budget = event.max_steps, event.budget
        self.begun_at = self.champion_at = self.finished_at = self.clock()
        for trial in event.trials:
            self.usage += trial.usage
            self._add(trial, trial.scored and (self.champion is None or rank(trial) > rank(self.champion)))
        self.before = {cap.name: cap.used for cap in self._counted()}

    def _add(self, trial: Trial, champion: bool) -> None:
        score = self.champion.score if self.champion else None
        change = None if trial.score is None or score is None else trial.score - score
        if any(known.number == trial.number for known, _ in self.last):  # scored again
            pairs = [(trial, change) if known.number == trial.number else (known, old) for known, old in self.last]
            self.last = deque(pairs, maxlen=_KEPT)
        else:
            self.last.append((trial, change))
            self.finished += 1
            self.first_trials += trial.source == "x0"
            self.scorings += trial.x is not None and trial.status != "duplicate"
            self.stale_steps += 1
        if champion:
            self._crown(trial)
        self._draw()

    def _crown(self, trial: Trial) -> None:
        """Make a trial the champion; one that is it already was only scored again."""
        if self.champion is None or self.champion.number != trial.number:
            parent = next((known for known, _ in self.last if known.number == trial.parent), None)
            self.base = parent or self.champion
            self.champion_at, self.stale_steps = self.clock(), 0
        self.champion = trial

    def _draw(self) -> None:
        """Add a point to the line of best scores, and thin it out evenly when it grows long."""
        if self.champion is None or self.champion.score is None:
            return
        if self.finished % self.stride and self.best_scores:
            self.best_scores[-1] = self.champion.score
            return
        self.best_scores.append(self.champion.score)
        if len(self.best_scores) > 2 * _KEPT:
            self.best_scores, self.stride = self.best_scores[1::2], 2 * self.stride

    @property
    def seconds(self) -> float:
        """How long this session of the run has been going, in seconds."""
        return (self.clock() if self.ended_at is None else self.ended_at) - self.begun_at

    def caps(self) -> list[Cap]:
        """Return what is used of each cap: as the hall told it last, else as counted here; the time as it is now."""
        known = self.told or self._counted()
        return [replace(cap, used=self.seconds) if cap.name == "seconds" else cap for cap in known]

    def _counted(self) -> tuple[Cap, ...]:
        budget, usage = self.budget, self.usage
        return (
            Cap("max_steps", self.finished - self.first_trials, self.max_steps),
            Cap("calls", usage.calls, budget.calls),
            Cap("tokens", usage.tokens, budget.tokens),
            Cap("usd", usage.cost_usd or 0.0, budget.usd),
            Cap("seconds", self.seconds, budget.seconds),
            Cap("scorings", self.scorings, budget.scorings),
            Cap("stale_steps", self.stale_steps, budget.stale_steps),
        )

    def seconds_left(self) -> float | None:
        """Estimate when the first cap is reached, at the pace of this session; None while there is no pace."""
        guesses = [self.budget.seconds - self.seconds] if self.budget.seconds is not None else []
        worked = self.finished_at - self.begun_at
        for cap in self.caps():
            used = cap.used - self.before.get(cap.name, 0.0)
            if cap.cap is not None and cap.name not in _UNSTEADY and used > 0 and worked > 0:
                guesses.append(worked * (cap.cap - cap.used) / used - (self.seconds - worked))
        return max(0.0, min(guesses)) if guesses else None
