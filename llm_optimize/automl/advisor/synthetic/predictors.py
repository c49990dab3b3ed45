"""Predictors of the best penalty that ask no model: what a model has to beat."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from random import Random
from statistics import fmean, median, pstdev
from typing import TypeAlias

from ....errors import require
from .closed_form import solve
from .grid import LAMBDAS, nearest
from .tasks import Solved, draw_many

Predictor: TypeAlias = Callable[[Sequence[Solved], Solved, Random], float]
"""From solved tasks, the target and random numbers to a penalty; only the oracle may look at more
of the target than its task."""

_NEIGHBORS = 5
_TASKS_FOR_CONSTANT = 2_000
_MAX_ITERATIONS = 1_000  # of the logistic regression


def random_penalty(
    context: Sequence[Solved],
    target: Solved,
    rng: Random,
) -> float:
    """Return any penalty of the grid."""
    return rng.choice(LAMBDAS)


def oracle(
    context: Sequence[Solved],
    target: Solved,
    rng: Random,
) -> float:
    """Return the best penalty: nobody can do better."""
    return target.best


def log_mean(compat: bool) -> Predictor:
    """Return the predictor by the geometric mean of the best penalties that are known."""

    def predict(
        context: Sequence[Solved],
        target: Solved,
        rng: Random,
    ) -> float:
        if not context:
            return rng.choice(LAMBDAS)
        exponents = [math.log10(one.best) for one in context]
        mean = fmean(exponents)
        return nearest(10**mean, compat=compat)

    return predict


def constant(penalty: float) -> Predictor:
    """Return the predictor that always says the same."""
    return lambda context, target, rng: penalty


def nearest_neighbors(
    context: Sequence[Solved],
    target: Solved,
    rng: Random,
) -> float:
    """Return the median of the best penalties of the five nearest tasks.

    Each feature is divided by its spread over the known tasks.
    """
    if not context:
        return rng.choice(LAMBDAS)
    known = [one.task.features() for one in context]
    spreads = [pstdev(column) for column in zip(*known, strict=True)]
    goal = target.task.features()
    distances = []
    for row, one in zip(known, context, strict=True):
        distance = 0.0
        for value, aim, spread in zip(row, goal, spreads, strict=True):
            if spread > 0:
                distance += ((value - aim) / spread) ** 2
        distances.append((distance, one.best))
    distances.sort()
    exponents = [math.log10(best) for _, best in distances[:_NEIGHBORS]]
    return nearest(10 ** median(exponents))


def logistic_classifier(
    context: Sequence[Solved], target: Solved, rng: Random
) -> float:
    """Return what a multinomial logistic regression on the raw features predicts."""
    if not context:
        return rng.choice(LAMBDAS)
    labels = [str(one.best) for one in context]
    if len(set(labels)) == 1:
        return context[0].best
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    classifier = LogisticRegression(max_iter=_MAX_ITERATIONS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of unscaled features
        classifier.fit([one.task.features() for one in context], labels)
    return float(classifier.predict([target.task.features()])[0])


def best_constant(seed: str, dim: int, *, compat: bool) -> float:
    """Return the penalty with the lowest mean error over tasks that no experiment uses."""
    tasks = draw_many(f"{seed}/constant", dim, range(_TASKS_FOR_CONSTANT))
    solved = solve(tasks, compat=compat)
    usable = [one.errors for one in solved if math.isfinite(max(one.errors))]
    means = [fmean(errors) for errors in zip(*usable, strict=True)]
    return LAMBDAS[means.index(min(means))]


def predictors_of(
    names: Sequence[str],
    seed: str,
    dim: int,
    *,
    compat: bool,
) -> Mapping[str, Predictor]:
    """Return the baselines of these names. Raises MissingExtra for one that cannot work here."""
    found: dict[str, Predictor] = {}
    for name in names:
        if name == "mean":
            found[name] = log_mean(compat)
        elif name == "best-constant":
            best = best_constant(seed, dim, compat=compat)
            found[name] = constant(best)
        elif name == "logistic-classifier":
            require("sklearn", needed_by="--model logistic-classifier")
            found[name] = logistic_classifier
        else:
            found[name] = _PLAIN[name]
    return found


_PLAIN: Mapping[str, Predictor] = {
    "knn": nearest_neighbors,
    "random": random_penalty,
    "oracle": oracle,
}
