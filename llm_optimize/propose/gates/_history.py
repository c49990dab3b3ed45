"""History of a gate: scores and decisions in the order of observation."""

from __future__ import annotations

import math
from typing import TypeGuard

from ...records import Status, Trial

_FAILURES = 3  # in a row, after which the model is not asked for some trials


class History:
    """What the observed trials say about the scores and about the model; nothing else is kept."""

    def __init__(self) -> None:
        self.scores: list[float] = []  # of the complete trials
        self.lowest = math.inf
        self.highest = -math.inf
        self.proposed = 0  # trials that a proposer wrote
        self.by_model = 0
        # Complete trials after the model's last one.
        self.since_model: int | None = None
        self.in_flight = 0  # proposals of the model that are not observed yet
        self._failures = 0  # of the model, in a row
        self._since_failure = 0  # trials
        self._positions: dict[
            int, int
        ] = {}  # of a complete trial's score, by its number
        self._observed: set[int] = set()

    def model_pauses(self, cooldown: int) -> bool:
        """Return whether the model failed three times in a row, less than `cooldown` trials ago."""
        return self._failures >= _FAILURES and self._since_failure < cooldown

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; a second observation only replaces its score."""
        if trial.number in self._observed:
            self._replace_score(trial)
            return
        self._observed.add(trial.number)
        complete = False
        if trial.status is Status.COMPLETE and _is_finite(trial.score):
            complete = True
            self._positions[trial.number] = len(self.scores)
            self.scores.append(trial.score)
            self.lowest = min(self.lowest, trial.score)
            self.highest = max(self.highest, trial.score)
        self._count(trial, complete=complete)

    def _replace_score(self, trial: Trial) -> None:
        position = self._positions.get(trial.number)
        if position is not None and _is_finite(trial.score):
            self.scores[position] = trial.score
            self.lowest = min(self.scores)
            self.highest = max(self.scores)

    def _count(self, trial: Trial, *, complete: bool) -> None:
        """Count whose trial it is, by its stored decision; without one, by its source."""
        who = trial.decision.get("who")
        if who in ("model", "fallback", None):
            self.in_flight = max(0, self.in_flight - 1)
        if trial.source not in ("x0", "user"):
            self.proposed += 1
        if who == "model" or (who is None and trial.source.startswith("model:")):
            self.by_model += 1
            self.since_model = 0
            self._failures = 0
        elif complete and self.since_model is not None:
            self.since_model += 1
        if who == "fallback" and trial.decision.get("reason") == "model_failed":
            self._failures += 1
            self._since_failure = 0
        else:
            self._since_failure += 1


def _is_finite(score: float | None) -> TypeGuard[float]:
    return score is not None and math.isfinite(score)
