"""Landscapes that searches are compared on: functions of 4 to 16 numbers, shifted by each seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random

Vector = Sequence[float]
LIMIT = 5.0  # each number is from -LIMIT to LIMIT


@dataclass(frozen=True)
class Landscape:
    """A function to minimize, 0 at its best; `noise` is the standard deviation of what is added."""

    size: int
    height: Callable[[Vector], float]  # of the way from the optimum
    rotated: bool = False
    noise: float = 0.0


class Place:
    """A landscape with the optimum and the start of one seed."""

    def __init__(self, landscape: Landscape, seed: int) -> None:
        """Draw the optimum, the axes and the start of this seed."""
        rng = Random(f"place/{seed}")
        self._landscape = landscape
        self._optimum = [rng.uniform(-0.6, 0.6) * LIMIT for _ in range(landscape.size)]
        self._axes = _axes(landscape.size, rng) if landscape.rotated else None
        self._rng = rng
        self.start = [rng.uniform(-0.8, 0.8) * LIMIT for _ in range(landscape.size)]

    def height(self, x: Vector) -> float:
        """Return the true height: 0 at the best."""
        way = [a - b for a, b in zip(x, self._optimum, strict=True)]
        if self._axes:
            way = [_dot(axis, way) for axis in self._axes]
        return self._landscape.height(way)

    def score(self, x: Vector) -> float:
        """Return the score that the search observes: higher is better."""
        return -self.height(x) - (
            self._rng.gauss(0, self._landscape.noise) if self._landscape.noise else 0.0
        )


def _axes(size: int, rng: Random) -> list[list[float]]:
    """Return orthogonal axes of length 1, by Gram and Schmidt."""
    axes: list[list[float]] = []
    while len(axes) < size:
        axis = [rng.gauss(0, 1) for _ in range(size)]
        for other in axes:
            along = _dot(axis, other)
            axis = [a - along * b for a, b in zip(axis, other, strict=True)]
        length = math.hypot(*axis)
        axes.append([a / length for a in axis])
    return axes


def bowl(way: Vector) -> float:
    """Separable: the sum of squares."""
    return math.fsum(a * a for a in way)


def ellipsoid(way: Vector) -> float:
    """Separable, the last number a thousand times as important as the first."""
    return math.fsum(
        1000 ** (place / (len(way) - 1)) * a * a for place, a in enumerate(way)
    )


def valley(way: Vector) -> float:
    """Rosenbrock's bent valley: easy to find, hard to walk along."""
    shifted = [a / 2.5 + 1 for a in way]
    return math.fsum(
        100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in pairwise(shifted)
    )


def hills(way: Vector) -> float:
    """Rastrigin's hills upon a bowl: a best place in every square of 2 by 2."""
    return math.fsum(a * a + 5 * (1 - math.cos(math.pi * a)) for a in way)


def stairs(way: Vector) -> float:
    """A bowl of steps: small moves change nothing."""
    return math.fsum(math.floor(abs(a) / 0.5 + 0.5) ** 2 for a in way)


LANDSCAPES = {
    "separable, 8": Landscape(8, bowl),
    "ill-conditioned, 10": Landscape(10, ellipsoid),
    "rotated valley, 6": Landscape(6, valley, rotated=True),
    "multimodal, 5": Landscape(5, hills),
    "plateaus, 12": Landscape(12, stairs),
    "noisy, 16": Landscape(16, bowl, noise=3.0),
}


def _dot(one: Vector, other: Vector) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))
