"""Knobs: tuning of declared constants within code, without asking the model.

Whenever a new champion declares knobs in its comments, a classical sampler tries other values. All
state is learned from the observed trials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from ..errors import UsageError
from ..records import Ask, Plan, Proposal, Proposer, Trial, rank
from ..space import Space
from ._knob_comments import Knob, find_knobs, knob_problems, with_values
from .classical import Classical

_PREFIX = "tune:"
_STARTUP = 5  # scored trials before the sampler trusts its model: the champion and four at random


class Tuned:
    """Another proposer, and between its proposals scorings for the knobs of each new champion.

    The tuned x has the champion's number as its parent and `tune:tpe` (or another sampler) as its
    source. The best of them is the new champion, so that its children inherit its values; a
    champion that was found by tuning is not tuned again. With several workers, what was in flight
    when a run was killed is not counted until it is observed: a resumed run may tune that many
    times more.

    Args:
        inner: writes x otherwise.
        n: how many scorings each champion with knobs is worth, 1 or more.
        sampler: chooses the values: one of those of `Classical`.

    Raises:
        UsageError: n is less than 1, or the sampler is not known.
    """

    def __init__(self, inner: Proposer, n: int, sampler: str = "tpe") -> None:
        if n < 1:
            raise UsageError(
                f"tune is {n}: give how many scorings to spend on the knobs of a champion, "
                "1 or more"
            )
        self._inner = inner
        self._most = n
        self._sampler = sampler
        self._source = f"{_PREFIX}{sampler}"
        self._trials: dict[
            int, Trial
        ] = {}  # those with a score, and those that were tuned
        self._champion: Trial | None = None
        self._round: _Round | None = None

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the champion with other values while it is tuned, else an x of the inner one."""
        if self._round is not None and self._round.used < self._most:
            tuned = await self._round.next(ask, rng)
            if tuned is not None:
                return tuned
        proposal = await self._inner.propose(plan, ask, rng)
        problems = [] if proposal.x is None else knob_problems(proposal.x)
        return proposal.with_note("\n".join(filter(None, [proposal.note, *problems])))

    def observe(self, trial: Trial) -> None:
        """Learn from a trial; observed again, it replaces what was known of it."""
        self._inner.observe(trial)
        again = trial.number in self._trials
        is_tuned = trial.source == self._source
        if trial.scored or is_tuned or again:
            self._trials[trial.number] = trial
        running = self._round
        if running is not None and is_tuned and trial.parent == running.root.number:
            running.observe(trial)
        is_better = trial.scored
        if self._champion is not None:
            is_better = trial.scored and rank(trial) > rank(self._champion)
        if again or is_better:
            scored = [other for other in self._trials.values() if other.scored]
            self._set_champion(max(scored, key=rank, default=None))

    def _set_champion(self, champion: Trial | None) -> None:
        """Note the champion, and begin to tune it, or go on.

        The root of the tuning is the champion, or the trial that it was tuned from.
        """
        self._champion = champion
        root = champion
        if champion is not None and champion.source == self._source:
            if champion.parent is not None:
                root = self._trials.get(champion.parent, champion)
        if self._round is not None and root == self._round.root:
            return
        self._round = None
        if root is None or root.x is None:
            return
        knobs = find_knobs(root.x)
        if not knobs:
            return
        self._round = _Round(root, knobs, self._sampler)
        for trial in self._trials.values():
            if trial.source == self._source and trial.parent == root.number:
                self._round.observe(trial)


class _Round:
    """The tuning of one champion."""

    def __init__(self, root: Trial, knobs: Mapping[str, Knob], sampler: str) -> None:
        self.root = root
        self._source = f"{_PREFIX}{sampler}"
        self._names = set(knobs)
        space = Space({name: knob.parameter for name, knob in knobs.items()})
        startup = _STARTUP if sampler in ("tpe", "gp") else None
        self._classical = Classical(space, sampler, startup=startup)
        self._tuned: set[int] = set()
        self._tried = {root.key}
        self._in_flight: list[str] = []
        self._learn(root)

    @property
    def used(self) -> int:
        """How many scorings it has cost so far, with those in flight."""
        return len(self._tuned) + len(self._in_flight)

    def observe(self, trial: Trial) -> None:
        """Learn what became of other values."""
        key = trial.key
        if key in self._in_flight:
            self._in_flight.remove(key)
        self._tried.add(key)
        self._tuned.add(trial.number)
        self._learn(trial)

    async def next(self, ask: Ask, rng: Random) -> Proposal | None:
        """Return the champion's x with values that were not tried; None when none are found."""
        proposal = await self._classical.propose(Plan(self.root), ask, rng)
        if self.root.x is None or not isinstance(proposal.x, dict):
            return None
        x = with_values(self.root.x, proposal.x)
        tuned = Proposal(x, self._source, parent=self.root.number)
        if tuned.key in self._tried or tuned.key in self._in_flight:
            self._classical.drop(proposal.x)
            return None
        self._in_flight.append(tuned.key)
        return tuned

    def _learn(self, trial: Trial) -> None:
        values: dict[str, object] = {}
        for name, knob in find_knobs(trial.x or "").items():
            if name in self._names:
                values[name] = knob.value
        source = trial.source.removeprefix(_PREFIX)
        written = replace(trial.proposal, x=values, source=source)
        self._classical.observe(replace(trial, proposal=written))


__all__ = ["Knob", "Tuned", "find_knobs", "knob_problems", "with_values"]
