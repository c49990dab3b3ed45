"""Which past tasks are like a new one: distances between standardized meta-features."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, pstdev
from typing import Any

from .library import Library, PastTask, is_regression

_FEATURES = (
    "rows",
    "columns",
    "rows by columns",
    "categorical share",
    "missing share",
    "classes",
    "skewness",
)


def meta_features(
    metadata: Mapping[str, Any],
) -> list[float]:
    """Return what two tasks are compared by, mostly on logarithmic scales.

    They are computed of the metadata alone, so that any task can be compared.
    """
    features = metadata.get("features", {})
    missing = metadata.get("missing_data", {})
    target = metadata.get("target_values", {})
    rows = float(metadata.get("n_train") or 1)
    columns = float(features.get("total") or 1)
    categorical = float(features.get("categorical_features") or 0)
    density = float(missing.get("data_density", 1.0))
    classes = float(target.get("unique_target_classes_count") or 1)
    skewness = float(target.get("target_skewness") or 0.0)
    return [
        math.log10(rows),
        math.log10(columns),
        math.log10(rows / columns),
        categorical / columns,
        math.sqrt(max(0.0, 1 - density)),
        math.log2(max(1.0, classes)),
        math.copysign(math.log1p(abs(skewness)), skewness),
    ]


def distances(
    metadata: Mapping[str, Any],
    tasks: Sequence[PastTask],
) -> dict[str, float]:
    """Return how far each task is from a new one: Euclidean, each feature divided by its spread."""
    goal = meta_features(metadata)
    known = [meta_features(task.metadata) for task in tasks]
    found = {}
    scales = []
    for column in zip(goal, *known, strict=True):
        scales.append(pstdev(column))
    for task, features in zip(tasks, known, strict=True):
        parts = []
        for one, other, scale in zip(features, goal, scales, strict=True):
            if scale > 0:
                part = (one - other) / scale
                parts.append(part**2)
        found[task.name] = math.sqrt(fmean(parts)) if parts else 0.0
    return found


def support(
    metadata: Mapping[str, Any],
    library: Library,
    *,
    limit: int | None = None,
    exclude: str | None = None,
) -> list[PastTask]:
    """Return the past tasks that a recommendation may learn from, the nearest first.

    These have members and are of the same coarse type, regression or classification.

    Args:
        metadata: of the new task.
        library: where past tasks are looked for.
        limit: how many at most; None for all.
        exclude: the name of the new task, where the library holds it.
    """
    wanted = is_regression(metadata)
    found = []
    for task in library.values():
        if task.name != exclude and task.members and task.is_regression == wanted:
            found.append(task)
    far = distances(metadata, found)
    found.sort(key=lambda task: (far[task.name], task.name))
    return found[:limit]
