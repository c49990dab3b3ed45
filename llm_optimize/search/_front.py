"""The trials that are best at something, of several things that each have values at."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ..records import Trial


class Front:
    """A bounded number of trials, each the best, or one of several best, at one thing at least."""

    def __init__(self, size: int) -> None:
        """Keep at most `size` trials."""
        self._size = size
        self._trials: dict[int, Trial] = {}
        self._values: dict[int, Mapping[str, float]] = {}
        self._best: dict[str, float] = {}
        self._holders: dict[
            str, set[int]
        ] = {}  # numbers of those that have the best value
        self._held: dict[int, set[str]] = {}  # the same, by number
        self._numbers: dict[str, int] = {}  # by what equal x share
        self._wins: dict[int, int] | None = None  # None: to be counted anew

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def __len__(self) -> int:
        return len(self._trials)

    def observe(self, trial: Trial, values: Mapping[str, float]) -> None:
        """Learn from a trial, or what is new of it; NaN is no value."""
        if trial.number in self._trials:
            self._forget(trial.number)
        values = {
            name: value for name, value in values.items() if not math.isnan(value)
        }
        if trial.x is None or not any(
            value >= self._best.get(name, value) for name, value in values.items()
        ):
            return
        if trial.key in self._numbers:
            return
        self._add(trial, values)
        if len(self._trials) > self._size:
            self._forget(min(self._trials, key=self._weight))

    def _add(self, trial: Trial, values: Mapping[str, float]) -> None:
        number = trial.number
        self._trials[number], self._values[number], self._held[number] = (
            trial,
            values,
            set(),
        )
        self._numbers[trial.key] = number
        for name, value in values.items():
            if value > self._best.get(name, -math.inf) or name not in self._best:
                self._take(name, value)
            if value == self._best[name]:
                self._holders[name].add(number)
                self._held[number].add(name)
        self._wins = None

    def _take(self, name: str, value: float) -> None:
        """Set a new best value; those that held the old one and hold nothing else leave."""
        before = self._holders.get(name, set())
        self._best[name], self._holders[name] = value, set()
        for number in before:
            self._held[number].discard(name)
            if not self._held[number]:
                self._remove(number)

    def _weight(self, number: int) -> tuple[int, float, int]:
        """Return what keeps a trial here: how often it is best, then its score, then its age."""
        return (len(self._held[number]), self._trials[number].score or 0.0, -number)

    def _remove(self, number: int) -> None:
        del self._numbers[self._trials.pop(number).key]
        del self._values[number], self._held[number]

    def _forget(self, number: int) -> None:
        """Leave a trial out; where it alone was best, the best of those that are left are."""
        alone = [name for name in self._held[number] if self._holders[name] == {number}]
        for name in self._held[number]:
            self._holders[name].discard(number)
        self._remove(number)
        for name in alone:
            del self._best[name], self._holders[name]
            for other, values in self._values.items():
                if name in values and values[name] >= self._best.get(
                    name, values[name]
                ):
                    self._hand_over(name, other, values[name])
        self._wins = None

    def _hand_over(self, name: str, number: int, value: float) -> None:
        if value > self._best.get(name, -math.inf) or name not in self._best:
            for other in self._holders.get(name, set()):
                self._held[other].discard(name)
            self._best[name], self._holders[name] = value, set()
        self._holders[name].add(number)
        self._held[number].add(name)

    def wins(self) -> dict[int, int]:
        """Return how often each is best, by number; without those that others equal wherever they are best."""
        if self._wins is None:
            self._wins = {
                number: len(names)
                for number, names in sorted(self._held.items())
                if not self._is_covered(number)
            }
        return self._wins

    def _is_covered(self, number: int) -> bool:
        """Whether another is best wherever this one is, and elsewhere too, or else scores higher."""
        others = set(self._held)
        for name in self._held[number]:
            others &= self._holders[name]
            if len(others) == 1:
                return False
        return any(self._weight(other) > self._weight(number) for other in others)

    def complement(self, trial: Trial) -> Trial | None:
        """Return the one here that adds the most to a trial, the sum of what it is better by; None when none adds."""
        own = self._values[trial.number]
        scales = {name: self._scale(name) for name in own}

        def adds(number: int) -> float:
            return math.fsum(
                max(0.0, value - own[name]) / scales[name]
                for name, value in self._values[number].items()
                if name in own and scales[name] > 0
            )

        other = max(sorted(self.wins()), key=adds)
        return (
            self._trials[other] if other != trial.number and adds(other) > 0 else None
        )

    def _scale(self, name: str) -> float:
        known = [values[name] for values in self._values.values() if name in values]
        return max(known) - min(known)

    def better_at(self, one: Trial, other: Trial) -> list[str]:
        """Return the names of the things at which one is better than the other, the largest lead first."""
        mine, theirs = self._values[one.number], self._values[other.number]
        leads = {
            name: mine[name] - theirs[name]
            for name in mine
            if name in theirs and mine[name] > theirs[name]
        }
        return sorted(leads, key=lambda name: (-leads[name], name))
