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
    require("numpy", needed_by="the proposer policy_gradient")
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
        is_choice = self.options != _ABSENT
        present: NDArray[np.bool_] = is_choice | is_number
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
        length = len(self.names)
        logits = np.full(length, math.nan)
        options = np.full(length, _ABSENT)
        for i, (name, parameter) in enumerate(self._named()):
            if name not in x:
                continue
            try:
                if isinstance(parameter, Choice):
                    options[i] = parameter.index(x[name])
                else:
                    value = parameter.check(x[name])
                    logits[i] = _logit(_to_share(parameter, value))
            except UsageError:
                continue
        return Point(logits, options)

    def x(self, point: Point) -> dict[str, Any]:
        """Return the x at a point."""
        x: dict[str, Any] = {}
        for i, (name, parameter) in enumerate(self._named()):
            if isinstance(parameter, Choice):
                option = point.options[i]
                x[name] = parameter.options[option]
            else:
                share = _sigmoid(point.logits[i])
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
        start = math.log(_START_SD)
        self._log_sd = np.full(len(sizes), start)
        columns = np.arange(max(sizes))
        self._is_option = columns < self._sizes[:, None]  # parameters x options
        self._weights = np.zeros(self._is_option.shape)  # logits of the softmax

    def draw(self, rng: Random) -> Point:
        """Return a random point."""
        np = numpy()
        normal = np.array([rng.gauss(0, 1) for _ in self._sizes])
        logits = self._mean + np.exp(self._log_sd) * normal
        limit = _logit(1)
        logits = np.clip(logits, -limit, limit)
        is_choice = self._sizes > 0
        logits = np.where(is_choice, math.nan, logits)

        options_of = np.maximum(self._sizes, 1)[:, None]
        uniform = self._is_option / options_of
        softmax = self._softmax()
        shares = (1 - _UNIFORM_SHARE) * softmax + _UNIFORM_SHARE * uniform
        draws = np.array([rng.random() for _ in self._sizes])
        # The index of an option is the number of cumulated shares that are not above the draw.
        # Rounding may leave the last sum below 1; a number has no options, and its index is -1.
        passed = shares.cumsum(axis=1) <= draws[:, None]
        options = np.minimum(passed.sum(axis=1), self._sizes - 1)
        return Point(logits, options)

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
        distance = (point.logits - self._mean) / sd
        distance = np.nan_to_num(distance)
        distance = np.clip(distance, -_MAX_DISTANCE, _MAX_DISTANCE)
        is_number = ~np.isnan(point.logits)
        pull = np.where(is_number, advantages, 0.0)
        mean_step = _MEAN_STEP * pull * distance * sd
        self._mean = self._mean + mean_step
        log_sd_step = _LOG_SD_STEP * pull * (distance**2 - 1)
        lowest, highest = math.log(_MIN_SD), math.log(_MAX_SD)
        self._log_sd = np.clip(self._log_sd + log_sd_step, lowest, highest)

        columns = np.arange(self._is_option.shape[1])
        taken = columns == point.options[:, None]
        gradient = (taken - self._softmax()) * self._is_option
        step = _LOGIT_STEP * advantages[:, None] * gradient
        self._weights = self._weights + step

    def _softmax(self) -> Floats:
        """Return the share of each option; 0 where a parameter has no such option."""
        np = numpy()
        highest = self._weights.max(axis=1, initial=0.0)
        raised = np.exp(self._weights - highest[:, None])
        raised = raised * self._is_option
        tiny = np.finfo(float).tiny  # a number has no options, and the sum 0
        total = np.maximum(raised.sum(axis=1), tiny)
        shares: Floats = raised / total[:, None]
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


def _sigmoid(logit: float) -> float:
    """Return the share of a logit."""
    return 1 / (1 + math.exp(-logit))


def _logit(share: float) -> float:
    """Return ln(p / (1 - p)) of a share p, which is kept away from 0 and 1."""
    share = min(max(share, _EDGE), 1 - _EDGE)
    return math.log(share / (1 - share))
