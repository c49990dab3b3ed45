"""Search `islands`: several populations, each as bold as it is unsuccessful.

    island = the one with the highest UCB1 on decayed gains       (a bandit over islands)
    parent = its champion                with probability 1 - exploring
             any of its trials           otherwise; those that fail to improve explore more
    show     the best of that island that are far apart

    a child lives on the island of its parent; children of the first x go to the smallest island
    every migrate_every trials of an island: its second best moves to the next island in the ring
    when all islands are stale: a new one is created, seeded with a good trial that is far from the
        champion; its first plan asks for a different kind of idea, and beyond max_islands it takes
        the place of the weakest

A gain is how much a trial raised the best score of its island, relative to the spread of the best
scores of the whole run, at most 1. So scores of any size and sign will do.

Sources: island models and MAP-Elites (arXiv 1504.04909) as in AlphaEvolve (arXiv 2506.13131). The
adaptation of each island, the bandit on decayed rewards and the creation of islands are those of
AdaEvolve (arXiv 2602.20133; code: skydiscover-ai/skydiscover). Constants say where they come from.
"By hand" means: chosen, and measured only as a whole, with benchmarks/search.py on 2026-11-21 (the
table in docs/search.md). The defaults of the options are by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from random import Random

from ..checks import whole_number
from ..errors import UsageError
from ..records import Plan, Trial, X
from ..ucb1 import ucb1
from . import hints
from .selection import BATCH, KEPT, Elite, PromptSelection, least_pending

_DECAY = 0.9  # of gains, from trial to trial; AdaEvolve
_LEAST_EXPLORING = 0.1  # share of plans, of an island that improves fast; AdaEvolve
_MOST_EXPLORING = 0.4  # of one that does not improve; by hand (AdaEvolve: 0.7)
# The improvement signal at which an island explores with the mean of both shares: that of trials
# that gain a tenth of the spread each. By hand.
_HALFWAY_SIGNAL = 0.01
_UCB_WEIGHT = 0.1  # gains are mostly below a tenth of the spread; by hand
_UCB_FACTOR = 1.0  # of the logarithm (UCB1: 2); by hand
_SIZE_STEP = 1.5  # niches by the size of x: each is half as wide again; by hand
_RANGE_STEPS = 10  # niches by a metric: tenths of its range; by hand


class Islands:
    """Populations with a grid of niches in each.

    Islands that improve get more trials, those that do not explore more.

    Args:
        islands: populations at the start, from 1.
        max_islands: populations at most; a further one takes the place of the weakest.
        population: trials of an island, from 2; the best of each niche outlives others.
        metrics: names of `Trial.metrics` that make niches, besides the size of x.
        migrate_every: trials of an island between two migrations, from 1.
        patience: trials of an island without progress until it is stale, from 1.
        shown: trials to show, from 1; up to 5 more for a while.
        failures: failed trials to show in a line each, from 1; up to 9 more until a batch of 10
            trials ends.

    Raises:
        UsageError: a value is out of its range.

    >>> from llm_optimize.records import Status
    >>> search = Islands(islands=2)
    >>> search.observe(Trial.of(0, "x0", Status.COMPLETE, "x0", score=1.0))
    >>> search.ask(Random(0), pending=[]).parent.number
    0
    """

    def __init__(
        self,
        islands: int = 3,
        max_islands: int = 6,
        population: int = 20,
        metrics: Sequence[str] = (),
        migrate_every: int = 5,
        patience: int = 30,
        shown: int = 6,
        failures: int = 8,
    ) -> None:
        count = whole_number("islands", "islands", islands, 1)
        if whole_number("islands", "max_islands", max_islands, 1) < count:
            raise UsageError(
                f"islands: max_islands is {max_islands}, it must be at least islands, {count}"
            )
        self._max_islands = max_islands
        self._migrate_every = whole_number("islands", "migrate_every", migrate_every, 1)
        self._patience = whole_number("islands", "patience", patience, 1)
        names = [metrics] if isinstance(metrics, str) else metrics
        self._grid = _Grid(names)
        self._shape = _Shape(
            whole_number("islands", "population", population, 2),
            whole_number("islands", "shown", shown, 1),
            whole_number("islands", "failures", failures, 1),
            self._grid.niche,
        )
        self._islands: list[_Island] = []
        for number in range(count):
            self._islands.append(_Island(number, self._shape))
        self._created = count
        # Number of a trial -> number of its island. The first x have no home: all islands start
        # with them.
        self._homes: dict[int, int] = {}
        self._best = Elite(KEPT)  # of all islands together
        # The trial that a new island was seeded with, until the island has its first child.
        self._seed: int | None = None

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan for the island that the bandit selects."""
        if not len(self._best):
            return self._islands[0].plan_without_scores(pending)
        seed = self._best.get(self._seed)
        if seed is not None and seed.number not in pending:
            return self._home_of(seed).plan(seed, hints.NEW_KIND)
        island = self._select(pending)
        return island.plan(island.pick_parent(rng, pending))

    def _select(self, pending: Sequence[int]) -> _Island:
        """Return the island with the highest upper confidence bound."""
        homes = [self._homes.get(number) for number in pending]
        visits = sum(island.visits for island in self._islands) + len(pending)

        def bound(island: _Island) -> float:
            return island.bound(homes.count(island.number), visits)

        inhabited = [island for island in self._islands if len(island.elite)]
        return max(inhabited, key=bound)

    def observe(self, trial: Trial) -> None:
        """Add a finished trial, or its newer record."""
        self._grid.observe(trial)
        self._best.observe(trial)
        if trial.parent is None:
            for island in self._islands:
                island.admit(trial)
        elif trial.number in self._homes:
            self._replace(trial)
        else:
            self._admit(trial)

    def _replace(self, trial: Trial) -> None:
        """Replace a trial by its newer record, on its island, or on another if that is gone."""
        home = self._home_of(trial)
        self._homes[trial.number] = home.number
        for island in self._islands:
            if island is not home:
                island.remove(trial.number)
        home.admit(trial)

    def _admit(self, trial: Trial) -> None:
        """Add a new trial to the island of its parent."""
        home = None
        if trial.parent is not None:
            home = self._homes.get(trial.parent)
        island = self._island(home)
        self._homes[trial.number] = island.number
        island.observe(trial, self._best.spread)
        if trial.parent == self._seed:
            self._seed = None
        if island.count % self._migrate_every == 0:
            self._migrate(island)
        if all(island.stale >= self._patience for island in self._islands):
            self._create()

    def _home_of(self, trial: Trial) -> _Island:
        return self._island(self._homes.get(trial.number))

    def _island(self, number: int | None) -> _Island:
        """Return an island by its number; the one with the fewest trials where there is none."""
        for island in self._islands:
            if island.number == number:
                return island
        return min(self._islands, key=lambda island: island.count)

    def _migrate(self, island: _Island) -> None:
        """Move the second best of an island to the next one; its champion stays."""
        if len(self._islands) < 2:
            return
        best_two = island.elite.top(2)
        for second in best_two[1:]:
            if second.number in self._homes:
                place = self._islands.index(island) + 1
                following = self._islands[place % len(self._islands)]
                self._move(second, island, following)

    def _move(self, trial: Trial, old: _Island, new: _Island) -> None:
        old.remove(trial.number)
        new.admit(trial)
        self._homes[trial.number] = new.number

    def _create(self) -> None:
        """Create an island, seeded with a good trial that is far from the champion."""
        for island in self._islands:
            island.stale = 0
        champion = self._best.champion
        diverse = self._best.diverse(BATCH, novelty=1.0)
        seeds = [trial for trial in diverse[1:] if trial.number in self._homes]
        if champion is None or not seeds:
            return
        seed = seeds[0]
        if len(self._islands) >= self._max_islands:
            weakest = self._weakest(champion, seed)
            self._islands.remove(weakest)
        island = _Island(self._created, self._shape)
        self._created += 1
        self._islands.append(island)
        home = self._home_of(seed)
        self._move(seed, home, island)
        self._seed = seed.number

    def _weakest(self, *kept: Trial) -> _Island:
        """Return the island with the lowest champion, if possible without one of these trials."""
        homes = {self._homes.get(trial.number) for trial in kept}
        others = [island for island in self._islands if island.number not in homes]
        return min(others or self._islands, key=lambda island: island.height)


