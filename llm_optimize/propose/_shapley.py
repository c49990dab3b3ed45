"""Which group of parameters earned what was gained: Shapley's shares, on a smooth fit to the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from ._policy import Point, numpy

if TYPE_CHECKING:
    from ._policy import Floats

Draw: TypeAlias = Callable[[Random], Point]
_WIDTHS = (0.2, 0.5, 1.0, 2.0, 4.0)  # of the fit's kernel; the unit interval is as long as one option from another
_NOISE = 1e-3  # variance of the scores that the fit leaves aside, as a share of theirs


def shares(
    known: Sequence[tuple[Point, float]], draws: tuple[Draw, Draw], groups: Mapping[str, Sequence[int]], orders: int
) -> dict[str, float]:
    """Return the share of each group in what the second way of drawing gains over the first; they sum to 1.

    Args:
        known: points with their scores, to which the fit is made.
        draws: how points are drawn before and after.
        groups: the places of each group's parameters.
        orders: in how many random orders the groups go over; always the same ones.
    """
    names = list(groups)
    equal = dict.fromkeys(names, 1 / len(names))
    if len(known) < 2 or len({score for _, score in known}) < 2:
        return equal
    np, rng = numpy(), Random(0)
    paths, walks = [], []
    for _ in range(orders):
        order = rng.sample(names, len(names))
        walks.append(order)
        paths += _walk(_features(draws[0](rng)), _features(draws[1](rng)), [groups[name] for name in order])
    steps = np.diff(_fit(known)(np.array(paths)).reshape(orders, len(names) + 1), axis=1)
    gains = dict.fromkeys(names, 0.0)
    for order, row in zip(walks, steps, strict=True):
        for name, gain in zip(order, row, strict=True):
            gains[name] += float(gain)
    earned = {name: max(gain, 0.0) for name, gain in gains.items()}
    total = sum(earned.values())
    return {name: gain / total for name, gain in earned.items()} if total > 0 else equal


def _walk(before: Floats, after: Floats, order: Sequence[Sequence[int]]) -> list[Floats]:
    """Return the points on the way from one to the other, a group a step."""
    here, path = before.copy(), [before]
    for places in order:
        here = here.copy()
        here[:, places] = after[:, places]
        path.append(here)
    return path


def _features(point: Point) -> Floats:
    """Return the position in the range and the index of the option of each parameter; -1 where there is none."""
    np = numpy()
    units = np.where(np.isnan(point.logits), -1.0, 1 / (1 + np.exp(-np.nan_to_num(point.logits))))
    features: Floats = np.stack([units, point.options.astype(float)])
    return features


def _fit(known: Sequence[tuple[Point, float]]) -> Callable[[Floats], Floats]:
    """Return kernel ridge regression to the standardised scores, of the width that predicts each from the others best.

    The mean error of leaving one out comes in closed form from the inverse (C. E. Rasmussen and C. K. I. Williams,
    Gaussian Processes for Machine Learning, 2006, equation 5.12).
    """
    np = numpy()
    points = np.array([_features(point) for point, _ in known])
    scores = np.array([score for _, score in known])
    scores = scores / np.abs(scores).max()  # so that no sum of them is too large for a float
    aims, apart = (scores - scores.mean()) / max(scores.std(), np.finfo(float).tiny), _distances(points, points)
    best, weights, width = np.inf, aims, _WIDTHS[-1]
    for candidate in _WIDTHS:
        inverse = np.linalg.inv(np.exp(-apart / (2 * candidate**2)) + _NOISE * np.eye(len(aims)))
        error = float(np.mean((inverse @ aims / np.diag(inverse)) ** 2))
        if error < best:
            best, weights, width = error, inverse @ aims, candidate
    return lambda new: np.exp(-_distances(new, points) / (2 * width**2)) @ weights


def _distances(left: Floats, right: Floats) -> Floats:
    """Return the squared distances of all pairs: of positions as they are, of unlike options 1 each."""
    np = numpy()
    found: Floats = np.zeros((len(left), len(right)))
    for place in range(left.shape[2]):
        found += (left[:, None, 0, place] - right[None, :, 0, place]) ** 2
        found += left[:, None, 1, place] != right[None, :, 1, place]
    return found
