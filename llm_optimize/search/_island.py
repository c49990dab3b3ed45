"""One population of several: who lives there, how it does, and what it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random

from ..records import Plan, Trial, X
from ._board import Board
from ._elite import Elite, free

_MEMORY = 0.9  # of the improvement signal and of the bandit, kept from trial to trial
_LEAST, _MOST = (
    0.1,
    0.4,
)  # exploring plans, of an island that improves fast and of one that does not
_FAST = 0.01  # an improvement signal for which it is halfway: trials that gain a tenth of the spread of the scores


@dataclass(frozen=True)
class Shape:
    """What all islands of a search have in common."""

    population: int
    shown: int
    failures: int
    niche: Callable[[Trial], Hashable]


class Island:
    """A population with a grid of niches in it."""

    def __init__(self, number: int, shape: Shape) -> None:
        """Begin without anybody."""
        self.number = number
        self.elite = Elite(shape.population, shape.niche)
        self.told = 0  # trials that are its own
        self.stale = 0  # of these, since it last improved
        self._board = Board(shape.shown, shape.failures)
        self._signal = 0.0  # accumulated squares of relative gains
        self._reward = 0.0  # decayed sum of gains
        self._visits = 0.0  # decayed number of trials

    def settle(self, trial: Trial) -> None:
        """Take in a trial that comes from elsewhere, or what is new of one that lives here."""
        self.elite.observe(trial)
        self._board.observe(trial, self.elite)

    def leave(self, number: int) -> None:
        """Let a trial go elsewhere."""
        self.elite.forget(number)
        self._board.drop(number)

    def observe(self, trial: Trial, spread: float) -> None:
        """Learn from a trial of its own; gains count relative to the `spread` of the scores of the whole run."""
        before = self.elite.champion
        self.settle(trial)
        gain = 0.0
        if (
            trial.score is not None
            and before is not None
            and before.score is not None
            and trial.score > before.score
        ):
            gain = (
                min(1.0, (trial.score - before.score) / spread) if spread > 0 else 1.0
            )
        self.told += 1
        self.stale = 0 if gain or before is None else self.stale + 1
        self._signal = _MEMORY * self._signal + (1 - _MEMORY) * gain**2
        self._reward = _MEMORY * self._reward + gain
        self._visits = _MEMORY * self._visits + 1

    def worth(self, flying: int, visits: float, curiosity: float) -> float:
        """Return its upper confidence bound (UCB1 on decayed rewards); trials in flight count as without reward."""
        own = self._visits + flying
        if own <= 0:
            return math.inf
        return self._reward / own + curiosity * math.sqrt(
            math.log(max(math.e, visits)) / own
        )

    @property
    def visits(self) -> float:
        """How many trials it was given, the older the less they count."""
        return self._visits

    @property
    def exploring(self) -> float:
        """The share of plans that build on anybody here: the more, the less it improved."""
        return _LEAST + (_MOST - _LEAST) / (1 + math.sqrt(self._signal / _FAST))

    def parent(self, rng: Random, pending: Sequence[int]) -> Trial:
        """Return its champion, or, exploring, one of a niche drawn at random."""
        left = free(list(self.elite), pending)
        return rng.choice(left) if rng.random() < self.exploring else left[0]

    def plan(self, parent: Trial, hint: str) -> Plan:
        """Return a plan that shows who lives here."""
        return self._board.plan(parent, hint)

    def repair(self, pending: Sequence[int]) -> Plan:
        """Return the plan for nothing but failures so far."""
        return self._board.repair(pending)


class Grid:
    """Niches by the size of x, in steps of a half, and by named metrics, in tenths of the range seen so far."""

    def __init__(self, metrics: Sequence[str]) -> None:
        """Take the names of metrics."""
        self._metrics = tuple(metrics)
        self._lowest: dict[str, float] = {}
        self._highest: dict[str, float] = {}

    def observe(self, trial: Trial) -> None:
        """Learn the ranges of the metrics."""
        for name in self._metrics:
            value = trial.metrics.get(name, math.nan)
            if math.isfinite(value):
                self._lowest[name] = min(value, self._lowest.get(name, value))
                self._highest[name] = max(value, self._highest.get(name, value))

    def niche(self, trial: Trial) -> Hashable:
        """Return the niche of a trial."""
        size = math.log(_size(trial.x) + 1, 1.5) if trial.x is not None else 0.0
        return (
            int(size),
            *(
                self._tenth(name, trial.metrics.get(name, math.nan))
                for name in self._metrics
            ),
        )

    def _tenth(self, name: str, value: float) -> int:
        if not math.isfinite(value) or name not in self._lowest:
            return -1
        width = self._highest[name] - self._lowest[name]
        return (
            min(9, int(10 * (value - self._lowest[name]) / width)) if width > 0 else 0
        )


def _size(x: X) -> int:
    return len(x) if isinstance(x, str) else sum(len(str(part)) for part in x.values())
