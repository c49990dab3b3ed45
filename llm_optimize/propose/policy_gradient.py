"""A small learner for spaces: it draws each parameter by itself, and moves towards what scored above the average.

It learns from the second finished trial on, whoever proposed it: from its own trials what to do and what to avoid, from
those of others only what is better than the average. All that it knows is a function of the trials that it was told, in
their order; the dice come from outside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING

from ..errors import UnknownName, UsageError
from ..records import Ask, Plan, Proposal, Status, Trial
from ..space import Space
from ._policy import Coordinates, Point, Policy, numpy
from ._shapley import shares

if TYPE_CHECKING:
    from ._policy import Floats

SOURCE = "policy_gradient"
_CLIP = 2.0  # standard deviations: one lucky trial does not decide
_REPLAY = 0.3  # weight of the best x so far, which is climbed again after each trial
_ATTEMPTS = 20  # to draw an x that was not tried
_MEMORY = 300  # trials whose points are kept


@dataclass(frozen=True)
class Group:
    """Parameters that learn together: an agent.

    Args:
        parameters: their names.
        step: a factor to the sizes of all its steps; 1 is what suits most spaces.
        window: how many of the last trials that had one of its parameters make up its baseline, 2 to 300.

    Raises UsageError for numbers that cannot be.
    """

    parameters: Sequence[str]
    step: float = 1.0
    window: int = 20

    def __post_init__(self) -> None:
        if isinstance(self.parameters, str) or not self.parameters:
            raise UsageError(
                f"the parameters of a group are {self.parameters!r}: give a list of at least one name"
            )
        if not (0 < self.step < math.inf) or not 2 <= self.window <= _MEMORY:
            raise UsageError(
                f"a group has step {self.step}, window {self.window}: give above 0, and 2 to {_MEMORY}"
            )


@dataclass(frozen=True)
class _Told:
    """What is kept of a finished trial."""

    number: int
    point: Point
    score: float | None  # None: it failed


class PolicyGradient:
    """Proposes parameters by score function ascent on independent factors.

    A number has a Gaussian in the logit of its range, options have a softmax with a tenth of uniform draws mixed in.
    The advantage of a trial is its distance from the mean of the last trials in their standard deviations; a failed
    trial counts as the worst score so far. After each trial a part of a step goes to the best x so far.

    Sources: R. J. Williams, Machine Learning 8 (1992), for the ascent; J. Oh and others, Self-Imitation Learning
    (arXiv 1806.05635), for the step to the best.

    Args:
        space: the parameters.
        groups: parameters that share a baseline and a step size, by the name of the group; each parameter in exactly
            one. None makes each parameter a group of its own.

    Raises:
        MissingExtra: numpy is not installed.
        UnknownName: a group names a parameter that there is not.
        UsageError: a parameter is in no group, or in two.

    >>> import asyncio
    >>> from llm_optimize.space import Float
    >>> learner = PolicyGradient(Space({"a": Float(0, 1)}))
    >>> async def search():
    ...     for number in range(60):
    ...         x = (await learner.propose(Plan(None), None, Random(number))).x
    ...         learner.observe(Trial.of(number, x, Status.COMPLETE, "policy_gradient", score=-abs(x["a"] - 0.2)))
    ...     return x["a"]
    >>> abs(asyncio.run(search()) - 0.2) < 0.1
    True
    """

    def __init__(
        self, space: Space, groups: Mapping[str, Group | Sequence[str]] | None = None
    ) -> None:
        self._space = Coordinates(space)
        self._policy = Policy(self._space.sizes)
        self._groups = _partition(self._space.names, groups)
        self._places = {
            name: [self._space.names.index(parameter) for parameter in group.parameters]
            for name, group in self._groups.items()
        }
        self._latest = {
            name: deque[int](maxlen=group.window)
            for name, group in self._groups.items()
        }
        self._told: dict[int, _Told] = {}  # the last ones, and the best
        self._best: _Told | None = None
        self._worst: float | None = None
        self._climbed: set[int] = set()  # numbers of trials
        self._tried: set[str] = set()  # keys of x

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return an x drawn from what was learnt, untried where one is found; neither plan nor model is asked."""
        for _ in range(_ATTEMPTS):
            x = self._space.x(self._policy.draw(rng))
            proposal = Proposal(x, SOURCE)
            if proposal.key not in self._tried:
                break
        return proposal

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial. One that is told again replaces its score and is not climbed twice."""
        if not isinstance(trial.x, dict) or trial.status in (
            Status.DUPLICATE,
            Status.PENDING,
        ):
            return
        self._tried.add(trial.key)
        told = _Told(trial.number, self._space.point(trial.x), trial.score)
        self._remember(told)
        if trial.number not in self._climbed:
            self._climbed.add(trial.number)
            self._learn(told, own=trial.source == SOURCE)

    def _remember(self, told: _Told) -> None:
        self._told[told.number] = told
        if told.score is not None:
            self._worst = (
                told.score if self._worst is None else min(self._worst, told.score)
            )
        scored = [other for other in self._told.values() if other.score is not None]
        self._best = max(
            scored, key=lambda other: (other.score, -other.number), default=None
        )
        if len(self._told) > _MEMORY:
            del self._told[
                next(
                    number
                    for number, other in self._told.items()
                    if other is not self._best
                )
            ]

    def _learn(self, told: _Told, *, own: bool) -> None:
        for name, places in self._places.items():
            if told.point.present[places].any():
                self._latest[name].append(told.number)
        score = self._worst if told.score is None else told.score
        if score is None or len(self._told) < 2:
            return
        advantages = self._advantages(score)
        self._policy.climb(told.point, advantages if own else advantages.clip(min=0.0))
        best = self._best
        if best is not None and best.score is not None and best is not told:
            self._policy.climb(
                best.point, _REPLAY * self._advantages(best.score).clip(min=0.0)
            )

    def _advantages(self, score: float) -> Floats:
        """Return for each parameter how far a score is above the baseline of its group, times the group's step."""
        found: Floats = numpy().zeros(len(self._space.names))
        for name, group in self._groups.items():
            latest = [
                self._told[number].score
                for number in self._latest[name]
                if number in self._told
            ]
            baseline = [
                worst
                for worst in (self._worst if one is None else one for one in latest)
                if worst is not None
            ]
            found[self._places[name]] = group.step * _advantage(score, baseline)
        return found

    def contributions(self, orders: int = 200) -> dict[str, float]:
        """Return each group's share in the improvement that is expected of what was learnt; they sum to 1.

        It compares what would be drawn now with what was drawn at the start, by a smooth fit to the told scores: groups
        go over from the start to now in random orders, and each is credited with what its step changes, in the mean
        over the orders (L. S. Shapley, A value for n-person games, 1953). A group that makes it worse has 0. Where
        nothing is learnt yet, or nothing improved, all shares are equal.

        Args:
            orders: how many random orders; the error of a share falls with its root.

        Raises UsageError for less than one order.
        """
        if orders < 1:
            raise UsageError(f"contributions: orders is {orders}, give at least 1")
        start = Policy(self._space.sizes)
        told = [
            (t.point, self._worst if t.score is None else t.score)
            for t in self._told.values()
        ]
        known = [(point, score) for point, score in told if score is not None]
        return shares(
            known, (start.draw, self._policy.draw), self._legal, self._places, orders
        )

    def _legal(self, point: Point) -> Point:
        return self._space.point(self._space.x(point))


