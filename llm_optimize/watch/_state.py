"""What a view of a run knows: built from events alone, of bounded size."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..records import (
    Budget,
    Event,
    Result,
    RunEnded,
    RunStarted,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
)

_KEPT = 200  # trials, of which a screen shows the last


@dataclass
class State:
    """A run as far as its events tell."""

    clock: Callable[[], float] = time.monotonic
    name: str = ""
    description: str = ""
    max_steps: int = 0
    first_trials: int = 0  # how many of the trials are x0
    budget: Budget = field(default_factory=Budget)
    begun_at: float = 0.0
    ended_at: float | None = None
    champion: Trial | None = None
    champion_at: float = 0.0
    best_scores: list[float] = field(default_factory=list)  # thinned out when it grows long
    last: deque[tuple[Trial, float | None]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    flying: dict[int, str] = field(default_factory=dict)  # number -> what it waits for
    finished: int = 0
    scorings: int = 0
    stale_steps: int = 0
    usage: Usage = field(default_factory=Usage)
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
                self._add(event.trial)
            case RunEnded():
                self.result, self.ended_at = event.result, self.clock()
                self.flying.clear()

    def _start(self, event: RunStarted) -> None:
        self.name, self.description = event.name, event.task.description
        self.max_steps, self.budget = event.max_steps, event.budget
        self.begun_at = self.champion_at = self.clock()
        for trial in event.trials:
            self.usage += trial.usage
            self._add(trial)

    def _add(self, trial: Trial) -> None:
        before = self.champion.score if self.champion else None
        change = None if trial.score is None or before is None else trial.score - before
        self.last.append((trial, change))
        self.finished += 1
        self.first_trials += trial.source == "x0"
        self.scorings += trial.x is not None and trial.status != "duplicate"
        self.stale_steps += 1
        if trial.score is not None and (before is None or trial.score > before):
            self.champion, self.champion_at, self.stale_steps = trial, self.clock(), 0
        if self.champion is not None and self.champion.score is not None:
            self.best_scores.append(self.champion.score)
            if len(self.best_scores) > 2 * _KEPT:
                del self.best_scores[1::2]

    @property
    def seconds(self) -> float:
        """How long the run has been going, in seconds."""
        return (self.clock() if self.ended_at is None else self.ended_at) - self.begun_at

    def spent(self) -> list[tuple[str, float, float | None]]:
        """Return what is spent of each cap: its name, the amount, the cap or None."""
        budget, usage = self.budget, self.usage
        rows: list[tuple[str, float, float | None]] = [
            ("steps", self.finished - self.first_trials, self.max_steps),
            ("model calls", usage.calls, budget.calls),
            ("tokens", usage.tokens, budget.tokens),
            ("seconds", self.seconds, budget.seconds),
            ("scorings", self.scorings, budget.scorings),
            ("stale steps", self.stale_steps, budget.stale_steps),
        ]
        always = ("steps", "model calls", "seconds")
        return [row for row in rows if row[2] is not None or row[0] in always or (row[0] == "tokens" and row[1])]
