"""Parts of notebook HTML: a table of trials, a curve of scores, an x, and a gauge.

Every part is styled inline, since a notebook keeps neither scripts nor style sheets, and every
text goes through `as_html`: whatever a trial holds, it cannot become a tag.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..records import Trial
from ..text import visible

GOOD = "#2da44e"  # these three can be read on white and on black
BAD = "#e0434a"
CALM = "#5b8db8"

_MAX_CELL_CHARS = 200
_MAX_READ_CHARS = 2_000  # of a feedback
_MAX_X_CHARS = 20_000
_MAX_POINTS = 500  # of a curve
_WIDTH, _HEIGHT, _MARGIN = 600, 90, 5  # of a curve, in its own units

_TABLE = (
    "border-collapse:collapse;font-size:90%;color:inherit;background:none;margin:4px 0"
)
_CELL = "text-align:left;vertical-align:top;padding:1px 12px 1px 0"
_GAUGE = "display:inline-block;white-space:nowrap;margin-right:16px"
_GAUGE_FRAME = (
    "display:inline-block;width:80px;height:.5em;border:1px solid currentColor;"
    "opacity:.8;line-height:0"
)

Point = tuple[float, float]


def as_html(text: str, max_chars: int = _MAX_CELL_CHARS) -> str:
    r"""Return text for HTML: cut at the end, escaped, with visible control characters.

    >>> as_html("<b>\x1b[2J</b>")
    '&lt;b&gt;\\x1b[2J&lt;/b&gt;'
    """
    if len(text) > max_chars:
        text = text[:max_chars] + "…"
    return html.escape(visible(text))


def grid_html(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """Return a table of texts with a head; the first column names the row."""
    lines: list[str] = []
    for row in (head, *rows):
        cells: list[str] = []
        for text in row:
            tag = "td" if cells and lines else "th"
            shown = as_html(text)
            cells.append(f'<{tag} style="{_CELL}">{shown}</{tag}>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table style="{_TABLE}">{"".join(lines)}</table>'


def table_html(
    trials: Sequence[Trial],
    scores: Mapping[int, str],
    best: Trial | None,
) -> str:
    """Return a table with a row for each trial, the best one marked.

    `scores` are the formatted scores by trial number; a trial without one shows its status.
    """
    titles = ("trial", "source", "score", "feedback")
    head = "".join(f'<th style="text-align:left">{title}</th>' for title in titles)
    marked = None if best is None else best.number
    rows = []
    for trial in trials:
        verdict = scores.get(trial.number, str(trial.status))
        is_best = trial.number == marked
        rows.append(_row_html(trial, verdict, is_best=is_best))
    return (
        f'<table style="{_TABLE}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _row_html(trial: Trial, verdict: str, *, is_best: bool) -> str:
    number, color = str(trial.number), ""
    if is_best:
        number = f"★ {trial.number}"
        color = f"color:{GOOD};font-weight:bold"
    elif trial.score is None:
        color = f"color:{BAD}"
    cells = (
        (number, _CELL),
        (as_html(trial.source, 60), _CELL),
        (verdict, f"{_CELL};{color}"),
        (as_html(_summary(trial)), f"{_CELL};opacity:.75;overflow-wrap:anywhere"),
    )
    row = "".join(f'<td style="{style}">{cell}</td>' for cell, style in cells)
    return f"<tr>{row}</tr>"


def _summary(trial: Trial) -> str:
    """Return the feedback of a trial on one line; of a failure only the last line.

    That is where a traceback names the exception. Only the ends of a long feedback are looked at.
    """
    tail = trial.feedback[-_MAX_READ_CHARS:].strip()
    if trial.score is None and tail:
        return tail.splitlines()[-1]
    return " ".join(trial.feedback[:_MAX_READ_CHARS].split())


def curve_html(
    trials: Sequence[Trial],
    champions: Sequence[Trial],
) -> str:
    """Return scores by trial as a small picture (SVG), or nothing below two scores.

    All scores are points; those of the champions are joined by a staircase.
    """
    scored = [trial for trial in trials if trial.score is not None]
    if len(scored) < 2:
        return ""
    last = max(trial.number for trial in trials)
    # Halves, since the difference of two floats may be too large for a float.
    halves = [(trial.score or 0.0) / 2 for trial in scored]
    low = min(halves)
    span = max(halves) - low
    inner_width = _WIDTH - 2 * _MARGIN
    inner_height = _HEIGHT - 2 * _MARGIN

    def place(trial: Trial) -> Point:
        height = 0.5
        if span:
            half = (trial.score or 0.0) / 2
            height = (half - low) / span
        x = _MARGIN + inner_width * trial.number / last
        y = _MARGIN + inner_height * (1 - height)
        return round(x, 1), round(y, 1)

    stride = math.ceil(len(scored) / _MAX_POINTS)
    dots = []
    for trial in scored[::stride]:
        x, y = place(trial)
        dots.append(f'<circle cx="{x}" cy="{y}" r="2"/>')
    corners = [place(trial) for trial in champions]
    stairs = _staircase(corners, float(_WIDTH - _MARGIN))
    line = " ".join(f"{x},{y}" for x, y in stairs)
    style = f"max-width:{_WIDTH}px;width:100%;display:block"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" style="{style}" role="img" '
        f'aria-label="scores by trial"><g fill="{CALM}">{"".join(dots)}</g>'
        f'<polyline points="{line}" fill="none" stroke="{GOOD}" stroke-width="2"/></svg>'
    )


def _staircase(
    points: Sequence[Point],
    end: float,
) -> list[Point]:
    """Return points joined by horizontal and vertical lines, the last one drawn out to `end`."""
    stairs = []
    height = points[0][1]
    for x, y in points:
        stairs += [(x, height), (x, y)]
        height = y
    return [*stairs, (end, height)]


def x_html(x: Any, title_html: str, *, is_open: bool = True) -> str:
    """Return x below a title that opens and closes it; the title is HTML already."""
    text = x
    if not isinstance(x, str):
        text = json.dumps(x, indent=1, default=repr)
    style = "background:none;color:inherit;overflow:auto"
    body = f'<pre style="{style}">{as_html(text, _MAX_X_CHARS)}</pre>'
    tag = "details open" if is_open else "details"
    return f"<{tag}><summary>{title_html}</summary>{body}</details>"


def bar_html(
    name: str,
    used: float,
    cap: float | None,
    shown: str,
) -> str:
    """Return a gauge: its name, how full it is, and `shown`, the use as a text."""
    if not cap:
        return f'<span style="{_GAUGE}">{as_html(name)} {as_html(shown)}</span>'
    share = min(1.0, max(0.0, used / cap))
    percent = round(100 * share)
    fill = f"display:inline-block;height:100%;width:{percent}%;background:{CALM}"
    bar = f'<span style="{_GAUGE_FRAME}"><span style="{fill}"></span></span>'
    parts = f"{as_html(name)} {bar} {as_html(shown)}"
    return f'<span style="{_GAUGE}">{parts}</span>'