def _advantage(score: float, baseline: Sequence[float]) -> float:
    """Return how far the score is above the mean, in standard deviations, clipped; 0 where all are equal."""
    size = max(map(abs, baseline), default=0.0)
    shares = (
        [one / size for one in baseline] if size else [0.0]
    )  # so that no sum of them is too large for a float
    mean = fmean(shares)
    spread = math.sqrt(fmean([(one - mean) ** 2 for one in shares]))
    return (
        min(max((score / size - mean) / spread, -_CLIP), _CLIP) if spread > 0 else 0.0
    )


def _partition(
    names: Sequence[str], groups: Mapping[str, Group | Sequence[str]] | None
) -> dict[str, Group]:
    """Return the groups as records. Raises UnknownName or UsageError where they are no partition of the names."""
    if groups is None:
        return {name: Group([name]) for name in names}
    found = {
        name: group if isinstance(group, Group) else Group(group)
        for name, group in groups.items()
    }
    placed = [parameter for group in found.values() for parameter in group.parameters]
    for parameter in placed:
        if parameter not in names:
            raise UnknownName("parameter in a group", parameter, names)
    wrong = [name for name in names if placed.count(name) != 1]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} must be in exactly one group: write groups that share out all parameters"
        )
    return found


__all__ = ["Group", "PolicyGradient"]