@dataclass(frozen=True)
class _Shape:
    """What all islands of a search have in common."""

    population: int  # trials
    shown: int  # trials
    failures: int  # trials
    niche: Callable[[Trial], Hashable]


class _Island:
    """One population, and what it has gained."""

    def __init__(self, number: int, shape: _Shape) -> None:
        self.number = number
        self.elite = Elite(shape.population, shape.niche)
        self.count = 0  # trials that were made here
        self.stale = 0  # of these, since the last gain
        self.visits = 0.0  # the same as `count`, decayed
        self._prompt = PromptSelection(shape.shown, shape.failures)
        self._gains = 0.0  # sum, decayed
        self._signal = 0.0  # mean square of the gains, decayed: AdaEvolve's G

    @property
    def height(self) -> tuple[bool, float]:
        """The best score; an island without a score is below all others."""
        champion = self.elite.champion
        if champion is None:
            return False, 0.0
        return True, champion.score or 0.0

    def admit(self, trial: Trial) -> None:
        """Add a trial that was made elsewhere, or replace one by its newer record."""
        self.elite.observe(trial)
        self._prompt.observe(trial, self.elite)

    def remove(self, number: int) -> None:
        """Remove a trial, if it is here."""
        self.elite.remove(number)
        self._prompt.remove(number)

    def observe(self, trial: Trial, spread: float) -> None:
        """Add a trial that was made here.

        Args:
            trial: it is new.
            spread: of the best scores of the whole run; gains count relative to it.
        """
        before = self.elite.champion
        self.admit(trial)
        gain = _gain(before, trial, spread)
        self.count += 1
        self.stale += 1
        if gain or before is None:
            self.stale = 0
        self.visits = _DECAY * self.visits + 1
        self._gains = _DECAY * self._gains + gain
        self._signal *= _DECAY
        self._signal += (1 - _DECAY) * gain**2

    def bound(self, flying: int, total_visits: float) -> float:
        """Return the upper confidence bound; a trial in flight counts as one without a gain."""
        plays = self.visits + flying
        mean_gain = 0.0
        if plays > 0:
            mean_gain = self._gains / plays
        total = max(math.e, total_visits)  # so that its logarithm is at least 1
        return ucb1(mean_gain, plays, total, weight=_UCB_WEIGHT, factor=_UCB_FACTOR)

    def pick_parent(self, rng: Random, pending: Sequence[int]) -> Trial:
        """Return the champion, or any trial of the island while exploring."""
        signal = self._signal / _HALFWAY_SIGNAL
        damping = 1 + math.sqrt(signal)
        range_of_shares = _MOST_EXPLORING - _LEAST_EXPLORING
        exploring = _LEAST_EXPLORING + range_of_shares / damping
        candidates = least_pending(list(self.elite), pending)
        if rng.random() < exploring:
            return rng.choice(candidates)
        return candidates[0]

    def plan(self, parent: Trial, hint: str = "") -> Plan:
        """Return a plan that shows trials of this island."""
        return self._prompt.plan(parent, hint)

    def plan_without_scores(self, pending: Sequence[int]) -> Plan:
        """Return the plan of a run in which nothing has a score."""
        return self._prompt.plan_without_scores(pending)


