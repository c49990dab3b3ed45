"""The gate that asks the model when the scores stop rising."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypedDict, Unpack

from ...errors import UnknownName, UsageError
from ...records import Ask, Plan, Proposal, Proposer, Trial
from ._gate import Decision, Gate

_SCALES = ("raw", "range")
_POINTS = 3  # of a slope, at least


class Quota(TypedDict, total=False):
    """The further options of `Adaptive`."""

    slope_scale: str
    max_model_fraction: float | None
    max_model_trials: int | None


@dataclass(frozen=True)
class AdaptiveRule:
    """The options of `Adaptive`. Raises UsageError for one that cannot be."""

    threshold: float = 0.01
    window: int = 10
    min_trials: int = 5
    cooldown: int = 5
    slope_scale: str = "raw"
    max_model_fraction: float | None = None
    max_model_trials: int | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.threshold):
            raise UsageError(
                f"threshold is {self.threshold}: give a slope, in score a trial"
            )
        if self.window < _POINTS:
            raise UsageError(
                f"window is {self.window}: a slope needs at least {_POINTS} trials"
            )
        for name in ("min_trials", "cooldown", "max_model_trials"):
            if (getattr(self, name) or 0) < 0:
                raise UsageError(
                    f"{name} is {getattr(self, name)}: give 0 trials or more"
                )
        if self.slope_scale not in _SCALES:
            raise UnknownName("slope_scale", str(self.slope_scale), _SCALES)
        if (
            self.max_model_fraction is not None
            and not 0 <= self.max_model_fraction <= 1
        ):
            raise UsageError(
                f"max_model_fraction is {self.max_model_fraction}: give 0 (never) to 1 (no limit)"
            )


class Adaptive(Gate):
    """Lets the model propose when the slope of the last scores falls below the threshold.

    Only complete trials with a finite score count, whoever proposed them. The slope is that of a least-squares line
    through the last scores over consecutive indices. A model's trial that is still in flight shuts the gate as well.

    Args:
        model: asked on a plateau.
        other: asked otherwise, and where the model fails.
        threshold: the slope, in score a trial, below which the model is asked; a higher one asks it more often.
        window: how many of the last scores make up the slope; at least 3.
        min_trials: complete trials before the model is asked for the first time.
        cooldown: complete trials after one of the model in which the gate stays shut; and trials for which a model is
            left alone that failed three times in a row.
        slope_scale: "raw", or "range": the slope is divided by the highest less the lowest score so far, for scores
            that are not in [0, 1]; it is 0 where all are equal.
        max_model_fraction: of the proposed trials that may be the model's; None for no limit.
        max_model_trials: how many trials may be the model's; None for no limit.

    Raises UsageError, or UnknownName for another slope_scale.

    Sources: LLaPipe (arXiv 2507.13712) asks a language model only where learning stagnates; the adaptive strategy of
    MAT-HPO does it by the slope.
    """

    def __init__(
        self,
        model: Proposer,
        other: Proposer,
        threshold: float = 0.01,
        window: int = 10,
        min_trials: int = 5,
        cooldown: int = 5,
        **quota: Unpack[Quota],
    ) -> None:
        self._rule = AdaptiveRule(threshold, window, min_trials, cooldown, **quota)
        self._flying = 0  # proposals of the model whose trials are not told yet
        super().__init__(model, other, rest=cooldown)

    def decide(self, rng: Random) -> Decision:
        """Return who proposes by the trials so far; no dice are thrown."""
        books, slope = self.ledger, self._slope()
        reason = self._reason(slope)
        who = "model" if reason == "stagnation" else "learner"
        return Decision(
            "adaptive",
            who,
            reason,
            slope=slope,
            threshold=self._rule.threshold,
            n=len(books.scores),
            since_model=books.since_model,
        )

    def _reason(self, slope: float | None) -> str:
        if slope is None or len(self.ledger.scores) < self._rule.min_trials:
            return "warmup"
        if self._cooling() or self.resting:
            return "cooldown"
        if not slope < self._rule.threshold:
            return "improving"
        return "budget" if self._quota_spent() else "stagnation"

    def _cooling(self) -> bool:
        """Whether the last trial of the model is too near: in flight, or followed by too few complete ones."""
        since = 0 if self._flying else self.ledger.since_model
        return since is not None and since < self._rule.cooldown

    def _quota_spent(self) -> bool:
        rule, books = self._rule, self.ledger
        asked = books.by_model + self._flying
        if rule.max_model_trials is not None and asked >= rule.max_model_trials:
            return True
        share = rule.max_model_fraction
        return share is not None and asked + 1 > share * (
            books.proposed + self._flying + 1
        )

    def _slope(self) -> float | None:
        """Return the slope of the window; None where it holds too few points."""
        books = self.ledger
        slope = slope_of(books.scores[-self._rule.window :])
        if slope is None or self._rule.slope_scale == "raw":
            return slope
        return slope / (books.high - books.low) if books.high > books.low else 0.0

    async def with_model(
        self, decision: Decision, plan: Plan, ask: Ask, rng: Random
    ) -> Proposal:
        """Return the model's x, or the other's where the model has none; the gate is shut meanwhile."""
        self._flying += 1
        try:
            return await super().with_model(decision, plan, ask, rng)
        except BaseException:
            self._flying -= 1
            raise

    def finished(self, trial: Trial) -> None:
        """Learn that a trial is finished for the first time."""
        if trial.decision.get("who") in ("model", "fallback", None):
            self._flying = max(0, self._flying - 1)


def slope_of(scores: Sequence[float]) -> float | None:
    """Return the slope of the least-squares line over consecutive indices; None for fewer than three scores.

    >>> slope_of([1.0, 3.0, 5.0, 7.0])
    2.0
    """
    if len(scores) < _POINTS:
        return None
    middle, mean = (len(scores) - 1) / 2, sum(scores) / len(scores)
    moved = sum((place - middle) * (score - mean) for place, score in enumerate(scores))
    return moved / sum((place - middle) ** 2 for place in range(len(scores)))
