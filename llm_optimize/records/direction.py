"""Direction: whether a higher or a lower score of f is better.

Inside the package a higher score is better, always: searches, proposers and the state of a run
know nothing else. A user who minimizes f sees the scores that f returned. The scores are turned
where they pass from one side to the other, by `Direction.trial` and its like; turning twice
changes nothing. To maximize, both sides are the same, and so are the records.

On the user's side stand f and what is said of its scores (`evaluate`), the stored rows, prompts,
events, rules that end a run, and the `Result`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from ..errors import UnknownName
from .trial import Evaluation, Plan, Trial, rank

__all__ = ["Direction"]


class Direction(StrEnum):
    """Whether to maximize or to minimize f.

    >>> Direction.MINIMIZE.is_better(1.0, 2.0), Direction.MAXIMIZE.is_better(1.0, 2.0)
    (True, False)
    """

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"

    def __repr__(self) -> str:
        return repr(self.value)

    @classmethod
    def named(cls, name: Any) -> Direction:
        """Return the direction of this name. Raises UnknownName, with the nearest, for no name."""
        if name in list(cls):
            return cls(name)
        raise UnknownName("direction", str(name), [one.value for one in cls])

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> Direction:
        """Return the direction of a run by its stored settings; older versions maximized.

        >>> Direction.of_settings({"max_steps": 3})
        'maximize'
        """
        return cls(settings.get("direction", cls.MAXIMIZE))

    # From one side to the other.

    def turned(self, score: float) -> float:
        """Return a score of one side as the other side knows it; never -0.0.

        >>> Direction.MINIMIZE.turned(2.0), Direction.MINIMIZE.turned(0.0)
        (-2.0, 0.0)
        """
        if self is Direction.MAXIMIZE:
            return score
        return 0.0 - score

    def evaluation(self, evaluation: Evaluation) -> Evaluation:
        """Return an evaluation of one side as the other side knows it.

        Its metrics are f's own numbers on both sides.
        """
        if self is Direction.MAXIMIZE:
            return evaluation
        score = evaluation.score
        if score is not None:
            score = self.turned(score)
        instances = {}
        for name, value in evaluation.instances.items():
            instances[name] = self.turned(value)
        scores = tuple(map(self.turned, evaluation.scores))
        return replace(evaluation, score=score, instances=instances, scores=scores)

    def trial(self, trial: Trial) -> Trial:
        """Return a trial of one side as the other side knows it."""
        if self is Direction.MAXIMIZE:
            return trial
        return replace(trial, evaluation=self.evaluation(trial.evaluation))

    def trials(self, trials: Iterable[Trial]) -> tuple[Trial, ...]:
        """Return trials of one side as the other side knows them."""
        return tuple(map(self.trial, trials))

    def plan(self, plan: Plan) -> Plan:
        """Return a plan of one side as the other side knows it."""
        if self is Direction.MAXIMIZE:
            return plan
        parent = plan.parent
        if parent is not None:
            parent = self.trial(parent)
        context, failures = self.trials(plan.context), self.trials(plan.failures)
        return replace(plan, parent=parent, context=context, failures=failures)

    # On the user's side.

    @property
    def worst(self) -> float:
        """A score that is worse than all others.

        >>> Direction.MINIMIZE.worst
        inf
        """
        return self.turned(-math.inf)

    def gain(self, score: float, before: float) -> float:
        """Return by how much a score is better than another; negative where it is worse.

        >>> Direction.MINIMIZE.gain(1.0, before=3.0)
        2.0
        """
        return self.turned(score) - self.turned(before)

    def is_better(self, score: float, than: float) -> bool:
        """Return whether a score is better than another."""
        return self.turned(score) > self.turned(than)

    def reaches(self, score: float, goal: float) -> bool:
        """Return whether a score is as good as the goal, or better."""
        return self.turned(score) >= self.turned(goal)

    def rank(self, trial: Trial) -> tuple[bool, float, int]:
        """Return a sort key: failures lowest, then from the worst score to the best.

        Of equals the earlier is higher.
        """
        is_scored, score, place = rank(trial)
        return is_scored, self.turned(score), place

    def best(self, trials: Iterable[Trial]) -> Trial | None:
        """Return the best trial, the earliest of equals; None where none has a score."""
        scored = [trial for trial in trials if trial.scored]
        return max(scored, key=self.rank, default=None)
