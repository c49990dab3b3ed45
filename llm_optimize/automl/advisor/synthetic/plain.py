"""The closed form without NumPy, for one task at a time: slow, and right where NumPy is missing.

The steps and the names are those of `closed_form`; a test holds both to the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import mul
from typing import TypeAlias

from .grid import LAMBDAS
from .tasks import RidgeTask

Vector: TypeAlias = list[float]
Matrix: TypeAlias = list[Vector]

_TOLERANCE = 1e-6
_MAX_STEPS = 1_000
_NO_CURVATURE = 1e-5
_CLASSES = (0, 1)


def errors_of_task(
    task: RidgeTask,
    *,
    compat: bool,
) -> tuple[float, ...]:
    """Return the test error of each penalty, infinite where it cannot be computed."""
    errors = []
    for penalty in LAMBDAS:
        try:
            error = _Problem(task, penalty).error(compat)
        except (ArithmeticError, ValueError):
            error = math.nan
        if not math.isfinite(error):
            error = math.inf
        errors.append(error)
    return tuple(errors)


class _Problem:
    """One task with one penalty."""

    def __init__(self, task: RidgeTask, penalty: float) -> None:
        self.n = (task.n1, task.n2)
        self.total = task.n1 + task.n2
        self.shares = [count / self.total for count in self.n]
        self.mu = (list(task.mu1), list(task.mu2))
        self.cov = []
        for alpha in (task.alpha1, task.alpha2):
            lags = range(task.dim)
            self.cov.append([[alpha ** abs(i - j) for j in lags] for i in lags])
        self.second = []
        for cov, mu in zip(self.cov, self.mu, strict=True):
            outer = [[a * b for b in mu] for a in mu]
            self.second.append(_sum(cov, outer, 1.0))
        self.penalty = penalty

    def resolvent(self, delta: Vector) -> Matrix:
        """Return Q."""
        dim = len(self.mu[0])
        inner = [[0.0] * dim for _ in range(dim)]
        for place in range(dim):
            inner[place][place] = self.penalty
        for one in _CLASSES:
            scale = 1 + delta[one]
            weight = self.shares[one] / scale
            second = self.second[one]
            inner = _sum(inner, second, weight)
        return _inverse(inner)

    def next_delta(self, delta: Vector) -> Vector:
        """Return one step of the fixed point."""
        q = self.resolvent(delta)
        return [_trace(second, q) / self.total for second in self.second]

    def error(self, compat: bool) -> float:
        """Return the error rate."""
        delta = [0.0, 0.0]
        for _ in range(_MAX_STEPS):
            before = delta
            delta = self.next_delta(before)
            if math.dist(before, delta) <= _TOLERANCE:
                break
        q = self.resolvent(delta)
        delta = self.next_delta(delta)
        square = [(1 + one) ** 2 for one in delta]
        g = [0.0] * len(self.mu[0])
        for one, sign in zip(_CLASSES, (1, -1), strict=True):
            factor = sign * self.n[one] / (1 + delta[one])
            g = [a + factor * b for a, b in zip(g, self.mu[one], strict=True)]
        qg = _times(q, g)
        means = [_dot(mu, qg) / self.total for mu in self.mu]
        variances = [self.variance(one, q, square, g, compat) for one in _CLASSES]
        return _error_rate(means, variances)

    def variance(
        self,
        one: int,
        q: Matrix,
        square: Vector,
        g: Vector,
        compat: bool,
    ) -> float:
        """Return the variance of the score in one class."""
        n = self.total
        qcq = [_product(_product(q, second), q) for second in self.second]
        rows = []
        right = []
        for b in _CLASSES:
            row = []
            for other in _CLASSES:
                v = _trace(qcq[b], self.second[other]) / n
                weight = self.shares[other] / square[other]
                row.append(float(b == other) - v * weight)
            rows.append(row)
            right.append(_trace(qcq[b], self.cov[one]) / n)
        r = _times(_inverse(rows), right)
        k = _product(q, self.cov[one])
        k = _product(k, q)
        shares = list(self.shares)
        if compat:
            shares.reverse()
        for b in _CLASSES:
            k = _sum(k, qcq[b], shares[b] * r[b] / square[b])
        found = _dot(g, _times(k, g))
        qg = _times(q, g)
        for b, sign in zip(_CLASSES, (1, -1), strict=True):
            tau = _trace(self.cov[b], k)
            noise = self.n[b] * tau
            noise /= square[b]
            found += noise
            mixed = _dot(self.mu[b], qg)
            found -= 2 * sign * noise * mixed / n
        return found / n**2


def _error_rate(
    means: Sequence[float],
    variances: Sequence[float],
) -> float:
    m1, m2 = means
    v1, v2 = variances
    a = 1 / v2 - 1 / v1
    b = 2 * (m1 / v1 - m2 / v2)
    c = m2**2 / v2 - m1**2 / v1 + math.log(v2 / v1)
    if abs(a) < _NO_CURVATURE:
        threshold = -c / b
    else:
        root = math.sqrt(b**2 - 4 * a * c)
        threshold = (-b - root) / (2 * a)
        if not min(means) <= threshold <= max(means):
            threshold = (-b + root) / (2 * a)
    high = int(m2 > m1)
    low = 1 - high
    missed = threshold - means[high]
    missed /= math.sqrt(variances[high])
    false = threshold - means[low]
    false /= math.sqrt(variances[low])
    right = 1 - _normal_cdf(false)
    return (_normal_cdf(missed) + right) / 2


def _normal_cdf(value: float) -> float:
    return math.erfc(-value / math.sqrt(2)) / 2


# Matrices as lists of rows.


def _sum(left: Matrix, right: Matrix, factor: float) -> Matrix:
    """Return left + factor * right."""
    found = []
    for row, other in zip(left, right, strict=True):
        found.append([a + factor * b for a, b in zip(row, other, strict=True)])
    return found


def _dot(left: Vector, right: Vector) -> float:
    return math.fsum(map(mul, left, right))


def _times(matrix: Matrix, vector: Vector) -> Vector:
    return [_dot(row, vector) for row in matrix]


def _product(left: Matrix, right: Matrix) -> Matrix:
    columns = [list(column) for column in zip(*right, strict=True)]
    return [_times(columns, row) for row in left]


def _trace(left: Matrix, right: Matrix) -> float:
    """Return the trace of a product with a symmetric matrix."""
    return math.fsum(_dot(a, b) for a, b in zip(left, right, strict=True))


def _inverse(matrix: Matrix) -> Matrix:
    """Return the inverse, by Gauss-Jordan elimination. Raises ZeroDivisionError without one."""
    dim = len(matrix)
    rows = []
    for place, row in enumerate(matrix):
        identity = [0.0] * dim
        identity[place] = 1.0
        rows.append([*row, *identity])
    for column in range(dim):
        sizes = [abs(row[column]) for row in rows]
        pivot = max(range(column, dim), key=sizes.__getitem__)
        rows[column], rows[pivot] = rows[pivot], rows[column]
        head = rows[column][column]
        rows[column] = [value / head for value in rows[column]]
        for place in range(dim):
            factor = rows[place][column]
            if place != column and factor:
                lead = rows[column]
                row = rows[place]
                rows[place] = [a - factor * b for a, b in zip(row, lead, strict=True)]
    return [row[dim:] for row in rows]
