"""The conversation of 2023: every x so far and what became of it, oldest first, the newest to be improved."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..records import Plan, Trial, rank

_MAX_TRIALS = 100  # when there are more, the older half leaves the conversation at once; the champion stays


class Chat:
    """Build on the newest trial; show those before it as a conversation."""

    def __init__(self, max_trials: int = _MAX_TRIALS) -> None:
        """Keep at most `max_trials` trials in the conversation, and at least half as many."""
        self._recent: list[Trial] = []
        self._max_trials = max_trials
        self._champion: Trial | None = None

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the conversation; nothing here is random, and trials in flight are not waited for."""
        if not self._recent:
            return Plan(parent=None, transcript=True)
        *earlier, newest = self._recent
        if self._champion and all(trial is not self._champion for trial in self._recent):
            earlier.insert(0, self._champion)
        return Plan(parent=newest, context=tuple(earlier), transcript=True)

    def tell(self, trial: Trial) -> None:
        """Add a trial to the conversation; one without an x says nothing."""
        if trial.x is None:
            return
        self._recent.append(trial)
        if len(self._recent) > self._max_trials:
            del self._recent[: -(self._max_trials // 2 or 1)]
        if trial.scored and (self._champion is None or rank(trial) > rank(self._champion)):
            self._champion = trial
