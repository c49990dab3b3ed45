"""Policy gradient learner: it draws each parameter independently, and moves toward high scores.

It learns from the second finished trial on: from its own trials what to do and what to avoid,
from those of others only what is better than the average. Its state is a function of the
observed trials, in their order; randomness comes from outside.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import TYPE_CHECKING, TypeAlias

from ..errors import UnknownName, UsageError
from ..records import Ask, Plan, Proposal, Status, Trial
from ..space import Space
from ._policy import Coordinates, Point, Policy, numpy
from ._shapley import shapley_shares

if TYPE_CHECKING:
    from ._policy import Floats

SOURCE = "policy_gradient"
_MAX_ADVANTAGE = 2.0  # standard deviations: one lucky trial does not decide
_REPLAY_WEIGHT = 0.3  # of the step toward the best x so far, after each trial
_ATTEMPTS = 20  # to draw an x that was not tried
_MEMORY = 300  # trials whose points are kept


@dataclass(frozen=True)
class Group:
    """Parameters that learn together: an agent.

    Args:
        parameters: their names.
        step: factor to all of its step sizes; 1 suits most spaces.
        window: how many of the last trials that had one of its parameters make up its baseline,
            2 to 300.

    Raises UsageError for numbers that are not possible.
    """

    parameters: Sequence[str]
    step: float = 1.0
    window: int = 20

    def __post_init__(self) -> None:
        if isinstance(self.parameters, str) or not self.parameters:
            raise UsageError(
                f"the parameters of a group are {self.parameters!r}: "
                "give a list of at least one name"
            )
        step_fits = 0 < self.step < math.inf
        window_fits = 2 <= self.window <= _MEMORY
        if not step_fits or not window_fits:
            raise UsageError(
                f"a group has step {self.step}, window {self.window}: "
                f"give above 0, and 2 to {_MEMORY}"
            )


# By name; a list is a Group of it.
Groups: TypeAlias = Mapping[str, Group | Sequence[str]]


@dataclass(frozen=True)
class _Observed:
    """What is kept of a finished trial."""

    number: int
    point: Point
    score: float | None  # None: it failed


class PolicyGradient:
    """Proposes parameters by policy gradient ascent on independent distributions.

    A number has a Gaussian in the logit of its range; a choice has a softmax, with a tenth of
    uniform draws mixed in.

    1. Draw x. Its advantage is its score minus the mean of the last trials, in their standard
       deviations, at most 2. A failed trial counts as the worst score so far.
    2. Step along the gradient of log p(x), times the advantage (R. J. Williams, Machine Learning
       8, 1992).
    3. Step toward the best x so far, with the weight 0.3 (J. Oh and others, "Self-Imitation
       Learning", arXiv 1806.05635: only a positive advantage counts, equation 2).

    Args:
        space: the parameters.
        groups: parameters that share a baseline and a step size, by the name of the group; each
            parameter in exactly one. None makes each parameter a group of its own.

    Raises:
        MissingExtra: numpy is not installed.
        UnknownName: a group names an unknown parameter.
        UsageError: a parameter is in no group, or in two.

    >>> import asyncio
    >>> from llm_optimize.space import Float
    >>> learner = PolicyGradient(Space({"a": Float(0, 1)}))
    >>> async def search():
    ...     for number in range(60):
    ...         x = (await learner.propose(Plan(None), None, Random(number))).x
    ...         score = -abs(x["a"] - 0.2)
    ...         trial = Trial.of(number, x, Status.COMPLETE, "policy_gradient", score=score)
    ...         learner.observe(trial)
    ...     return x["a"]
    >>> abs(asyncio.run(search()) - 0.2) < 0.1
    True
    """

    def __init__(
        self,
        space: Space,
        groups: Groups | None = None,
    ) -> None:
        self._space = Coordinates(space)
        self._policy = Policy(self._space.sizes)
        self._groups = _partition(self._space.names, groups)
        self._indices: dict[str, list[int]] = {}  # of the parameters of each group
        self._latest: dict[
            str, deque[int]
        ] = {}  # numbers of the trials of its baseline
        for name, group in self._groups.items():
            index_of = self._space.names.index
            self._indices[name] = [index_of(p) for p in group.parameters]
            self._latest[name] = deque(maxlen=group.window)
        self._observed: dict[int, _Observed] = {}  # the last ones, and the best
        self._best: _Observed | None = None
        self._worst: float | None = None
        self._climbed: set[int] = set()  # numbers of trials
        self._tried: set[str] = set()  # keys of x

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return a random x, an untried one where one is found; plan and model are ignored."""
        for _ in range(_ATTEMPTS):
            point = self._policy.draw(rng)
            proposal = Proposal(self._space.x(point), SOURCE)
            if proposal.key not in self._tried:
                break
        return proposal

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; a second observation only replaces its score."""
        if trial.status in (Status.DUPLICATE, Status.PENDING):
            return
        if not isinstance(trial.x, dict):
            return
        self._tried.add(trial.key)
        point = self._space.point(trial.x)
        observed = _Observed(trial.number, point, trial.score)
        self._remember(observed)
        if trial.number not in self._climbed:
            self._climbed.add(trial.number)
            self._learn(observed, own=trial.source == SOURCE)

    def _remember(self, observed: _Observed) -> None:
        self._observed[observed.number] = observed
        score = observed.score
        if score is not None and (self._worst is None or score < self._worst):
            self._worst = score
        best = None
        for other in self._observed.values():
            if other.score is None:
                continue
            rank = (other.score, -other.number)  # of equal scores, the earliest is best
            if best is None or rank > best:
                best, self._best = rank, other
        if best is None:
            self._best = None
        if len(self._observed) > _MEMORY:
            for number, other in self._observed.items():
                if other is not self._best:
                    del self._observed[number]
                    break

    def _learn(self, observed: _Observed, *, own: bool) -> None:
        for name, indices in self._indices.items():
            if observed.point.present[indices].any():
                self._latest[name].append(observed.number)
        score = self._score_of(observed)
        if score is None or len(self._observed) < 2:
            return
        advantages = self._advantages(score)
        if not own:
            advantages = advantages.clip(min=0.0)
        self._policy.climb(observed.point, advantages)
        best = self._best
        if best is None or best.score is None or best is observed:
            return
        advantages = self._advantages(best.score)
        weighted = _REPLAY_WEIGHT * advantages.clip(min=0.0)
        self._policy.climb(best.point, weighted)

    def _score_of(self, observed: _Observed) -> float | None:
        """Return its score, for a failed trial the worst one so far; None before any score."""
        return self._worst if observed.score is None else observed.score

    def _advantages(self, score: float) -> Floats:
        """Return the advantage of a score for each parameter, times the step of its group."""
        length = len(self._space.names)
        advantages: Floats = numpy().zeros(length)
        for name, group in self._groups.items():
            baseline = []
            for number in self._latest[name]:
                if number in self._observed:
                    known = self._score_of(self._observed[number])
                    if known is not None:
                        baseline.append(known)
            advantage = _advantage(score, baseline)
            advantages[self._indices[name]] = group.step * advantage
        return advantages

    def contributions(self, orders: int = 200) -> dict[str, float]:
        """Return each group's share in the expected improvement; the shares sum to 1.

        These are Shapley values (L. S. Shapley, "A Value for n-Person Games", 1953), on a smooth
        fit to the observed scores. One group after the other, in random orders, moves from what
        was drawn at the start to what would be drawn now, and is credited with what its move
        changes, averaged over the orders. A group that lowers the score has 0. Where nothing is
        learned yet, or nothing improved, all shares are equal.

        Args:
            orders: how many random orders; the error of a share falls with its root.

        Raises UsageError for less than one order.
        """
        if orders < 1:
            raise UsageError(f"contributions: orders is {orders}, give at least 1")
        known = []
        for observed in self._observed.values():
            score = self._score_of(observed)
            if score is not None:
                known.append((observed.point, score))
        start = Policy(self._space.sizes)
        return shapley_shares(
            known,
            draw_before=start.draw,
            draw_after=self._policy.draw,
            to_legal=lambda point: self._space.point(self._space.x(point)),
            groups=self._indices,
            orders=orders,
        )


def _advantage(score: float, baseline: Sequence[float]) -> float:
    """Return the clipped distance from the mean in standard deviations; 0 if all are equal.

    The scores are divided by the largest one, so that no sum or square overflows.
    """
    largest = max(map(abs, baseline), default=0.0)
    if largest == 0:
        return 0.0
    scaled = [one / largest for one in baseline]
    mean = fmean(scaled)
    squares = [(one - mean) ** 2 for one in scaled]
    spread = math.sqrt(fmean(squares))
    if spread == 0:
        return 0.0
    advantage = (score / largest - mean) / spread
    return min(max(advantage, -_MAX_ADVANTAGE), _MAX_ADVANTAGE)


def _partition(
    names: Sequence[str],
    groups: Groups | None,
) -> dict[str, Group]:
    """Return the groups as records. Raises UnknownName or UsageError unless they partition."""
    if groups is None:
        return {name: Group([name]) for name in names}
    records = {}
    placed: list[str] = []
    for name, group in groups.items():
        record = group if isinstance(group, Group) else Group(group)
        records[name] = record
        placed += record.parameters
    for parameter in placed:
        if parameter not in names:
            raise UnknownName("parameter in a group", parameter, names)
    wrong = [name for name in names if placed.count(name) != 1]
    if wrong:
        raise UsageError(
            f"{', '.join(wrong)} must be in exactly one group: put each parameter into one group"
        )
    return records


__all__ = ["Group", "PolicyGradient"]
