"""Several populations that exchange trials, each as bold as it does badly: as in AdaEvolve (arXiv 2602.20133)."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..errors import UsageError
from ..records import Plan, Trial
from . import _hints
from ._board import BATCH
from ._checks import whole
from ._elite import Elite
from ._island import Grid, Island, Shape

_KEPT = 50  # best trials of all islands together
_CURIOSITY = 0.1  # of the bandit: gains are mostly below a tenth of the spread


class Islands:
    """Populations with a grid of niches in each; those that improve get more trials, those that do not explore more.

    A child lives where its parent lives; children of the first x go where the fewest are. Every `migrate_every` trials
    of an island, its second best moves to the next one in the ring. When all islands are stale, a new one is founded on
    a good trial that is far from the champion, and the first plan for it asks for a different kind of idea.

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
        """Take the number of islands and what lives on them.

        Args:
            islands: populations at the start, from 1.
            max_islands: populations at the most; a further one takes the place of the weakest.
            population: trials of an island, from 2; the best of each niche stays longer than others.
            metrics: names of `Trial.metrics` that make niches, besides the size of x.
            migrate_every: trials of an island between two that move on, from 1.
            patience: trials of an island without progress until it is stale, from 1.
            shown: trials to show, from 1; up to 5 more for a while.
            failures: failed trials to remember in a line each, from 1; up to 9 more until a batch of 10 trials ends.

        Raises UsageError for a value out of these ranges.
        """
        count = whole("islands", "islands", islands, 1)
        if whole("islands", "max_islands", max_islands, 1) < count:
            raise UsageError(
                f"islands: max_islands is {max_islands}, it must be at least islands, {count}"
            )
        self._max_islands = max_islands
        self._migrate_every = whole("islands", "migrate_every", migrate_every, 1)
        self._patience = whole("islands", "patience", patience, 1)
        self._grid = Grid([metrics] if isinstance(metrics, str) else metrics)
        self._shape = Shape(
            whole("islands", "population", population, 2),
            whole("islands", "shown", shown, 1),
            whole("islands", "failures", failures, 1),
            self._grid.niche,
        )
        self._islands = [Island(number, self._shape) for number in range(count)]
        self._founded = count
        self._homes: dict[
            int, int
        ] = {}  # number of a trial -> number of its island; the first x are everybody's
        self._all = Elite(_KEPT)
        self._guided: int | None = (
            None  # the founder of a new island whose first child is still to come
        )

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan for the island that earns it."""
        if not len(self._all):
            return self._islands[0].repair(pending)
        founder = self._all.get(self._guided)
        if founder is not None and founder.number not in pending:
            return self._home_of(founder).plan(founder, _hints.NEW_KIND)
        island = self._earning(pending)
        return island.plan(island.parent(rng, pending), "")

    def _earning(self, pending: Sequence[int]) -> Island:
        flying = [self._homes.get(number) for number in pending]
        visits = sum(island.visits for island in self._islands) + len(pending)
        lived_in = [island for island in self._islands if len(island.elite)]
        return max(
            lived_in,
            key=lambda one: one.worth(flying.count(one.number), visits, _CURIOSITY),
        )

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, or what is new of one."""
        self._grid.observe(trial)
        self._all.observe(trial)
        if trial.parent is None:
            for island in self._islands:
                island.settle(trial)
        elif trial.number in self._homes:
            self._settle_again(trial)
        else:
            self._receive(trial)

    def _settle_again(self, trial: Trial) -> None:
        """Replace what is known of a trial, in its home; where that is no more, it gets another."""
        home = self._home_of(trial)
        self._homes[trial.number] = home.number
        for island in self._islands:
            if island is not home:
                island.leave(trial.number)
        home.settle(trial)

    def _receive(self, trial: Trial) -> None:
        """Let a new trial live where its parent lives."""
        island = self._island(
            self._homes.get(trial.parent if trial.parent is not None else -1)
        )
        self._homes[trial.number] = island.number
        island.observe(trial, self._all.spread)
        if trial.parent == self._guided:
            self._guided = None
        if island.told % self._migrate_every == 0:
            self._migrate(island)
        if all(one.stale >= self._patience for one in self._islands):
            self._found()

    def _home_of(self, trial: Trial) -> Island:
        return self._island(self._homes.get(trial.number))

    def _island(self, number: int | None) -> Island:
        """Return an island by its number; where it is no more, or nobody's home, the one with the fewest trials."""
        known = next(
            (island for island in self._islands if island.number == number), None
        )
        return known or min(self._islands, key=lambda island: island.told)

    def _migrate(self, island: Island) -> None:
        """Move the second best of an island to the next one; its champion stays."""
        second = next(
            (one for one in island.elite.top(2)[1:] if one.number in self._homes), None
        )
        if second is not None and len(self._islands) > 1:
            place = (self._islands.index(island) + 1) % len(self._islands)
            self._move(second, island, self._islands[place])

    def _move(self, trial: Trial, old: Island, new: Island) -> None:
        old.leave(trial.number)
        new.settle(trial)
        self._homes[trial.number] = new.number

    def _found(self) -> None:
        """Found an island on a good trial that is far from the champion."""
        for island in self._islands:
            island.stale = 0
        champion = self._all.champion
        candidates = [
            one
            for one in self._all.various(BATCH, 1.0)[1:]
            if one.number in self._homes
        ]
        if champion is None or not candidates:
            return
        founder = candidates[0]
        if len(self._islands) >= self._max_islands:
            self._islands.remove(min(self._weaker(champion, founder), key=_height))
        island = Island(self._founded, self._shape)
        self._founded += 1
        self._islands.append(island)
        self._move(founder, self._home_of(founder), island)
        self._guided = founder.number

    def _weaker(self, *kept: Trial) -> list[Island]:
        """Return the islands that hold none of these, or all where each holds one."""
        homes = {self._homes.get(trial.number) for trial in kept}
        return [
            island for island in self._islands if island.number not in homes
        ] or self._islands


def _height(island: Island) -> tuple[bool, float]:
    """Return how high the best of an island scores; one without any is the lowest."""
    champion = island.elite.champion
    return (champion is not None, champion.score or 0.0 if champion else 0.0)
