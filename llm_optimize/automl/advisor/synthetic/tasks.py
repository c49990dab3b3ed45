"""A task of the ridge experiment: the parameters of two Gaussian classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

_LEAST, _MOST = 10, 499  # samples of a class
_MAX_MEAN = 2.0  # of a coordinate of the second class, with its sign turned
_MAX_CORRELATION = 0.9


@dataclass(frozen=True)
class RidgeTask:
    """Two classes: l has n_l samples of N(mu_l, S_l), with S_l[i, j] = alpha_l ** |i - j|."""

    n1: int
    n2: int
    mu1: tuple[float, ...]
    mu2: tuple[float, ...]
    alpha1: float
    alpha2: float

    @property
    def dim(self) -> int:
        """How many coordinates a sample has."""
        return len(self.mu1)

    def features(self) -> list[float]:
        """Return the task as numbers, for predictors that learn: 2 d + 4 of them."""
        return [self.n1, self.n2, *self.mu1, *self.mu2, self.alpha1, self.alpha2]

    def record(
        self,
        task_id: str,
        best: float | None = None,
    ) -> dict[str, Any]:
        """Return the task as a prompt shows it; with the best penalty where that is given."""
        shown: dict[str, Any] = {
            "task_id": task_id,
            "n1": self.n1,
            "n2": self.n2,
            "mu1": list(self.mu1),
            "mu2": list(self.mu2),
            "alpha_1": self.alpha1,
            "alpha_2": self.alpha2,
        }
        if best is not None:
            shown["lambda_star"] = best
        return shown


@dataclass(frozen=True)
class Solved:
    """A task whose test errors are known.

    Args:
        task: the task.
        errors: of each penalty of the grid, in its order; infinite where none could be computed.
        best: the penalty with the smallest of them, the first of equals.
    """

    task: RidgeTask
    errors: tuple[float, ...]
    best: float


def draw(rng: Random, dim: int) -> RidgeTask:
    """Return a random task.

    >>> draw(Random(0), 2).dim
    2
    """
    mu2 = []
    for _ in range(dim):
        mean = rng.uniform(0, _MAX_MEAN)
        mean = round(mean, 2)
        mu2.append(-mean or 0.0)  # not -0.0, which a prompt would show
    alpha1, alpha2 = (round(rng.uniform(0, _MAX_CORRELATION), 2) for _ in range(2))
    n1, n2 = (rng.randint(_LEAST, _MOST) for _ in range(2))
    return RidgeTask(n1, n2, (1.0,) * dim, tuple(mu2), alpha1, alpha2)


def draw_many(
    seed: str,
    dim: int,
    numbers: Sequence[int],
) -> list[RidgeTask]:
    """Return the tasks of these numbers; each depends on seed, dim and its number alone."""
    return [draw(Random(f"{seed}/{dim}/{number}"), dim) for number in numbers]