def _gain(
    before: Trial | None,
    trial: Trial,
    spread: float,
) -> float:
    """Return by how much a trial is better than the champion before it, 0 to 1."""
    if before is None or before.score is None or trial.score is None:
        return 0.0
    lead = trial.score - before.score
    if trial.score <= before.score:
        return 0.0
    if spread <= 0:
        return 1.0
    return min(1.0, lead / spread)


class _Grid:
    """Niches by the size of x and by tenths of the ranges that named metrics had so far.

    A range that grows moves trials to other niches; nothing is kept per niche, so nothing breaks.
    """

    def __init__(self, metrics: Sequence[str]) -> None:
        self._metrics = tuple(metrics)
        self._lowest: dict[str, float] = {}
        self._highest: dict[str, float] = {}

    def observe(self, trial: Trial) -> None:
        """Widen the ranges of the metrics."""
        for name in self._metrics:
            value = trial.metrics.get(name, math.nan)
            if math.isfinite(value):
                lowest = self._lowest.get(name, value)
                highest = self._highest.get(name, value)
                self._lowest[name] = min(value, lowest)
                self._highest[name] = max(value, highest)

    def niche(self, trial: Trial) -> Hashable:
        """Return the niche of a trial."""
        size = _size(trial.x) if trial.x is not None else 0
        niche = [int(math.log(size + 1, _SIZE_STEP))]
        for name in self._metrics:
            value = trial.metrics.get(name, math.nan)
            niche.append(self._step(name, value))
        return tuple(niche)

    def _step(self, name: str, value: float) -> int:
        """Return which tenth of its range a metric is in; -1 for a trial that has none."""
        if not math.isfinite(value) or name not in self._lowest:
            return -1
        lowest = self._lowest[name]
        width = self._highest[name] - lowest
        if width <= 0:
            return 0
        step = int(_RANGE_STEPS * (value - lowest) / width)
        return min(_RANGE_STEPS - 1, step)


def _size(x: X) -> int:
    if isinstance(x, str):
        return len(x)
    return sum(len(str(part)) for part in x.values())
