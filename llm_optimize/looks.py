"""How trials look elsewhere: as rows of a table, as a chart, as HTML in a notebook.

Nothing here knows more of a trial than its fields; `records.Trial` and `records.Result` take their methods from here.
Whatever a trial holds is hostile text: it is escaped, and its control characters are made visible.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .errors import MissingExtra
from .text import show_number, show_numbers, visible

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

_MAX_ROWS = 20  # of a table in a notebook
_MAX_CELL_CHARS = 200
_MAX_READ_CHARS = 2_000  # of a feedback
_MAX_X_CHARS = 20_000
_MAX_POINTS = 500  # of a curve
_GOOD, _BAD, _CALM = (
    "#2da44e",
    "#e0434a",
    "#5b8db8",
)  # each is read on white and on black
_WIDTH, _HEIGHT = 600, 90  # of a curve, in its own units


class TrialLike(Protocol):
    """What is asked of a trial here: the fields of `records.Trial`."""

    @property
    def number(self) -> int:
        """From 0."""

    @property
    def x(self) -> Any:
        """A text or a dict; None when there is none."""

    @property
    def status(self) -> Any:
        """A text."""

    @property
    def source(self) -> str:
        """Who wrote x."""

    @property
    def score(self) -> float | None:
        """Higher is better."""

    @property
    def feedback(self) -> str:
        """What f said."""


# Rows.


def rows_of(trials: Iterable[Any]) -> list[dict[str, Any]]:
    """Return a flat row for each `records.Trial`; all have the same columns, in the same order.

    An x that is a dict has a column `x.NAME` for each of its names, metrics have `metric.NAME`. None stands for what is
    unknown.
    """
    rows = [_row(trial) for trial in trials]
    columns = dict.fromkeys(column for row in rows for column in row)
    last = [column for column in columns if column.split(".")[0] in ("metric", "x")]
    ordered = [column for column in columns if column not in last] + sorted(
        last, key=lambda name: name.split(".")[0]
    )
    return [{column: row.get(column) for column in ordered} for row in rows]


def _row(trial: Any) -> dict[str, Any]:
    usage = trial.usage
    return {
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
        **{f"metric.{name}": value for name, value in trial.metrics.items()},
        **_columns_of_x(trial.x),
    }


def _columns_of_x(x: Any) -> dict[str, Any]:
    return (
        {f"x.{name}": value for name, value in x.items()}
        if isinstance(x, dict)
        else {"x": x}
    )


def champions(trials: Iterable[TrialLike]) -> list[TrialLike]:
    """Return the trials that were better than all those of a lower number.

    >>> from llm_optimize.records import Status, Trial
    >>> scores = [1.0, None, 3.0, 2.0]
    >>> [trial.number for trial in champions(Trial.of(n, "", Status.COMPLETE, "", s) for n, s in enumerate(scores))]
    [0, 2]
    """
    found: list[TrialLike] = []
    for trial in sorted(trials, key=lambda trial: trial.number):
        if trial.score is not None and (
            not found or trial.score > (found[-1].score or 0.0)
        ):
            found.append(trial)
    return found


def shown_scores(trials: Iterable[TrialLike]) -> dict[int, str]:
    """Return the score of each trial that has one for reading, by its number, with digits enough to tell them apart."""
    scores = {trial.number: trial.score for trial in trials if trial.score is not None}
    return dict(zip(scores, show_numbers(list(scores.values())), strict=True))


# HTML.


def as_html(text: str, max_chars: int = _MAX_CELL_CHARS) -> str:
    r"""Return text for HTML: escaped, its control characters to be seen, cut at the end.

    >>> as_html("<b>\x1b[2J</b>")
    '&lt;b&gt;\\x1b[2J&lt;/b&gt;'
    """
    cut = text if len(text) <= max_chars else text[:max_chars] + "…"
    return html.escape(visible(cut))


def table_html(trials: Sequence[TrialLike], best: TrialLike | None) -> str:
    """Return a table with a row for each trial, the best one marked."""
    head = "".join(
        f'<th style="text-align:left">{word}</th>'
        for word in ("trial", "source", "score", "what it was")
    )
    scores = shown_scores(trials)
    marked = None if best is None else best.number
    rows = (
        _row_html(
            trial, scores.get(trial.number, str(trial.status)), trial.number == marked
        )
        for trial in trials
    )
    body = "".join(rows)
    return f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


_TABLE = (
    "border-collapse:collapse;font-size:90%;color:inherit;background:none;margin:4px 0"
)
_GAUGE = "display:inline-block;white-space:nowrap;margin-right:16px"
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"


def _row_html(trial: TrialLike, verdict: str, best: bool) -> str:
    color = (
        f"color:{_GOOD};font-weight:bold"
        if best
        else ""
        if trial.score is not None
        else f"color:{_BAD}"
    )
    head, tail = (
        trial.feedback[:_MAX_READ_CHARS],
        trial.feedback[-_MAX_READ_CHARS:].strip(),
    )
    what = (
        " ".join(head.split())
        if trial.score is not None or not tail
        else tail.splitlines()[-1]
    )  # of a traceback
    cells = [
        ("★ " if best else "") + str(trial.number),
        as_html(trial.source, 60),
        verdict,
        as_html(what),
    ]
    styles = [
        _CELL,
        _CELL,
        f"{_CELL};{color}",
        f"{_CELL};opacity:.75;overflow-wrap:anywhere",
    ]
    row = "".join(
        f'<td style="{style}">{cell}</td>'
        for style, cell in zip(styles, cells, strict=True)
    )
    return f"<tr>{row}</tr>"


def curve_html(trials: Sequence[TrialLike]) -> str:
    """Return scores against trials as a small picture (SVG): all of them as points, the best so far as a line."""
    scored = [
        (trial.number, trial.score) for trial in trials if trial.score is not None
    ]
    if len(scored) < 2:
        return ""
    last = max(trial.number for trial in trials)
    low = (
        min(score for _, score in scored) / 2
    )  # halves: a difference may be too large for a float
    span = max(score for _, score in scored) / 2 - low

    def place(number: float, score: float) -> tuple[float, float]:
        height = ((score / 2 - low) / span) if span else 0.5
        return round(5 + (_WIDTH - 10) * number / last, 1), round(
            5 + (_HEIGHT - 10) * (1 - height), 1
        )

    every = math.ceil(len(scored) / _MAX_POINTS)
    points = (
        f'<circle cx="{x}" cy="{y}" r="2"/>'
        for x, y in (place(*pair) for pair in scored[::every])
    )
    steps = _steps(
        [place(trial.number, trial.score or 0.0) for trial in champions(trials)],
        float(_WIDTH - 5),
    )
    line = " ".join(f"{x},{y}" for x, y in steps)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="max-width:{_WIDTH}px;width:100%;display:block" role="img" '
        f'aria-label="scores by trial"><g fill="{_CALM}">{"".join(points)}</g>'
        f'<polyline points="{line}" fill="none" stroke="{_GOOD}" stroke-width="2"/></svg>'
    )


def _steps(
    points: Sequence[tuple[float, float]], end: float
) -> Iterator[tuple[float, float]]:
    height = points[0][1]
    for x, y in points:
        yield x, height
        yield x, y
        height = y
    yield end, height


def x_html(x: Any, words: str, *, is_open: bool = True) -> str:
    """Return x below some words that open and close it; the words are HTML already."""
    text = x if isinstance(x, str) else json.dumps(x, indent=1, default=repr)
    body = f'<pre style="background:none;color:inherit;overflow:auto">{as_html(text, _MAX_X_CHARS)}</pre>'
    return f"<details{' open' if is_open else ''}><summary>{words}</summary>{body}</details>"


class TrialLooks:
    """What a notebook shows of a trial."""

    __slots__ = ()

    def _repr_html_(self: TrialLike) -> str:
        return f"<div>{table_html([self], None)}{x_html(self.x, f'x of trial {self.number}')}</div>"


class Looks:
    """How the trials of a result are looked at."""

    name: str
    trials: tuple[Any, ...]
    stop_reason: str

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each trial, by its number.

        An x that is a dict has a column `x.NAME` for each of its names, metrics have `metric.NAME`; `finished_at` is in
        UTC.

        Raises MissingExtra where pandas is not installed.

        >>> from llm_optimize.records import Result, Status, Trial, Usage
        >>> trials = [Trial.of(0, {"lr": 0.1}, Status.COMPLETE, "x0", score=0.5, metrics={"loss": 2.0})]
        >>> frame = Result("amber", trials, Usage(), "max_steps").to_pandas()
        >>> frame[["score", "metric.loss", "x.lr"]].to_dict("records")
        [{'score': 0.5, 'metric.loss': 2.0, 'x.lr': 0.1}]
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingExtra(
                'to_pandas needs pandas: pip install "llm_optimize[plots]"'
            ) from error
        columns = (
            list(rows_of(self.trials)[0])
            if self.trials
            else ["trial", "status", "score", "source", "x"]
        )
        frame = pd.DataFrame(rows_of(self.trials), columns=columns).set_index("trial")
        if "finished_at" in frame:
            frame["finished_at"] = pd.to_datetime(
                frame["finished_at"], unit="s", utc=True
            )
        return frame.astype({"score": float})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score of each trial and the best so far; champions are marked, failures are ticks below.

        Args:
            ax: where to draw; None makes a new figure.

        Returns:
            The axes, to change or to save: `result.plot().figure.savefig("run.png")`.

        Raises MissingExtra where matplotlib is not installed.
        """
        try:
            from matplotlib.ticker import MaxNLocator
        except ImportError as error:
            raise MissingExtra(
                'plot needs matplotlib: pip install "llm_optimize[plots]"'
            ) from error
        axes = _new_axes() if ax is None else ax
        _draw(axes, self.trials)
        axes.set_title(self.name, loc="left", parse_math=False)
        axes.set_xlabel("trial")
        axes.set_ylabel("score")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, loc="best")
        return axes

    def _repr_html_(self) -> str:
        found = champions(self.trials)
        best = found[-1] if found else None
        shown = self.trials[-_MAX_ROWS:]
        if best is not None and best not in shown:
            shown = (best, *shown[1:])
        left = len(self.trials) - len(shown)
        return "".join(
            [
                f"<div><div><b>{as_html(self.name, 80)}</b>: {_verdict(best)}; {len(self.trials)} trials, "
                f"{as_html(self.stop_reason)}</div>",
                curve_html(self.trials),
                table_html(shown, best),
                f'<div style="opacity:.75">and {left} more trials: see to_pandas()</div>'
                if left
                else "",
                x_html(best.x, "best x") if best is not None else "",
                "</div>",
            ]
        )


