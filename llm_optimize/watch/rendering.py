"""Rendering of records: rows of a table, data frames, charts, and HTML for a notebook.

This is the renderer that `records.display` names, so `Trial` and `Result` show themselves through
it; the other watchers use its parts. Whatever a trial holds is hostile text: HTML is escaped, and
control characters are made visible.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import require
from ..records import Direction, Result, Trial
from ..text import show_number, show_numbers
from .cells import cell_number
from .html_parts import BAD, CALM, GOOD, as_html, curve_html, table_html, x_html

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

_MAX_ROWS = 20  # of a table in a notebook


# Rows.


def rows_of(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Return a flat row for each trial; all have the same columns, in the same order.

    Metrics have a column `metric.NAME`; an x that is a dict has a column `x.NAME` for each of its
    names. These come last. None is the value of what is unknown.
    """
    rows = [_row(trial) for trial in trials]
    names: dict[str, None] = {}  # a set in the order of insertion
    for row in rows:
        names.update(dict.fromkeys(row))
    prefixed = [name for name in names if _prefix(name) in ("metric", "x")]
    columns = [name for name in names if name not in prefixed]
    columns += sorted(prefixed, key=_prefix)
    return [{column: row.get(column) for column in columns} for row in rows]


def _prefix(column: str) -> str:
    return column.split(".")[0]


def _row(trial: Trial) -> dict[str, Any]:
    usage = trial.usage
    row = {
        "trial": trial.number,
        "status": str(trial.status.value),
        "score": trial.score,
        "source": trial.source,
        "parent": trial.parent,
        "seconds": trial.seconds,
        "scorings": trial.scorings,
        "standard_error": trial.standard_error,
        "stage": trial.stage,
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cost_usd": usage.cost_usd,
        "seed": trial.seed,
        "finished_at": trial.finished_at or None,
        "feedback": trial.feedback,
        "lesson": trial.lesson,
        "output": trial.output,
    }
    for name, value in trial.metrics.items():
        row[f"metric.{name}"] = value
    if isinstance(trial.x, dict):
        for name, value in trial.x.items():
            row[f"x.{name}"] = value
    else:
        row["x"] = trial.x
    return row


