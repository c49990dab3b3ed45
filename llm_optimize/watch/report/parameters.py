"""Which parameters went with the score: what each tells of its rank, on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

from ...records import Trial
from ...space import Choice, Parameter, as_space
from .facts import plain

_MAX_BINS = 8
_MAX_SHOWN = 3_000  # trials in the slices, the best ones
_FEWEST = 8  # trials, below which nothing is said


def parameters(
    space: Mapping[str, Any] | None, trials: Sequence[Trial]
) -> dict[str, Any] | None:
    """Return what the trials of a run with a space tell of its parameters; None without a space.

    The importance of a parameter is the share of the variance of the score's ranks that lies between bins of its
    values (eta squared), less what as many bins would explain by chance (epsilon squared; Kelley 1935). Ranks make it
    the same for any monotone change of the score. The trials were chosen by a search and not drawn at random, and a
    parameter that matters only together with another may show nothing: it describes the run, not f.
    """
    if not space:
        return None
    known = as_space(space).parameters
    scored = [
        trial
        for trial in trials
        if trial.score is not None and isinstance(trial.x, dict)
    ]
    scored = [
        trial
        for trial in scored
        if isinstance(trial.x, dict) and known.keys() <= trial.x.keys()
    ]
    shown = sorted(scored, key=lambda trial: -(trial.score or 0.0))[:_MAX_SHOWN]
    ranks = ranked([trial.score or 0.0 for trial in scored])
    rows = []
    for name, parameter in known.items():
        values = [trial.x[name] for trial in scored if isinstance(trial.x, dict)]
        rows.append(
            {"name": name, **_kind(parameter), **_told(parameter, values, ranks)}
        )
    return {
        "rows": rows,
        "trials": len(scored),
        "numbers": [trial.number for trial in shown],
        "scores": [trial.score for trial in shown],
        "values": {name: [_shown(trial, name) for trial in shown] for name in known},
    }


def _kind(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        return {
            "kind": "choice",
            "log": False,
            "options": [str(option) for option in parameter.options],
        }
    return {
        "kind": type(parameter).__name__.lower(),
        "log": parameter.log,
        "range": [parameter.low, parameter.high],
    }


def _shown(trial: Trial, name: str) -> Any:
    value = trial.x[name] if isinstance(trial.x, dict) else None
    return (
        plain(value)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value)
    )


def _told(
    parameter: Parameter, values: Sequence[Any], ranks: Sequence[float]
) -> dict[str, Any]:
    """Return the importance from 0 to 1, and for numbers Spearman's rank correlation; None where too few trials are."""
    if len(values) < _FEWEST:
        return {"importance": None, "correlation": None}
    if isinstance(parameter, Choice):
        return {
            "importance": explained(list(map(str, values)), ranks),
            "correlation": None,
        }
    numbers = [float(value) for value in values]
    return {
        "importance": explained(binned(numbers), ranks),
        "correlation": correlation(ranked(numbers), ranks),
    }


def ranked(values: Sequence[float]) -> list[float]:
    """Return the rank of each value from 1 on; equals share the mean of theirs.

    >>> ranked([3.0, 1.0, 3.0])
    [2.5, 1.0, 2.5]
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    at = 0
    while at < len(order):
        end = at
        while end + 1 < len(order) and values[order[end + 1]] == values[order[at]]:
            end += 1
        for place in order[at : end + 1]:
            ranks[place] = (at + end) / 2 + 1
        at = end + 1
    return ranks


def correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Return Pearson's correlation; None where one of the two does not vary.

    >>> correlation([1, 2, 3], [2, 4, 6])
    1.0
    """
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return round(both / spread, 6) if spread else None


def binned(values: Sequence[float]) -> list[int]:
    """Return for each value the number of its bin; equal values share one, and all have about as many values."""
    bins = min(_MAX_BINS, max(2, round(sqrt(len(values)) / 1.5)))
    ordered = sorted(values)
    cuts = {ordered[len(ordered) * place // bins] for place in range(1, bins)}
    edges = [cut for cut in cuts if cut > ordered[0]]
    return [sum(value >= edge for edge in edges) for value in values]


def explained(groups: Sequence[Any], ranks: Sequence[float]) -> float:
    """Return the share of the variance of ranks that lies between groups, less what chance would give; never below 0.

    >>> explained(["a", "a", "b", "b"], [1, 2, 3, 4])
    0.7
    """
    members: dict[Any, list[float]] = {}
    for group, one in zip(groups, ranks, strict=True):
        members.setdefault(group, []).append(one)
    count, kinds = len(ranks), len(members)
    mean = sum(ranks) / count
    total = sum((one - mean) ** 2 for one in ranks)
    if kinds < 2 or count <= kinds or not total:
        return 0.0
    within = sum(
        sum((one - sum(some) / len(some)) ** 2 for one in some)
        for some in members.values()
    )
    return round(max(0.0, 1 - within / (count - kinds) / (total / (count - 1))), 6)
