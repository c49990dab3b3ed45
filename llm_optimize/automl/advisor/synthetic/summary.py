"""What the ridge experiment shows: means by k, a paired bootstrap, and the chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from statistics import fmean, stdev

from ....errors import UsageError, require
from ....watch.atomic import atomic_path
from .experiment import Row

_RESAMPLES = 2_000
_DASHED = ("mean", "logistic-classifier")  # of the published chart
_PICTURES = (".png", ".svg", ".pdf")


def mean_and_error(
    values: Sequence[float],
) -> tuple[float, float]:
    """Return the mean and its standard error; NaN where there are too few values."""
    if not values:
        return math.nan, math.nan
    if len(values) < 2:
        return values[0], math.nan
    return fmean(values), stdev(values) / math.sqrt(len(values))


def by_k(
    rows: Sequence[Row],
) -> dict[int, list[float]]:
    """Return the regrets for each k, in the order of k."""
    found: dict[int, list[float]] = {}
    for row in sorted(rows, key=lambda row: row.k):
        values = found.setdefault(row.k, [])
        values.append(row.regret)
    return found


def by_repetition(
    rows: Sequence[Row],
) -> dict[int, float]:
    """Return the mean regret of each repetition over its k."""
    found: dict[int, list[float]] = {}
    for row in rows:
        values = found.setdefault(row.rep, [])
        values.append(row.regret)
    return {rep: fmean(values) for rep, values in found.items()}


def bootstrap(
    differences: Sequence[float],
    seed: int = 0,
) -> tuple[float, float]:
    """Return a 95 % interval of the mean of paired differences, by resampling them.

    >>> low, high = bootstrap([1.0, 2.0, 3.0] * 10)
    >>> low < 2 < high
    True
    """
    rng = Random(seed)
    means = []
    for _ in range(_RESAMPLES):
        means.append(fmean(rng.choices(differences, k=len(differences))))
    means.sort()
    tail = round(0.025 * _RESAMPLES)
    return means[tail], means[-tail - 1]


def table(
    methods: Mapping[str, Sequence[Row]],
) -> str:
    """Return the regret of each method for each k, and how it differs from the first method.

    The regret is in thousandths of the error rate, with its standard error over all k; the
    difference has a 95 % interval of a bootstrap over repetitions.
    """
    first = next(iter(methods))
    reference = by_repetition(methods[first])
    ks = list(by_k(methods[first]))
    header = ["regret x 1000", *(f"k={k}" for k in ks), "mean", "+-", "correct"]
    lines = [[*header, f"less that of {first} (95 %)"]]
    for name, rows in methods.items():
        means = by_k(rows)
        own = by_repetition(rows)
        cells = [name]
        for k in ks:
            cells.append(_thousandths(fmean(means[k])) if k in means else "-")
        mean, error = mean_and_error(list(own.values()))
        correct = fmean(row.is_correct for row in rows) if rows else math.nan
        cells += [_thousandths(mean), _thousandths(error), f"{correct:.1%}"]
        shown = "" if name == first else _difference(own, reference)
        cells.append(shown)
        lines.append(cells)
    return _aligned(lines)


def _difference(
    own: Mapping[int, float],
    reference: Mapping[int, float],
) -> str:
    common = [own[rep] - reference[rep] for rep in own if rep in reference]
    if len(common) < 2:
        return "-"
    low, high = bootstrap(common)
    mean = _thousandths(fmean(common), sign="+")
    return f"{mean} [{_thousandths(low, sign='+')}, {_thousandths(high, sign='+')}]"


def _thousandths(value: float, sign: str = "") -> str:
    return f"{1000 * value:{sign}.3f}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = []
    for first, *cells in lines:
        words = [first.ljust(widths[0])]
        for cell, width in zip(cells, widths[1:], strict=True):
            words.append(cell.rjust(width))
        aligned.append("  ".join(words).rstrip())
    return "\n".join(aligned)


def check_picture(path: Path) -> None:
    """Raise UsageError for a file that cannot be a picture, MissingExtra without matplotlib."""
    if path.suffix not in _PICTURES:
        raise UsageError(
            f"--plot is {path}: name a file that ends in {', '.join(_PICTURES)}"
        )
    require("matplotlib", needed_by="--plot")


def plot(
    methods: Mapping[str, Sequence[Row]],
    path: Path,
) -> None:
    """Draw the mean regret over k, with a band of one standard error around each line.

    Raises UsageError where the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, rows in methods.items():
        columns = by_k(rows)
        means, lows, highs = [], [], []
        for values in columns.values():
            mean, error = mean_and_error(values)
            means.append(mean)
            lows.append(mean - error)
            highs.append(mean + error)
        style = "--" if name in _DASHED else "-"
        (line,) = axes.plot(list(columns), means, style, marker="o", ms=4, label=name)
        axes.fill_between(list(columns), lows, highs, alpha=0.2, color=line.get_color())
    axes.set_xlabel("k, solved tasks that are shown")
    axes.set_ylabel("mean regret (error rate)")
    axes.set_title("Regret_vs_k")
    axes.legend()
    with atomic_path(path) as unfinished:
        figure.savefig(unfinished)
