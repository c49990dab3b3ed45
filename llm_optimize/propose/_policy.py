"""One factor a parameter, in numpy: a Gaussian in the logit of the unit interval, or a softmax over the options.

A point of the space is written as `Point`: one number and one index for each parameter, of which one counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra, UsageError
from ..space import Choice, Float, Int, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_EDGE = 1e-3  # of the unit interval: its ends lie at infinity in the logit
_START_SD = 1.5  # in the logit: nearly uniform on the unit interval
_LOW_SD, _HIGH_SD = 0.05, 2.5
_UNIFORM_SHARE = 0.1  # of the draws of an option, so that none dies out
_MEAN_STEP, _LOG_SD_STEP, _LOGIT_STEP = (
    0.3,
    0.05,
    0.6,
)  # for an advantage of one standard deviation
_FAR = 3.0  # standard deviations, beyond which a point pulls no harder
_ABSENT = -1


def numpy() -> Any:
    """Return the module. Raises MissingExtra where it is not installed."""
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtra(
            "the proposer policy_gradient needs numpy: pip install 'llm_optimize[classical]'"
        ) from error
    return np


@dataclass(frozen=True)
class Point:
    """Where an x is in the space; both arrays have one place for each parameter."""

    logits: Floats  # of the position of a number in its range; NaN for an option or an absent parameter
    options: Ints  # the index of an option; -1 for a number or an absent parameter

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which parameters the x has."""
        given: NDArray[np.bool_] = (self.options != _ABSENT) | (
            self.logits == self.logits
        )  # NaN is not itself
        return given


class Coordinates:
    """Translates between the x of a space and its points."""

    def __init__(self, space: Space) -> None:
        """Take the space."""
        self._space = space
        self.names = list(space.parameters)
        self.parameters = list(space.parameters.values())
        self.sizes = [
            len(p.options) if isinstance(p, Choice) else 0 for p in self.parameters
        ]

    def point(self, x: Mapping[str, Any]) -> Point:
        """Return where x is; a value that its parameter does not know counts as absent."""
        np = numpy()
        logits, options = (
            np.full(len(self.names), math.nan),
            np.full(len(self.names), _ABSENT),
        )
        for place, (name, parameter) in enumerate(
            zip(self.names, self.parameters, strict=True)
        ):
            if name not in x:
                continue
            try:
                if isinstance(parameter, Choice):
                    options[place] = _index(parameter, x[name])
                else:
                    logits[place] = _logit(_share(parameter, parameter.check(x[name])))
            except UsageError:
                continue
        return Point(logits, options)

    def x(self, point: Point) -> dict[str, Any]:
        """Return the x that is there."""
        found: dict[str, Any] = {}
        for place, (name, parameter) in enumerate(
            zip(self.names, self.parameters, strict=True)
        ):
            if isinstance(parameter, Choice):
                found[name] = parameter.options[point.options[place]]
            else:
                found[name] = _number(
                    parameter, 1 / (1 + math.exp(-point.logits[place]))
                )
        return self._space.check(found)


class Policy:
    """Where the next points are drawn, each parameter by itself, and how that moves."""

    def __init__(self, sizes: list[int]) -> None:
        """Take the number of options of each parameter; 0 for a number."""
        np = numpy()
        self._sizes = np.array(sizes)
        self._mean = np.zeros(len(sizes))
        self._log_sd = np.full(len(sizes), math.log(_START_SD))
        self._is_option = (
            np.arange(max(sizes)) < self._sizes[:, None]
        )  # parameters x options
        self._weights = np.zeros(self._is_option.shape)  # logits of the softmax

    def draw(self, rng: Random) -> Point:
        """Return one point."""
        np = numpy()
        logits = self._mean + np.exp(self._log_sd) * np.array(
            [rng.gauss(0, 1) for _ in self._sizes]
        )
        limit = _logit(0)
        logits = np.where(self._sizes > 0, math.nan, np.clip(logits, limit, -limit))
        uniform = self._is_option / np.maximum(self._sizes, 1)[:, None]
        shares = (1 - _UNIFORM_SHARE) * self._softmax() + _UNIFORM_SHARE * uniform
        dice = np.array([rng.random() for _ in self._sizes])[:, None]
        options = np.minimum(
            (shares.cumsum(axis=1) <= dice).sum(axis=1), self._sizes - 1
        )  # -1 for a number
        return Point(logits, options)

    def climb(self, point: Point, advantages: Floats) -> None:
        """Make the point likelier by each parameter's advantage, or less likely where that is negative.

        This is the score function ascent of R. J. Williams, Simple statistical gradient-following algorithms for
        connectionist reinforcement learning, Machine Learning 8 (1992), with the gradient of a mean in units of its
        own variance. A parameter that the point lacks stays where it is.
        """
        np = numpy()
        advantages = np.where(point.present, advantages, 0.0)
        sd = np.exp(self._log_sd)
        far = np.clip(np.nan_to_num((point.logits - self._mean) / sd), -_FAR, _FAR)
        moved = np.where(np.isnan(point.logits), 0.0, advantages)
        self._mean = self._mean + _MEAN_STEP * moved * far * sd
        log_sd = self._log_sd + _LOG_SD_STEP * moved * (far**2 - 1)
        self._log_sd = np.clip(log_sd, math.log(_LOW_SD), math.log(_HIGH_SD))
        taken = np.arange(self._is_option.shape[1]) == point.options[:, None]
        self._weights = (
            self._weights
            + _LOGIT_STEP
            * advantages[:, None]
            * (taken - self._softmax())
            * self._is_option
        )

    def _softmax(self) -> Floats:
        np = numpy()
        raised = (
            np.exp(self._weights - self._weights.max(axis=1, initial=0.0)[:, None])
            * self._is_option
        )
        shares: Floats = (
            raised / np.maximum(raised.sum(axis=1), np.finfo(float).tiny)[:, None]
        )
        return shares


def _index(parameter: Choice, value: Any) -> int:
    """Return which option is meant; 1 and True are two."""
    option = parameter.check(value)
    return next(at for at, other in enumerate(parameter.options) if other is option)


def _bounds(parameter: Float | Int) -> tuple[float, float]:
    """Return the ends on the parameter's own scale; each whole number has a cell of its own, those at the ends too."""
    half = 0.5 if isinstance(parameter, Int) else 0.0
    low, high = parameter.low - half, parameter.high + half
    return (math.log(low), math.log(high)) if parameter.log else (low, high)


def _share(parameter: Float | Int, value: float) -> float:
    low, high = _bounds(parameter)
    return ((math.log(value) if parameter.log else value) - low) / (high - low)


def _number(parameter: Float | Int, share: float) -> float:
    low, high = _bounds(parameter)
    place = low + (high - low) * share
    return math.exp(place) if parameter.log else place


def _logit(share: float) -> float:
    share = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(share / (1 - share))
