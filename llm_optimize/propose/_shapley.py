"""Which group of parameters earned what was gained: Shapley's shares, on a smooth fit to the scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from ._policy import Point, numpy

if TYPE_CHECKING:
    from ._policy import Floats

Draw: TypeAlias = Callable[[Random], Point]
Legal: TypeAlias = Callable[[Point], Point]
_FIRST, _LAST = (
    100,
    50,
)  # points that the fit is made to at the most: its cost grows with their cube


@dataclass(frozen=True)
class _Setting:
    """Of the fit."""

    weight: float  # of a squared distance, where the range of a parameter is 1 long
    share: float  # c, times the number of parameters
    noise: (
        float  # what of the scores is left aside, as a share of the mean of the kernel
    )


_SETTINGS = [
    _Setting(weight, share, noise)
    for weight in (0.1, 0.3, 1.0, 3.0)
    for share in (0.3, 1.0, 3.0)
    for noise in (1e-4, 1e-3, 1e-2)
]


def shares(
    known: Sequence[tuple[Point, float]],
    draws: tuple[Draw, Draw],
    legal: Legal,
    groups: Mapping[str, Sequence[int]],
    orders: int,
) -> dict[str, float]:
    """Return the share of each group in what the second way of drawing gains over the first; they sum to 1.

    Args:
        known: points with their scores, to which the fit is made.
        draws: how points are drawn before and after.
        legal: makes of any point one that the space has, without the parameters that are absent there.
        groups: the places of each group's parameters.
        orders: in how many random orders the groups go over; always the same ones.
    """
    names = list(groups)
    equal = dict.fromkeys(names, 1 / len(names))
    if len(known) < 2 or len({score for _, score in known}) < 2:
        return equal
    known = [*known[:_FIRST], *known[_FIRST:][-_LAST:]]
    np, rng = numpy(), Random(0)
    paths, walks = [], []
    for _ in range(orders):
        order = rng.sample(names, len(names))
        walks.append(order)
        paths += _walk(draws[0](rng), draws[1](rng), [groups[name] for name in order])
    heights = _fit(known)(np.array([_features(legal(point)) for point in paths]))
    steps = np.diff(heights.reshape(orders, len(names) + 1), axis=1)
    gains = dict.fromkeys(names, 0.0)
    for order, row in zip(walks, steps, strict=True):
        for name, gain in zip(order, row, strict=True):
            gains[name] += float(gain)
    earned = {name: max(gain, 0.0) for name, gain in gains.items()}
    total = sum(earned.values())
    return {name: gain / total for name, gain in earned.items()} if total > 0 else equal


def _walk(before: Point, after: Point, order: Sequence[Sequence[int]]) -> list[Point]:
    """Return the points on the way from one to the other, a group a step."""
    path = [before]
    for places in order:
        logits, options = path[-1].logits.copy(), path[-1].options.copy()
        logits[places], options[places] = after.logits[places], after.options[places]
        path.append(Point(logits, options))
    return path


def _features(point: Point) -> Floats:
    """Return of each parameter the position in its range, the index of its option, and whether it is there."""
    np = numpy()
    units = np.where(
        np.isnan(point.logits), 0.0, 1 / (1 + np.exp(-np.nan_to_num(point.logits)))
    )
    features: Floats = np.stack(
        [units, point.options.astype(float), point.present.astype(float)]
    )
    return features


def _fit(known: Sequence[tuple[Point, float]]) -> Callable[[Floats], Floats]:
    """Return kernel ridge regression to the standardised scores.

    Its kernel is a product of 1 + c k over the parameters, so that effects of one parameter and of several together are
    told apart (N. Durrande and others, ANOVA kernels and RKHS of zero mean functions, arXiv 1106.3571). Of some
    settings that one is taken by which each score is predicted best from the others; the mean error of this comes in
    closed form from the inverse (C. E. Rasmussen and C. K. I. Williams, Gaussian Processes for Machine Learning, 2006,
    equation 5.12).
    """
    np = numpy()
    points = np.array([_features(point) for point, _ in known])
    scores = np.array([score for _, score in known])
    scores = (
        scores / np.abs(scores).max()
    )  # so that no sum of them is too large for a float
    aims = (scores - scores.mean()) / max(scores.std(), np.finfo(float).tiny)
    apart = _distances(points, points)
    best, pull, setting = np.inf, aims, _SETTINGS[0]
    for tried in _SETTINGS:
        likeness = _kernel(apart, tried)
        inverse = np.linalg.inv(
            likeness + tried.noise * likeness.mean() * np.eye(len(aims))
        )
        error = float(np.mean((inverse @ aims / np.diag(inverse)) ** 2))
        if error < best:
            best, pull, setting = error, inverse @ aims, tried
    return lambda new: _kernel(_distances(new, points), setting) @ pull


def _kernel(apart: Floats, setting: _Setting) -> Floats:
    share = setting.share / apart.shape[-1]
    alike: Floats = (1 + share * numpy().exp(-setting.weight * apart)).prod(axis=-1)
    return alike


def _distances(left: Floats, right: Floats) -> Floats:
    """Return the squared distance of each pair in each parameter: 1 for another option, or where one has none."""
    np = numpy()
    one, other = left[:, None], right[None]
    apart = (one[..., 0, :] - other[..., 0, :]) ** 2 + (
        one[..., 1, :] != other[..., 1, :]
    )
    found: Floats = np.where(one[..., 2, :] == other[..., 2, :], apart, 1.0)
    return found
