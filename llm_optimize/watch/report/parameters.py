"""Importance of parameters: how the score of a run went with each of them, on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from ...records import Trial
from ...space import Choice, Parameter, as_space
from .facts import plain

_MAX_BINS = 8
_MAX_SHOWN = 3_000  # trials in the slices, the best ones
_FEWEST = 8  # trials, below which there is no importance


def parameters(
    space: Mapping[str, Any] | None, trials: Sequence[Trial]
) -> dict[str, Any] | None:
    """Return the importance and the values of each parameter; None for a run without a space.

    The importance is the share of the variance of the score's ranks that lies between bins of the
    parameter's values (eta squared), less what as many bins would explain by chance (epsilon
    squared; Kelley 1935). Ranks make it the same for any monotone change of the score.

    It describes the run, not f: the trials were chosen by a search and not drawn at random, and a
    parameter that matters only together with another may show nothing.
    """
    if not space:
        return None
    known = as_space(space).parameters
    scored = []
    for trial in trials:
        x = trial.x
        if trial.score is not None and isinstance(x, dict) and known.keys() <= x.keys():
            scored.append((trial.number, trial.score, x))
    shown = sorted(scored, key=lambda row: -row[1])[:_MAX_SHOWN]
    ranks = ranked([score for _, score, _ in scored])
    rows, slices = [], {}
    for name, parameter in known.items():
        values = [x[name] for _, _, x in scored]
        row = {"name": name, **_kind(parameter), **_effect(parameter, values, ranks)}
        rows.append(row)
        slices[name] = [_shown(x[name]) for _, _, x in shown]
    return {
        "rows": rows,
        "trials": len(scored),
        "numbers": [number for number, _, _ in shown],
        "scores": [score for _, score, _ in shown],
        "values": slices,
    }


def _kind(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        options = [str(option) for option in parameter.options]
        return {"kind": "choice", "log": False, "options": options}
    return {
        "kind": type(parameter).__name__.lower(),
        "log": parameter.log,
        "range": [parameter.low, parameter.high],
    }


def _shown(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return plain(value) if is_number else str(value)


def _effect(
    parameter: Parameter, values: Sequence[Any], ranks: Sequence[float]
) -> dict[str, Any]:
    """Return the importance from 0 to 1, and for numbers Spearman's rank correlation.

    Both are None where there are too few trials.
    """
    importance: float | None = None
    rho: float | None = None
    if len(values) < _FEWEST:
        pass
    elif isinstance(parameter, Choice):
        importance = explained(list(map(str, values)), ranks)
    else:
        numbers = [float(value) for value in values]
        importance = explained(binned(numbers), ranks)
        rho = correlation(ranked(numbers), ranks)
    return {"importance": importance, "correlation": rho}


def ranked(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1 on; equal values share the mean of their ranks.

    >>> ranked([3.0, 1.0, 3.0])
    [2.5, 1.0, 2.5]
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start  # the last place with an equal value
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in order[start : end + 1]:
            ranks[place] = (start + end) / 2 + 1
        start = end + 1
    return ranks


def correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Pearson's correlation; None where one of the two does not vary.

    >>> correlation([1, 2, 3], [2, 4, 6])
    1.0
    """
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    variance_a = sum((x - mean_a) ** 2 for x in a)
    variance_b = sum((y - mean_b) ** 2 for y in b)
    spread = sqrt(variance_a * variance_b)
    return round(covariance / spread, 6) if spread else None


def binned(values: Sequence[float]) -> list[int]:
    """Return the number of each value's bin; bins have about as many values each.

    Equal values share a bin.
    """
    bins = min(_MAX_BINS, max(2, round(sqrt(len(values)) / 1.5)))
    ordered = sorted(values)
    cuts = {ordered[len(ordered) * place // bins] for place in range(1, bins)}
    edges = [cut for cut in cuts if cut > ordered[0]]
    return [sum(value >= edge for edge in edges) for value in values]


def explained(groups: Sequence[Any], ranks: Sequence[float]) -> float:
    """Return epsilon squared: the share of the ranks' variance between groups, less chance.

    It is never below 0.

    >>> explained(["a", "a", "b", "b"], [1, 2, 3, 4])
    0.7
    """
    members: dict[Any, list[float]] = {}
    for group, rank in zip(groups, ranks, strict=True):
        members.setdefault(group, []).append(rank)
    count, kinds = len(ranks), len(members)
    total = _squares(ranks)
    if kinds < 2 or count <= kinds or not total:
        return 0.0
    within = sum(map(_squares, members.values()))
    ratio = (within / (count - kinds)) / (total / (count - 1))
    return round(max(0.0, 1 - ratio), 6)


def _squares(values: Sequence[float]) -> float:
    """Return the sum of squared deviations from the mean."""
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values)