def _verdict(best: TrialLike | None) -> str:
    if best is None:
        return "no trial has a score"
    score = f'<b style="color:{_GOOD}">{"" if best.score is None else show_number(best.score)}</b>'
    return f"best {score} in trial {best.number} by {as_html(best.source, 60)}"


def _new_axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(8, 4.5), layout="constrained")[1]


def _draw(axes: Axes, trials: Sequence[TrialLike]) -> None:
    scored = [
        (trial.number, trial.score) for trial in trials if trial.score is not None
    ]
    failed = [trial.number for trial in trials if trial.score is None]
    found = champions(trials)
    if scored:
        axes.plot(
            *zip(*scored, strict=True),
            "o",
            color=_CALM,
            alpha=0.6,
            markersize=4,
            label="score",
        )
    if found:
        numbers, scores = (
            [trial.number for trial in found],
            [trial.score or 0.0 for trial in found],
        )
        last = max(trial.number for trial in trials)
        axes.plot(
            [*numbers, last],
            [*scores, scores[-1]],
            drawstyle="steps-post",
            color=_GOOD,
            label="best so far",
        )
        axes.plot(numbers, scores, "*", color=_GOOD, markersize=10, label="champions")
    if failed:
        ticks = axes.get_xaxis_transform()
        axes.plot(
            failed,
            [0.015] * len(failed),
            "|",
            color=_BAD,
            markersize=8,
            transform=ticks,
            label="no score",
        )


def bar_html(words: str, used: float, cap: float | None, shown: str) -> str:
    """Return a gauge: its name and what is used, as texts, and how full it is."""
    if not cap:
        return f'<span style="{_GAUGE}">{as_html(words)} {as_html(shown)}</span>'
    full = round(100 * min(1.0, max(0.0, used / cap)))
    filled = f'<span style="display:inline-block;height:100%;width:{full}%;background:{_CALM}"></span>'
    style = "display:inline-block;width:80px;height:.5em;border:1px solid currentColor;opacity:.8;line-height:0"
    return f'<span style="{_GAUGE}">{as_html(words)} <span style="{style}">{filled}</span> {as_html(shown)}</span>'


__all__ = [
    "Looks",
    "TrialLike",
    "TrialLooks",
    "as_html",
    "bar_html",
    "champions",
    "curve_html",
    "rows_of",
    "shown_scores",
    "table_html",
    "x_html",
]
