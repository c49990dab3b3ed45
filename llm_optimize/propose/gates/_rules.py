"""Rules of gates: they decide who proposes next, from the history and a random generator.

Sources: LLaPipe (arXiv 2507.13712) asks a language model only where learning stagnates. The fixed
mixture of a language model and reinforcement learning, the slope and the names of the options
are those of MAT-HPO.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from ...errors import UnknownName, UsageError
from ._history import History

_SCALES = ("raw", "range")
_BLENDS = ("config", "parameter")
_MIN_POINTS = 3  # of a slope


@dataclass(frozen=True)
class Decision:
    """What a gate decided for one trial, and why; stored with the trial."""

    gate: str  # fixed_alpha | adaptive
    who: str  # model | learner | fallback: the learner in place of a model that failed
    reason: str  # alpha_draw | stagnation | warmup | cooldown | improving | budget | model_failed
    # The random number; the model proposes where it is below alpha.
    u: float | None = None
    alpha: float | None = None
    slope: float | None = None  # of the last scores, per trial
    threshold: float | None = None  # below which the slope must be
    n: int = 0  # complete trials so far
    # Complete trials after the model's last one; None before it.
    since_model: int | None = None

    def __str__(self) -> str:
        numbers = []
        for name in ("u", "alpha", "slope", "threshold", "n"):
            value = getattr(self, name)
            if value is not None:
                numbers.append(f"{name} {value:.4g}")
        listed = ", ".join(numbers)
        return f"{self.gate}, {self.reason} ({listed})"


class Rule(Protocol):
    """How a gate decides."""

    def decide(self, history: History, rng: Random) -> Decision:
        """Return who proposes the next trial, the model or the learner, and why."""


@dataclass(frozen=True)
class FixedAlphaRule:
    """The model proposes where the first number of a trial's random generator is below alpha.

    Args:
        alpha: the model's share of the proposals, 0 to 1.
        blend: "config": one of the two writes all of x. "parameter": both propose, and each
            parameter is the model's with the probability alpha; x is then a dict. The model is
            asked only if it is to write any parameter.
        cooldown: trials for which a model is not asked after it failed three times in a row.

    Raises UsageError, or UnknownName for another blend.
    """

    alpha: float = 0.3
    blend: str = "config"
    cooldown: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(
                f"alpha is {self.alpha}: it is the model's share, give 0 (never) to 1 (always)"
            )
        if self.blend not in _BLENDS:
            raise UnknownName("blend", str(self.blend), _BLENDS)
        if self.cooldown < 0:
            raise UsageError(f"cooldown is {self.cooldown}: give 0 trials or more")

    def decide(self, history: History, rng: Random) -> Decision:
        """Return who proposes by the next random number."""
        u = rng.random()
        who = "learner"
        reason = "alpha_draw"
        if history.model_pauses(self.cooldown):
            reason = "cooldown"
        elif self.blend == "parameter" or u < self.alpha:
            who = "model"
        return Decision(
            "fixed_alpha",
            who,
            reason,
            u=u,
            alpha=self.alpha,
            n=len(history.scores),
            since_model=history.since_model,
        )


@dataclass(frozen=True)
class AdaptiveRule:
    """The model proposes when the slope of the last scores falls below the threshold.

    Only complete trials with a finite score count, of all proposers. The slope is that of a
    least-squares line through the last scores over consecutive indices. While a proposal of the
    model is in flight, the model is not asked.

    Args:
        threshold: the slope, in score per trial, below which the model is asked; a higher one
            asks it more often.
        window: how many of the last scores make up the slope; at least 3.
        min_trials: complete trials before the model is asked for the first time.
        cooldown: complete trials after the model's last one before it is asked again; and trials
            for which it is not asked after it failed three times in a row.
        slope_scale: "raw", or "range": the slope is divided by the highest minus the lowest
            score so far, for scores that are not in [0, 1]; it is 0 where all are equal.
        max_model_fraction: limit of the model's share of the proposed trials, 0 to 1; None for
            no limit.
        max_model_trials: limit of the model's trials; None for no limit.

    Raises UsageError, or UnknownName for another slope_scale.
    """

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
                f"threshold is {self.threshold}: give a slope, in score per trial"
            )
        if self.window < _MIN_POINTS:
            raise UsageError(
                f"window is {self.window}: a slope needs at least {_MIN_POINTS} trials"
            )
        for name in ("min_trials", "cooldown", "max_model_trials"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} is {value}: give 0 trials or more")
        if self.slope_scale not in _SCALES:
            raise UnknownName("slope_scale", str(self.slope_scale), _SCALES)
        fraction = self.max_model_fraction
        if fraction is not None and not 0 <= fraction <= 1:
            raise UsageError(
                f"max_model_fraction is {fraction}: give 0 (never) to 1 (no limit)"
            )

    def decide(self, history: History, rng: Random) -> Decision:
        """Return who proposes by the slope of the last scores; nothing is drawn at random."""
        slope = self._slope(history)
        reason = self._reason(history, slope)
        return Decision(
            "adaptive",
            "model" if reason == "stagnation" else "learner",
            reason,
            slope=slope,
            threshold=self.threshold,
            n=len(history.scores),
            since_model=history.since_model,
        )

    def _reason(self, history: History, slope: float | None) -> str:
        if slope is None or len(history.scores) < self.min_trials:
            return "warmup"
        since_model = 0 if history.in_flight else history.since_model
        if since_model is not None and since_model < self.cooldown:
            return "cooldown"
        if history.model_pauses(self.cooldown):
            return "cooldown"
        if slope >= self.threshold:
            return "improving"
        return "budget" if self._quota_is_used(history) else "stagnation"

    def _quota_is_used(self, history: History) -> bool:
        """Return whether one more proposal of the model would exceed a limit."""
        asked = history.by_model + history.in_flight
        if self.max_model_trials is not None and asked >= self.max_model_trials:
            return True
        if self.max_model_fraction is None:
            return False
        proposed = history.proposed + history.in_flight + 1
        return asked + 1 > self.max_model_fraction * proposed

    def _slope(self, history: History) -> float | None:
        """Return the slope of the window; None where it has too few points."""
        last = history.scores[-self.window :]
        slope = slope_of(last)
        if slope is None or self.slope_scale == "raw":
            return slope
        if history.highest == history.lowest:
            return 0.0
        return slope / (history.highest - history.lowest)


def slope_of(scores: Sequence[float]) -> float | None:
    """Return the slope of the least-squares line over the indices; None for under three scores.

    >>> slope_of([1.0, 3.0, 5.0, 7.0])
    2.0
    """
    if len(scores) < _MIN_POINTS:
        return None
    middle = (len(scores) - 1) / 2
    mean = sum(scores) / len(scores)
    covariance = 0.0
    variance = 0.0
    for i, score in enumerate(scores):
        covariance += (i - middle) * (score - mean)
        variance += (i - middle) ** 2
    return covariance / variance
