"""Shapley values: how much each group of parameters contributed to an improvement.

The fit is kernel ridge regression. No library in the extra `classical` has one; scikit-learn,
which has, is not a requirement of the learner.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from ._policy import Point, numpy

if TYPE_CHECKING:
    from ._policy import Floats

Scored: TypeAlias = tuple[Point, float]
Draw: TypeAlias = Callable[[Random], Point]
# Trials that the fit uses at most: its cost grows with their cube.
_FIRST, _LAST = (
    100,
    50,
)


@dataclass(frozen=True)
class _Setting:
    """A candidate for the hyperparameters of the fit; leave-one-out chooses one."""

    inverse_length: float  # factor to the squared distance; a range is 1 long
    strength: float  # c of the ANOVA kernel, times the number of parameters
    noise: float  # ridge, as a share of the mean of the kernel matrix


_INVERSE_LENGTHS = (0.1, 0.3, 1.0, 3.0)
_STRENGTHS = (0.3, 1.0, 3.0)
_NOISES = (1e-4, 1e-3, 1e-2)
_GRID = itertools.product(_INVERSE_LENGTHS, _STRENGTHS, _NOISES)
_SETTINGS = [_Setting(*values) for values in _GRID]


def shapley_shares(
    known: Sequence[Scored],
    *,
    draw_before: Draw,
    draw_after: Draw,
    to_legal: Callable[[Point], Point],
    groups: Mapping[str, Sequence[int]],
    orders: int,
) -> dict[str, float]:
    """Return the share of each group in the gain of `draw_after` over `draw_before`.

    The Shapley value of a group is its mean marginal contribution over all orders in which
    groups may join. It is estimated from random orders, always the same ones.

    Args:
        known: points with their scores, which the fit is made to.
        draw_before: draws a point of the start.
        draw_after: draws a point of the end.
        to_legal: turns any point into one of the space, without the parameters that are absent
            there.
        groups: the indices of each group's parameters.
        orders: number of random orders.
    """
    names = list(groups)
    equal_share = 1 / len(names)
    equal = dict.fromkeys(names, equal_share)
    different = {score for _, score in known}
    if len(different) < 2:
        return equal
    np = numpy()
    rng = Random(0)
    points: list[Point] = []
    walks = []
    for _ in range(orders):
        order = rng.sample(names, len(names))
        walks.append(order)
        before = draw_before(rng)
        after = draw_after(rng)
        steps = [groups[name] for name in order]
        points += _walk(before, after, steps)

    first = known[:_FIRST]
    last = known[_FIRST:][-_LAST:]
    predict = _fit([*first, *last])
    features = [_features(to_legal(point)) for point in points]
    heights = predict(np.array(features))
    heights = heights.reshape(orders, len(names) + 1)
    gains = dict.fromkeys(names, 0.0)
    for order, row in zip(walks, np.diff(heights, axis=1), strict=True):
        for name, step in zip(order, row, strict=True):
            gains[name] += float(step)

    shares = {}
    for name, gain in gains.items():
        shares[name] = max(gain, 0.0)
    total = sum(shares.values())
    if total == 0:
        return equal
    for name in names:
        shares[name] /= total
    return shares


def _walk(
    before: Point,
    after: Point,
    order: Sequence[Sequence[int]],
) -> list[Point]:
    """Return the points on the way from one to the other; each step moves one group."""
    path = [before]
    for indices in order:
        logits = path[-1].logits.copy()
        options = path[-1].options.copy()
        logits[indices] = after.logits[indices]
        options[indices] = after.options[indices]
        path.append(Point(logits, options))
    return path


def _features(point: Point) -> Floats:
    """Return three rows: position in the range, index of the option, and whether it is there."""
    np = numpy()
    is_number = ~np.isnan(point.logits)
    logits = np.nan_to_num(point.logits)
    sigmoid = 1 / (1 + np.exp(-logits))
    positions = np.where(is_number, sigmoid, 0.0)
    options = point.options.astype(float)
    present = point.present.astype(float)
    features: Floats = np.stack([positions, options, present])
    return features


def _fit(known: Sequence[Scored]) -> Callable[[Floats], Floats]:
    """Return the prediction of kernel ridge regression on the standardized scores.

    With the kernel matrix K and the ridge r, the weights are (K + r I)^-1 y. The setting with
    the smallest leave-one-out error is used; the error of y_i has the closed form [K^-1 y]_i /
    [K^-1]_ii (C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning",
    2006, equation 5.12).
    """
    np = numpy()
    points = np.array([_features(point) for point, _ in known])
    scores = np.array([score for _, score in known])
    scores = scores / np.abs(scores).max()  # so that no sum overflows
    spread = max(scores.std(), np.finfo(float).tiny)
    targets = (scores - scores.mean()) / spread

    distances = _squared_distances(points, points)
    best_error = np.inf
    best_weights = targets
    best_setting = _SETTINGS[0]
    for setting in _SETTINGS:
        kernel = _kernel(distances, setting)
        ridge = setting.noise * kernel.mean()
        inverse = np.linalg.inv(kernel + ridge * np.eye(len(targets)))
        errors = inverse @ targets / np.diag(inverse)
        error = float(np.mean(errors**2))
        if error < best_error:
            best_error = error
            best_weights = inverse @ targets
            best_setting = setting

    def predict(new: Floats) -> Floats:
        kernel = _kernel(_squared_distances(new, points), best_setting)
        predicted: Floats = kernel @ best_weights
        return predicted

    return predict


def _kernel(distances: Floats, setting: _Setting) -> Floats:
    """Return the ANOVA kernel, the product of 1 + c k_i over the parameters i.

    It separates effects of one parameter from those of several together (N. Durrande and others,
    "ANOVA Kernels and RKHS of Zero Mean Functions", arXiv 1106.3571).
    """
    parameters = distances.shape[-1]
    gaussian = numpy().exp(-setting.inverse_length * distances)
    strength = setting.strength / parameters
    kernel: Floats = (1 + strength * gaussian).prod(axis=-1)
    return kernel


def _squared_distances(left: Floats, right: Floats) -> Floats:
    """Return the squared distance of each pair in each parameter; 1 for another option."""
    np = numpy()
    # Of each side (points x 3 x parameters) one array per row, so that every pair meets.
    position, option, present = np.moveaxis(left[:, None], 2, 0)
    other_position, other_option, other_present = np.moveaxis(right[None], 2, 0)
    squares = (position - other_position) ** 2
    squares = squares + (option != other_option)
    distances: Floats = np.where(present == other_present, squares, 1.0)
    return distances
