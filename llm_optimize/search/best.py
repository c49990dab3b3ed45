"""Build on the best so far; now and then on another of the best; remember what failed."""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from random import Random

from ..records import Plan, Trial, rank

_KEPT = 50  # best trials to choose from
_SHOWN = 4  # to show
_FAILURES = 8  # to remember
_BATCH = 10  # trials after which what is shown is chosen anew; in between it only grows, so that prompts begin alike
_CHAMPION_SHARE = 0.75  # of the plans


class Best:
    """Mostly the champion, else a rank-weighted pick among the best, beside a few others."""

    def __init__(self) -> None:
        self._best: list[Trial] = []  # lowest rank first
        self._shown: list[Trial] = []
        self._unscored: list[Trial] = []
        self._told = 0

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan; a parent that others in flight already build on is less likely."""
        if not self._best:
            return self._repair()
        return Plan(self._parent(rng, pending), context=tuple(self._shown), failures=tuple(self._unscored))

    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial; duplicates teach nothing new."""
        self._told += 1
        if trial.scored and not self._known(trial):
            insort(self._best, trial, key=rank)
            del self._best[:-_KEPT]
            if trial is self._best[-1] or len(self._shown) < _SHOWN:
                self._shown.append(trial)
        elif not trial.scored and trial.x is not None:
            self._unscored.append(trial)
        if self._told % _BATCH == 0:
            self._choose()

    def _choose(self) -> None:
        """Show the best of now, those first that were shown before."""
        best = self._best[-_SHOWN:]
        before = [trial for trial in self._shown if trial in best]
        self._shown = before + [trial for trial in best if trial not in before]
        del self._unscored[:-_FAILURES]

    def _known(self, trial: Trial) -> bool:
        return any(other.x == trial.x for other in self._best)

    def _repair(self) -> Plan:
        """With nothing but failures so far, build on the newest, and remember the others."""
        if not self._unscored:
            return Plan(None)
        return Plan(self._unscored[-1], failures=tuple(self._unscored[:-1]))

    def _parent(self, rng: Random, pending: Sequence[int]) -> Trial:
        free = [trial for trial in self._best if trial.number not in pending] or self._best
        if free[-1] is self._best[-1] and rng.random() < _CHAMPION_SHARE:
            return free[-1]
        weights = [1.0 / place for place in range(len(free), 0, -1)]  # the best: 1, the next: 1/2, ...
        return rng.choices(free, weights)[0]
