"""The test error of ridge classifiers on two Gaussian classes, in closed form but for one scalar
fixed point per class.

Labels are +1 for class 1 and -1 for class 2, w = (X X' / n + lambda I)^-1 X y / n, and the score of
a sample x is w' x. In high dimension its law within a class is Gaussian, so the two means and
variances give the error. The steps, for all tasks and penalties at once:

    delta       C_l = S_l + mu_l mu_l', Q = (sum c_l C_l / (1 + delta_l) + lambda I)^-1, and
                delta_l = tr(C_l Q) / n, solved by iteration
    means       m_l = g' Q mu_l / n, with g = sum a_l mu_l / (1 + delta_l), a = (n1, -n2)
    variances   E[Q S_l Q] is K_l, a sum of three products; its weights are the class shares. The
                published program swaps the two shares, which "compat" repeats
    error       at the threshold where the two densities cross, with equal priors
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .grid import LAMBDAS
from .plain import errors_of_task
from .tasks import RidgeTask, Solved

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Array = NDArray[numpy.float64]

_TOLERANCE = 1e-6  # of a step of the fixed point
_MAX_STEPS = 1_000
_NO_CURVATURE = (
    1e-5  # below it the variances are equal, and the threshold a single root
)
_CHUNK_NUMBERS = 2_000_000  # of one batch of matrices


def solve(
    tasks: Sequence[RidgeTask],
    *,
    compat: bool = False,
) -> list[Solved]:
    """Return each task with its errors and its best penalty.

    A penalty whose error cannot be computed has an infinite one, so that it is never the best.

    Args:
        tasks: all of the same dimension.
        compat: use the published formula.
    """
    solved = []
    for task, errors in zip(tasks, errors_of(tasks, compat=compat), strict=True):
        place = errors.index(min(errors))
        best = LAMBDAS[place]
        solved.append(Solved(task, errors, best))
    return solved


def errors_of(
    tasks: Sequence[RidgeTask], *, compat: bool = False
) -> Iterator[tuple[float, ...]]:
    """Yield the test error of each penalty of the grid, for each task.

    Without NumPy it takes some milliseconds a task of two dimensions, and seconds one of fifty.
    """
    if find_spec("numpy") is None:
        for task in tasks:
            yield errors_of_task(task, compat=compat)
        return
    if not tasks:
        return
    dim = tasks[0].dim
    per_task = len(LAMBDAS) * dim**2
    size = max(1, _CHUNK_NUMBERS // per_task)
    for start in range(0, len(tasks), size):
        chunk = tasks[start : start + size]
        means, variances = score_laws(chunk, compat=compat)
        table = _error_rates(means, variances)
        for row in table.reshape(len(chunk), len(LAMBDAS)):
            yield tuple(row.tolist())


def score_laws(
    tasks: Sequence[RidgeTask], *, compat: bool = False
) -> tuple[Array, Array]:
    """Return the means and the variances of the score, each of shape (tasks x penalties, 2).

    The penalties of a task stand one after the other, in the order of the grid.
    """
    import numpy as np

    with np.errstate(all="ignore"):  # what is not finite is sorted out by the caller
        batch = _batch_of(tasks)
        delta = _fixed_point(batch)
        return _moments(batch, delta, compat)


@dataclass(frozen=True)
class _Batch:
    """Problems, one for each task and penalty: P of them, of dimension d."""

    n: Array  # (P, 2) samples of each class
    mu: Array  # (P, 2, d)
    cov: Array  # (P, 2, d, d)
    second: Array  # (P, 2, d, d) second moments: cov + mu mu'
    penalty: Array  # (P,)

    @property
    def total(self) -> Array:
        """Samples of both classes, (P,)."""
        total: Array = self.n.sum(axis=1)
        return total

    @property
    def shares(self) -> Array:
        """The part of each class, (P, 2)."""
        return self.n / self.total[:, None]

    def only(self, rows: Any) -> _Batch:
        """Return some of the problems."""
        return _Batch(
            self.n[rows],
            self.mu[rows],
            self.cov[rows],
            self.second[rows],
            self.penalty[rows],
        )


def _batch_of(tasks: Sequence[RidgeTask]) -> _Batch:
    import numpy as np

    dim = tasks[0].dim
    steps = np.arange(dim)
    lags = np.abs(steps[:, None] - steps)  # (d, d)
    n = np.array([[task.n1, task.n2] for task in tasks], float)
    mu = np.array([[task.mu1, task.mu2] for task in tasks], float)
    alpha = np.array([[task.alpha1, task.alpha2] for task in tasks], float)
    cov = alpha[:, :, None, None] ** lags  # 0 ** 0 is 1: the identity for alpha 0
    second = cov + mu[:, :, :, None] * mu[:, :, None, :]
    count = len(LAMBDAS)
    penalty = np.tile(np.array(LAMBDAS), len(tasks))
    return _Batch(
        np.repeat(n, count, axis=0),
        np.repeat(mu, count, axis=0),
        np.repeat(cov, count, axis=0),
        np.repeat(second, count, axis=0),
        penalty,
    )


def _resolvent(batch: _Batch, delta: Array) -> Array:
    """Return Q, (P, d, d)."""
    import numpy as np

    weights = batch.shares / (1 + delta)
    inner = np.einsum("pl,plij->pij", weights, batch.second)
    dim = inner.shape[-1]
    inner += batch.penalty[:, None, None] * np.eye(dim)
    inverse: Array = np.linalg.inv(inner)
    return inverse


def _next_delta(batch: _Batch, delta: Array) -> Array:
    import numpy as np

    resolvent = _resolvent(batch, delta)
    traces: Array = np.einsum("plij,pji->pl", batch.second, resolvent)
    return traces / batch.total[:, None]


def _fixed_point(batch: _Batch) -> Array:
    """Return delta, (P, 2), each problem after its own number of steps."""
    import numpy as np

    delta = np.zeros_like(batch.n)
    rows = np.arange(len(delta))
    left = batch
    for _ in range(_MAX_STEPS):
        before = delta[rows]
        after = _next_delta(left, before)
        delta[rows] = after
        moved = np.linalg.norm(after - before, axis=1) > _TOLERANCE
        if not moved.any():
            break
        if not moved.all():
            rows = rows[moved]
            left = left.only(moved)
    return delta


def _moments(
    batch: _Batch,
    delta: Array,
    compat: bool,
) -> tuple[Array, Array]:
    """Return the means and the variances of the scores of both classes, each (P, 2)."""
    import numpy as np

    total = batch.total
    q = _resolvent(batch, delta)
    delta = _next_delta(batch, delta)
    signed = batch.n * np.array([1.0, -1.0])
    one = 1 + delta
    g = np.einsum("pl,pli->pi", signed / one, batch.mu)
    qg = np.einsum("pij,pj->pi", q, g)
    means = np.einsum("pli,pi->pl", batch.mu, qg) / total[:, None]

    qcq = q[:, None] @ batch.second @ q[:, None]  # Q C_b Q, (P, 2, d, d)
    qsq = q[:, None] @ batch.cov @ q[:, None]  # Q S_l Q
    v = np.einsum("pbij,pcji->pbc", qcq, batch.second) / total[:, None, None]
    t = np.einsum("pbij,plji->pbl", qcq, batch.cov) / total[:, None, None]
    a = batch.shares / one**2
    r = np.linalg.solve(np.eye(2) - v * a[:, None, :], t)  # (P, b, l)
    shares = batch.shares
    if compat:
        shares = shares[:, ::-1]
    weights = (shares / one**2)[:, :, None] * r
    k = qsq + np.einsum("pbl,pbij->plij", weights, qcq)  # E[Q S_l Q]

    tau = np.einsum("pbij,plji->plb", batch.cov, k)
    inner = signed[:, None, :] * tau / total[:, None, None] / one[:, None, :] ** 2
    h = np.einsum("plb,pbi->pli", inner, batch.mu)
    weighted = batch.n / one**2
    noise = np.einsum("plb,pb->pl", tau, weighted)
    quadratic = np.einsum("pi,plij,pj->pl", g, k, g)
    mixed = np.einsum("pli,pi->pl", h, qg)
    variances = noise + quadratic - 2 * mixed
    variances /= total[:, None] ** 2
    return means, variances


def _error_rates(means: Array, variances: Array) -> Array:
    """Return the error of each problem, infinite where it is no number."""
    import numpy as np

    with np.errstate(all="ignore"):
        threshold = _threshold(means, variances)
        sd = np.sqrt(variances)
        rows = np.arange(len(means))
        high = np.argmax(means, axis=1)
        low = 1 - high
        missed = threshold - means[rows, high]
        missed /= sd[rows, high]
        false = threshold - means[rows, low]
        false /= sd[rows, low]
        right = 1 - _normal_cdf(false)
        rates = (_normal_cdf(missed) + right) / 2
    unknown = ~np.isfinite(rates)
    rates[unknown] = math.inf
    return rates


def _threshold(means: Array, variances: Array) -> Array:
    """Return where the two densities are equal, between the means where that is possible."""
    import numpy as np

    m1, m2 = means.T
    v1, v2 = variances.T
    a = 1 / v2 - 1 / v1
    b = 2 * (m1 / v1 - m2 / v2)
    c = np.log(v2 / v1)
    c += m2**2 / v2
    c -= m1**2 / v1
    root = np.sqrt(b**2 - 4 * a * c)
    minus = (-b - root) / (2 * a)
    plus = (-b + root) / (2 * a)
    above = minus >= np.minimum(m1, m2)
    below = minus <= np.maximum(m1, m2)
    between = above & below
    curved = np.where(between, minus, plus)
    straight = np.abs(a) < _NO_CURVATURE
    threshold: Array = np.where(straight, -c / b, curved)
    return threshold


def _normal_cdf(values: Array) -> Array:
    import numpy as np

    halves = [math.erfc(-value / math.sqrt(2)) for value in values.tolist()]
    return np.array(halves) / 2
