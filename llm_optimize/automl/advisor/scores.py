"""Scores of predictions, all so that higher is better; and blends of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .options import METRICS

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Array = NDArray[numpy.float64]

_ROUNDS = 25  # of ensemble selection


def score(metric: str, y: Array, predicted: Array) -> float:
    """Return the score of predictions; a metric whose lower values are better is negated.

    Args:
        metric: a name of `library.METRICS`.
        y: true numbers, or numbers of classes from 0.
        predicted: numbers, or probabilities with a column for each class.
    """
    value = _value(metric, y, predicted)
    return value if METRICS[metric] else -value


def _value(metric: str, y: Array, predicted: Array) -> float:
    import numpy as np
    from sklearn import metrics

    if metric == "rmse":
        return float(metrics.root_mean_squared_error(y, predicted))
    if metric == "mae":
        return float(metrics.mean_absolute_error(y, predicted))
    if metric == "r2":
        return float(metrics.r2_score(y, predicted))
    if metric == "rmsle":
        positive = np.clip(predicted, 0, None)
        return float(metrics.root_mean_squared_log_error(y, positive))
    if metric == "auc":
        second = predicted[:, 1]
        return float(metrics.roc_auc_score(y, second))
    if metric == "nll":
        labels = range(predicted.shape[1])
        clipped = np.clip(predicted, 1e-15, 1)
        total = clipped.sum(axis=1, keepdims=True)
        shares = clipped / total
        loss = metrics.log_loss(y, shares, labels=labels)
        return float(loss)
    chosen = predicted.argmax(axis=1)
    return float(metrics.accuracy_score(y, chosen))  # f1-micro, too


def greedy_blend(
    metric: str,
    y: Array,
    predictions: Sequence[Array],
) -> list[float]:
    """Return a weight for each of several predictions, by greedy ensemble selection.

    Starting from nothing, the prediction is added, repeatedly and with replacement, whose addition
    gives the blend the best score; the best blend on the way counts (Caruana et al., ICML 2004).

    Args:
        metric: of the score.
        y: what is true.
        predictions: of rows that the models were not trained on.
    """
    import numpy as np

    counts = [0] * len(predictions)
    best_counts = list(counts)
    best = -np.inf
    total = np.zeros_like(predictions[0])
    for size in range(1, _ROUNDS + 1):
        found = []
        for one in predictions:
            found.append(score(metric, y, (total + one) / size))
        chosen = int(np.argmax(found))
        counts[chosen] += 1
        total = total + predictions[chosen]
        if found[chosen] > best:
            best = found[chosen]
            best_counts = list(counts)
    used = sum(best_counts)
    return [count / used for count in best_counts]


def blended(
    weights: Sequence[float],
    predictions: Sequence[Array],
) -> Array:
    """Return the weighted mean of predictions."""
    total = weights[0] * predictions[0]
    for weight, one in zip(weights[1:], predictions[1:], strict=True):
        total = total + weight * one
    return total
