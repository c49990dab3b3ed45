"""Importance of parameters: how the score of a run went with each of them, on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from operator import mul
from statistics import fmean
from typing import Any, NamedTuple

from ...records import Direction, Trial
from ...space import Choice, Parameter, as_space
from .facts import plain

_MAX_BINS = 8
_MAX_SHOWN = 3_000  # trials in the slices, the best ones
_FEWEST = 8  # trials, below which there is no importance


class _Scored(NamedTuple):
    number: int
    score: float
    x: Mapping[str, Any]


def parameters(
    space: Mapping[str, Any] | None,
    trials: Sequence[Trial],
    direction: Direction = Direction.MAXIMIZE,
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
    scored: list[_Scored] = []
    for trial in trials:
        x = trial.x
        if trial.score is None or not isinstance(x, dict):
            continue
        if known.keys() <= x.keys():
            scored.append(_Scored(trial.number, trial.score, x))
    best_first = sorted(scored, key=lambda trial: -direction.turned(trial.score))
    shown = best_first[:_MAX_SHOWN]
    ranks = ranked([direction.turned(trial.score) for trial in scored])
    rows, slices = [], {}
    for name, parameter in known.items():
        values = [trial.x[name] for trial in scored]
        effect = _effect(parameter, values, ranks)
        rows.append({"name": name, **_kind(parameter), **effect})
        slices[name] = [_shown(trial.x[name]) for trial in shown]
    return {
        "rows": rows,
        "trials": len(scored),
        "numbers": [trial.number for trial in shown],
        "scores": [trial.score for trial in shown],
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
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return plain(value)


def _effect(
    parameter: Parameter,
    values: Sequence[Any],
    ranks: Sequence[float],
) -> dict[str, Any]:
    """Return the importance from 0 to 1, and for numbers Spearman's rank correlation.

    Both are None where there are too few trials.
    """
    importance: float | None = None
    rho: float | None = None
    if len(values) < _FEWEST:
        pass
    elif isinstance(parameter, Choice):
        names = [str(value) for value in values]
        importance = explained(names, ranks)
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
    places: dict[float, list[int]] = {}  # by value: where it is in the sorted values
    for place, value in enumerate(sorted(values), start=1):
        places.setdefault(value, []).append(place)
    rank = {value: fmean(equal) for value, equal in places.items()}
    return [rank[value] for value in values]


def correlation(
    a: Sequence[float],
    b: Sequence[float],
) -> float | None:
    """Return Pearson's correlation; None where one of the two does not vary.

    >>> correlation([1, 2, 3], [2, 4, 6])
    1.0
    """
    a_off, b_off = _deviations(a), _deviations(b)
    covariance = sum(map(mul, a_off, b_off))
    spread = sqrt(sum(map(mul, a_off, a_off)) * sum(map(mul, b_off, b_off)))
    return round(covariance / spread, 6) if spread else None


def binned(values: Sequence[float]) -> list[int]:
    """Return the number of each value's bin; bins have about as many values each.

    Equal values share a bin.
    """
    wanted = round(sqrt(len(values)) / 1.5)
    bins = min(_MAX_BINS, max(2, wanted))
    ordered = sorted(values)
    edges = set()
    for place in range(1, bins):
        edges.add(ordered[len(ordered) * place // bins])
    edges.discard(ordered[0])  # the first bin would be empty
    return [sum(value >= edge for edge in edges) for value in values]


def explained(
    groups: Sequence[Any],
    ranks: Sequence[float],
) -> float:
    """Return epsilon squared: the share of the ranks' variance between groups, less chance.

    It is never below 0.

    >>> explained(["a", "a", "b", "b"], [1, 2, 3, 4])
    0.7
    """
    members: dict[Any, list[float]] = {}
    for group, rank in zip(groups, ranks, strict=True):
        members.setdefault(group, []).append(rank)
    count = len(ranks)
    kinds = len(members)
    total = _squares(ranks)
    if kinds < 2 or count <= kinds or not total:
        return 0.0
    within_variance = sum(map(_squares, members.values())) / (count - kinds)
    variance = total / (count - 1)
    return round(max(0.0, 1 - within_variance / variance), 6)


def _deviations(values: Sequence[float]) -> list[float]:
    mean = sum(values) / len(values)
    return [value - mean for value in values]


def _squares(values: Sequence[float]) -> float:
    """Return the sum of squared deviations from the mean."""
    return sum(off**2 for off in _deviations(values))
