"""What a gate knows of the trials that it was told."""

from __future__ import annotations

import math

from ...records import Status, Trial


class Ledger:
    """Scores and decisions in the order of telling; a function of the told trials."""

    def __init__(self) -> None:
        self.scores: list[float] = []  # of the complete trials
        self.low, self.high = math.inf, -math.inf  # of the scores
        self.proposed = 0  # trials that a proposer wrote
        self.by_model = 0
        self.since_model: int | None = (
            None  # complete trials after the last one of the model
        )
        self.failures = 0  # of the model, in a row
        self.since_failure = 0  # trials after the last of them
        self._places: dict[
            int, int
        ] = {}  # number of a complete trial -> its place among the scores
        self._told: set[int] = set()

    def observe(self, trial: Trial) -> bool:
        """Write a trial down and return whether it is new; one that is told again only replaces its score."""
        if trial.number in self._told:
            self._score_again(trial)
            return False
        self._told.add(trial.number)
        complete = (
            trial.status is Status.COMPLETE
            and trial.score is not None
            and math.isfinite(trial.score)
        )
        if complete and trial.score is not None:
            self._places[trial.number] = len(self.scores)
            self._score(trial.score)
        self._count(trial, complete=complete)
        return True

    def _score(self, score: float) -> None:
        self.scores.append(score)
        self.low, self.high = min(self.low, score), max(self.high, score)

    def _score_again(self, trial: Trial) -> None:
        place = self._places.get(trial.number)
        if place is not None and trial.score is not None and math.isfinite(trial.score):
            self.scores[place] = trial.score
            self.low, self.high = min(self.scores), max(self.scores)

    def _count(self, trial: Trial, *, complete: bool) -> None:
        who = trial.decision.get("who")
        model = trial.source.startswith("model:") if who is None else who == "model"
        failed = who == "fallback" and trial.decision.get("reason") == "model_failed"
        self.proposed += trial.source not in ("x0", "user")
        if model:
            self.by_model += 1
            self.since_model = self.failures = 0
        elif complete and self.since_model is not None:
            self.since_model += 1
        self.failures += failed
        self.since_failure = 0 if failed else self.since_failure + 1
