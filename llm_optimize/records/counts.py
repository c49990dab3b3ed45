"""Counts of a run: trials, scorings and model calls, against its caps.

A live run counts with `Counts`, and a reader of its stored rows does, too: both show the same
numbers. Nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .direction import Direction
from .events import Cap
from .trial import KNOWN, Trial
from .values import Budget, Usage

# Caps that do not grow at the pace of the trials.
_UNSTEADY = ("seconds", "stale_steps")


class Counts:
    """Counts the finished trials and the model calls of a run, and knows its champion.

    It keeps no trial but the champion.

    Args:
        first_trials: how many x0 there are; the trials with lower numbers are no steps.
        direction: of the scores of the trials that it observes.

    >>> from llm_optimize.records import Status
    >>> counts = Counts(first_trials=1)
    >>> for number, score in enumerate([0.5, 0.4, 0.7]):
    ...     counts.observe(Trial.of(number, "x", Status.COMPLETE, "user", score))
    >>> counts.champion.number, counts.steps, counts.scorings, counts.stale_steps
    (2, 2, 3, 0)
    """

    def __init__(
        self, first_trials: int, direction: Direction = Direction.MAXIMIZE
    ) -> None:
        self.first_trials = first_trials
        self.direction = direction
        self.champion: Trial | None = None
        self.steps = 0  # finished trials beyond x0
        self.stale_steps = 0  # the last of them in a row without a new champion
        self.scorings = 0  # calls of f
        self.calls = 0  # to models, answered or in flight
        self.usage = Usage()  # of this run's own model calls
        self.inherited = Usage()  # of those that a fork took over from its origin

    def is_first(self, number: int) -> bool:
        """Whether the trial of this number is one of x0."""
        return number < self.first_trials

    def observe(
        self, trial: Trial, before: Trial | None = None, trials: Iterable[Trial] = ()
    ) -> None:
        """Learn a finished trial.

        Args:
            trial: as it is known now.
            before: the same trial as it was known until now, where it was scored again.
            trials: all that are finished, as they are known now; looked at only where the champion
                was scored again, since it may have fallen behind another one.
        """
        self.scorings += trial.scorings
        if before is not None:
            # Further scorings include the earlier ones; those by a changed f do not.
            if trial.scorings > before.scorings:
                self.scorings -= before.scorings
        elif not self.is_first(trial.number) and trial.source != KNOWN:
            self.steps += 1
            self.stale_steps += 1
        champion, rank = self.champion, self.direction.rank
        if champion is not None and champion.number == trial.number:
            self.champion = max(trials, key=rank, default=trial)
        elif trial.scored and (champion is None or rank(trial) > rank(champion)):
            self.champion = trial
            self.stale_steps = 0

    def take_over(self, inherited: Usage, used: Usage, answered_calls: int) -> None:
        """Count what the stored calls of a run used: those of a fork's origin, and its own.

        `answered_calls` are all that have a reply, those of the origin included.
        """
        self.inherited = inherited
        self.usage = used
        self.calls = answered_calls - inherited.calls

    @property
    def total_usage(self) -> Usage:
        """What all model calls used, those of a fork's origin included."""
        return self.inherited + self.usage

    def caps(self, max_steps: int, budget: Budget, seconds: float) -> tuple[Cap, ...]:
        """Return each cap of the run and what is used of it, `seconds` into this session."""
        return (
            Cap("max_steps", self.steps, max_steps),
            Cap("scorings", self.scorings, budget.scorings),
            Cap("seconds", seconds, budget.seconds),
            *self.call_caps(budget),
            Cap("stale_steps", self.stale_steps, budget.stale_steps),
        )

    def call_caps(self, budget: Budget) -> tuple[Cap, ...]:
        """Return the caps on model calls."""
        return (
            Cap("calls", self.calls, budget.calls),
            Cap("tokens", self.usage.tokens, budget.tokens),
            Cap("usd", self.usage.cost_usd or 0.0, budget.usd),
        )


def seconds_left(
    caps: Iterable[Cap], before: Mapping[str, float], worked: float, since: float
) -> float | None:
    """Estimate when the first cap is reached, at the pace of this session; None without a pace.

    Args:
        caps: what is used of each.
        before: what earlier sessions had used of them.
        worked: seconds of this session up to its last finished trial.
        since: seconds since then.
    """
    estimates: list[float] = []
    for cap in caps:
        if cap.cap is None:
            continue
        left = cap.cap - cap.used
        used = cap.used - before.get(cap.name, 0.0)
        if cap.name == "seconds":
            estimates.append(left)
        elif cap.name not in _UNSTEADY and used > 0 and worked > 0:
            estimates.append(worked * left / used - since)
    if not estimates:
        return None
    return max(0.0, min(estimates))


def usage_of(trials: Iterable[Trial], last_inherited: int = -1) -> tuple[Usage, Usage]:
    """Return the usage of the trials up to the number `last_inherited`, and of the others."""
    inherited = Usage()
    used = Usage()
    for trial in trials:
        if trial.number <= last_inherited:
            inherited += trial.usage
        else:
            used += trial.usage
    return inherited, used
