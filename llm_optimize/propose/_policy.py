"""Policy of the learner: an independent distribution for each parameter, and its steps.

A number has a Gaussian in the logit of its position in its range; a choice has a softmax over
its options. Numpy is optional: it is imported inside of functions, by `numpy`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import UsageError, require
from ..space import Choice, Float, Int, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

# Tuned on the two problems of benchmarks/learner.py.
_EDGE = 1e-3  # of the unit interval is cut off at both ends, whose logits are infinite
_START_SD = 1.5  # in the logit: nearly uniform on the unit interval
_MIN_SD, _MAX_SD = 0.05, 2.5
_UNIFORM_SHARE = 0.1  # of the draws of an option, so that none disappears
_MEAN_STEP = 0.3  # each step for an advantage of one standard deviation
_LOG_SD_STEP = 0.05
_LOGIT_STEP = 0.6
_MAX_DISTANCE = 3.0  # standard deviations; a point farther away pulls no harder
_ABSENT = -1


def numpy() -> Any:
    """Return the module. Raises MissingExtra where it is not installed."""
    require("numpy", extra="classical", needed_by="the proposer policy_gradient")
    import numpy as np

    return np


@dataclass(frozen=True)
class Point:
    """The position of an x in the space; both arrays have one entry for each parameter."""

    logits: Floats  # of a number's position in its range; NaN for a choice or an absent parameter
    options: Ints  # the index of an option; -1 for a number or an absent parameter

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which parameters the x has."""
        is_number = self.logits == self.logits  # NaN is not equal to itself
        present: NDArray[np.bool_] = (self.options != _ABSENT) | is_number
        return present


class Coordinates:
    """Translates between the x of a space and points."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self.names = list(space.parameters)
        self._parameters = list(space.parameters.values())
        self.sizes = []  # number of options of each parameter; 0 for a number
        for parameter in self._parameters:
            options = parameter.options if isinstance(parameter, Choice) else ()
            self.sizes.append(len(options))

    def point(self, x: Mapping[str, Any]) -> Point:
        """Return the position of x; a value that is not legal counts as absent."""
        np = numpy()
        logits = np.full(len(self.names), math.nan)
        options = np.full(len(self.names), _ABSENT)
        for i, (name, parameter) in enumerate(self._named()):
            if name not in x:
                continue
            try:
                if isinstance(parameter, Choice):
                    options[i] = parameter.index(x[name])
                else:
                    share = _to_share(parameter, parameter.check(x[name]))
                    logits[i] = _logit(share)
            except UsageError:
                continue
        return Point(logits, options)

    def x(self, point: Point) -> dict[str, Any]:
        """Return the x at a point."""
        x: dict[str, Any] = {}
        for i, (name, parameter) in enumerate(self._named()):
            if isinstance(parameter, Choice):
                x[name] = parameter.options[point.options[i]]
            else:
                share = 1 / (1 + math.exp(-point.logits[i]))
                x[name] = _from_share(parameter, share)
        return self._space.check(x)

    def _named(self) -> zip[tuple[str, Float | Int | Choice]]:
        return zip(self.names, self._parameters, strict=True)


class Policy:
    """The distribution of the next points.

    Args:
        sizes: the number of options of each parameter; 0 for a number.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        np = numpy()
        self._sizes = np.array(sizes)
        self._mean = np.zeros(len(sizes))
        self._log_sd = np.full(len(sizes), math.log(_START_SD))
        columns = np.arange(max(sizes))
        self._is_option = columns < self._sizes[:, None]  # parameters x options
        self._weights = np.zeros(self._is_option.shape)  # logits of the softmax

    def draw(self, rng: Random) -> Point:
        """Return a random point."""
        np = numpy()
        normal = np.array([rng.gauss(0, 1) for _ in self._sizes])
        limit = _logit(1)
        logits = np.clip(self._mean + np.exp(self._log_sd) * normal, -limit, limit)
        logits = np.where(self._sizes > 0, math.nan, logits)

        uniform = self._is_option / np.maximum(self._sizes, 1)[:, None]
        shares = (1 - _UNIFORM_SHARE) * self._softmax() + _UNIFORM_SHARE * uniform
        draws = np.array([rng.random() for _ in self._sizes])[:, None]
        # The index of an option is the number of cumulated shares that are not above the draw.
        # Rounding may leave the last sum below 1; a number has no options, and its index is -1.
        options = (shares.cumsum(axis=1) <= draws).sum(axis=1)
        return Point(logits, np.minimum(options, self._sizes - 1))

    def climb(self, point: Point, advantages: Floats) -> None:
        """Make the point more likely where an advantage is positive, less likely where negative.

        This is REINFORCE (R. J. Williams, "Simple Statistical Gradient-Following Algorithms for
        Connectionist Reinforcement Learning", Machine Learning 8, 1992): a step along the
        gradient of log p(point), called the characteristic eligibility there, times the advantage.

            Gaussian, mean m:    (x - m) / s^2              (section 6)
            Gaussian, log s:     ((x - m) / s)^2 - 1        (section 6, times s)
            softmax, logits:     1[option taken] - share

        The gradient of the mean is taken in units of its own variance, as a natural gradient is.
        A parameter that the point lacks stays as it is.
        """
        np = numpy()
        advantages = np.where(point.present, advantages, 0.0)

        sd = np.exp(self._log_sd)
        distance = np.nan_to_num((point.logits - self._mean) / sd)
        distance = np.clip(distance, -_MAX_DISTANCE, _MAX_DISTANCE)
        pull = np.where(np.isnan(point.logits), 0.0, advantages)
        self._mean = self._mean + _MEAN_STEP * pull * distance * sd
        log_sd = self._log_sd + _LOG_SD_STEP * pull * (distance**2 - 1)
        self._log_sd = np.clip(log_sd, math.log(_MIN_SD), math.log(_MAX_SD))

        columns = np.arange(self._is_option.shape[1])
        taken = columns == point.options[:, None]
        gradient = (taken - self._softmax()) * self._is_option
        self._weights = self._weights + _LOGIT_STEP * advantages[:, None] * gradient

    def _softmax(self) -> Floats:
        """Return the share of each option; 0 where a parameter has no such option."""
        np = numpy()
        highest = self._weights.max(axis=1, initial=0.0)[:, None]
        raised = np.exp(self._weights - highest) * self._is_option
        total = np.maximum(raised.sum(axis=1), np.finfo(float).tiny)[:, None]
        shares: Floats = raised / total
        return shares


def _bounds(parameter: Float | Int) -> tuple[float, float]:
    """Return the ends on the parameter's scale; all whole numbers have cells of equal size."""
    half = 0.5 if isinstance(parameter, Int) else 0.0
    low = parameter.low - half
    high = parameter.high + half
    if parameter.log:
        return math.log(low), math.log(high)
    return low, high


def _to_share(parameter: Float | Int, value: float) -> float:
    low, high = _bounds(parameter)
    if parameter.log:
        value = math.log(value)
    return (value - low) / (high - low)


def _from_share(parameter: Float | Int, share: float) -> float:
    low, high = _bounds(parameter)
    value = low + (high - low) * share
    return math.exp(value) if parameter.log else value


def _logit(share: float) -> float:
    share = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(share / (1 - share))