def column_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the columns of these `rows_of`; of no rows those that every run has."""
    return list(rows[0]) if rows else ["trial", "status", "score", "source", "x"]


def champions(
    trials: Iterable[Trial], direction: Direction = Direction.MAXIMIZE
) -> list[Trial]:
    """Return the trials that scored better than every trial of a lower number.

    >>> from llm_optimize.records import Status, Trial
    >>> scores = [1.0, None, 3.0, 2.0]
    >>> trials = [Trial.of(n, "", Status.COMPLETE, "", s) for n, s in enumerate(scores)]
    >>> [trial.number for trial in champions(trials)]
    [0, 2]
    """
    found: list[Trial] = []
    best = direction.worst
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.score is not None and direction.is_better(trial.score, best):
            found.append(trial)
            best = trial.score
    return found


def shown_scores(trials: Iterable[Trial]) -> dict[int, str]:
    """Return the scores by trial number, formatted with enough digits to tell them apart."""
    numbers, scores = [], []
    for trial in trials:
        if trial.score is not None:
            numbers.append(trial.number)
            scores.append(trial.score)
    return dict(zip(numbers, show_numbers(scores), strict=True))


# What `records.display` calls.


def data_frame(trials: Sequence[Trial]) -> pandas.DataFrame:
    """Return `rows_of` as a data frame with the trial number as index."""
    require("pandas", needed_by="to_pandas")
    import pandas as pd

    rows = rows_of(trials)
    frame = pd.DataFrame(rows, columns=column_names(rows)).set_index("trial")
    if "finished_at" in frame:
        times = pd.to_datetime(frame["finished_at"], unit="s", utc=True)
        frame["finished_at"] = times
    return frame.astype({"score": float})


def draw(
    trials: Sequence[Trial],
    title: str,
    axes: Axes | None,
    direction: Direction,
) -> Axes:
    """Draw the score of each trial and the best so far; failures are ticks below."""
    require("matplotlib", needed_by="plot")
    from matplotlib import pyplot
    from matplotlib.ticker import MaxNLocator

    if axes is None:
        _, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    _draw_scores(axes, trials, direction)
    axes.set_title(title, loc="left", parse_math=False)
    axes.set_xlabel("trial")
    axes.set_ylabel("score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="best")
    return axes


def _draw_scores(axes: Axes, trials: Sequence[Trial], direction: Direction) -> None:
    scored = [trial for trial in trials if trial.score is not None]
    failed = [trial.number for trial in trials if trial.score is None]
    if scored:
        numbers = [trial.number for trial in scored]
        scores = [trial.score or 0.0 for trial in scored]
        dots: dict[str, Any] = {"color": CALM, "alpha": 0.6, "markersize": 4}
        axes.plot(numbers, scores, "o", label="score", **dots)
        last = max(trial.number for trial in trials)
        _draw_champions(axes, champions(scored, direction), last)
    if failed:
        # The height is in the units of the axes, not of the scores.
        heights = [0.015] * len(failed)
        ticks: dict[str, Any] = {"color": BAD, "markersize": 8}
        ticks["transform"] = axes.get_xaxis_transform()
        axes.plot(failed, heights, "|", label="no score", **ticks)


def _draw_champions(
    axes: Axes,
    found: Sequence[Trial],
    last: int,
) -> None:
    """Draw the best so far as a staircase up to the trial `last`, and a star on each step."""
    numbers = [trial.number for trial in found]
    scores = [trial.score or 0.0 for trial in found]
    stars: dict[str, Any] = {"color": GOOD, "markersize": 10}
    steps: dict[str, Any] = {"color": GOOD, "drawstyle": "steps-post"}
    until, level = [*numbers, last], [*scores, scores[-1]]
    axes.plot(until, level, label="best so far", **steps)
    axes.plot(numbers, scores, "*", label="champions", **stars)


def trial_html(trial: Trial) -> str:
    """Return one trial as HTML: a row of a table, and its x."""
    table = table_html([trial], shown_scores([trial]), None)
    x = x_html(trial.x, f"x of trial {trial.number}")
    return f"<div>{table}{x}</div>"


def result_html(result: Result) -> str:
    """Return a result as HTML: its best score, a curve, the last trials, and the best x.

    One line is enough in the cell whose output shows the run already.
    """
    cell = result.shown_in_cell
    if cell is not None and cell == cell_number():
        best_html = _best_html(result.best)
        return f"<div><b>{as_html(result.name, 80)}</b>: {best_html}</div>"
    trials = result.trials
    found = champions(trials, result.direction)
    best = found[-1] if found else None
    shown = trials[-_MAX_ROWS:]
    if best is not None and best not in shown:
        shown = (best, *shown[1:])

    reason = as_html(result.stop_reason)
    facts = f"{_best_html(best)}; {len(trials)} trials, {reason}"
    parts = [
        f"<div><b>{as_html(result.name, 80)}</b>: {facts}</div>",
        curve_html(trials, found),
        table_html(shown, shown_scores(shown), best),
    ]
    left_out = len(trials) - len(shown)
    if left_out:
        words = f"and {left_out} more trials: see to_pandas()"
        parts.append(f'<div style="opacity:.75">{words}</div>')
    if best is not None:
        parts.append(x_html(best.x, "best x"))
    return f"<div>{''.join(parts)}</div>"


def _best_html(best: Trial | None) -> str:
    if best is None or best.score is None:
        return "no trial has a score"
    score = f'<b style="color:{GOOD}">{show_number(best.score)}</b>'
    return f"best {score} in trial {best.number} by {as_html(best.source, 60)}"


__all__ = [
    "champions",
    "column_names",
    "data_frame",
    "draw",
    "result_html",
    "rows_of",
    "shown_scores",
    "trial_html",
]
