"""Tables of runs and the head of one run, fitted to the width of the terminal."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..records import Trial
from ..text import one_line, show_number, show_x, visible
from ..watch.amounts import LABELS, signed, used_of
from ..watch.overview import Listed, state_words
from ..watch.run_view import RunView
from .tables import aligned

# The columns of the list in their order; in a narrow terminal those with the highest numbers go
# first, then the task and the name are cut.
_COLUMNS = {
    "name": 0,
    "state": 1,
    "best": 2,
    "progress": 3,
    "left": 4,
    "trials": 6,
    "begun": 7,
    "tags": 5,
    "task": 8,
}
_RIGHT = ("best", "trials")
_GAP = 2  # between two columns
_LEAST_TASK = 16  # characters, below which the task is left out
_LEAST_COLUMNS = 3
# The state has as many characters in a terminal of so many columns.
_STATES = ((110, 40), (70, 26), (0, 8))
_MAX_X_LINES = 12
_BRIEF = ("search", "proposer", "model", "workers", "timeout_secs", "sandbox", "seed")


def columns_here() -> int | None:
    """Return the width of the terminal; None where the output goes into a file or a pipe."""
    if sys.stdout.isatty() or os.environ.get("COLUMNS", "").isdecimal():
        return shutil.get_terminal_size().columns
    return None


def runs_table(runs: Sequence[Listed], columns: int | None) -> str:
    """Return a table with one line per run, no wider than `columns`; None sets no limit."""
    if not runs:
        return "no runs yet"
    width = sys.maxsize if columns is None else columns
    max_state = next(chars for least, chars in _STATES if width >= least)
    cells = [_cells(run, max_state) for run in runs]
    shown = []
    for column in _COLUMNS:
        if any(row[column] for row in cells):
            shown.append(column)
    widths = {}
    for column in shown:
        longest = max(len(row[column]) for row in cells)
        widths[column] = max(len(column), longest)
    if columns is not None:
        _fit(widths, columns)
    rows = [list(widths)]
    right = []
    for place, name in enumerate(widths):
        if name in _RIGHT:
            right.append(place)
    for row in cells:
        fitted = []
        for name, width in widths.items():
            fitted.append(one_line(row[name], width))
        rows.append(fitted)
    return aligned(rows, right=right)


def _fit(widths: dict[str, int], columns: int) -> None:
    """Take columns away, and make others narrower, until their widths fit."""

    def excess() -> int:
        gaps = _GAP * (len(widths) - 1)
        return sum(widths.values()) + gaps - columns

    while excess() > 0:
        last = max(widths, key=_COLUMNS.__getitem__)
        narrowed = widths[last] - excess()
        if last == "task" and narrowed >= _LEAST_TASK:
            widths[last] = narrowed
        elif len(widths) > _LEAST_COLUMNS:
            del widths[last]
        else:
            narrowed = widths["name"] - excess()
            widths["name"] = max(1, narrowed)
            return


def _cells(run: Listed, max_state: int) -> dict[str, str]:
    info = run.info
    state = info.state.word
    if len(state) < max_state:
        state = one_line(state_words(info.state), max_state)
    begun = datetime.fromtimestamp(info.created_at)
    task = info.settings.get("task") or {}
    best = info.best_score
    return {
        "name": visible(info.name),
        "state": state,
        "best": "" if best is None else show_number(best),
        "progress": run.progress,
        "left": run.left,
        "trials": str(info.trials),
        "begun": begun.strftime("%Y-%m-%d %H:%M"),
        "tags": " ".join(info.tags),
        "task": one_line(str(task.get("description", "")), 50),
    }


def head_of(run: Listed, view: RunView, trials: Sequence[Trial]) -> str:
    """Return what one sees first of a run: state, caps, best score, settings, and the best x."""
    info = run.info
    state = state_words(info.state)
    if run.left:
        state += f", {run.left}"
    used = []
    for cap in run.caps:
        if cap.cap is not None:
            label = LABELS[cap.name]
            used.append(f"{label} {used_of(cap)}")
    begun = datetime.fromtimestamp(info.created_at)
    task = info.settings.get("task") or {}
    lines = {
        "run": info.name,
        "state": state,
        "task": one_line(str(task.get("description", "")), 200),
        "best": _best_words(view, trials),
        "used": ", ".join(used),
        "settings": ", ".join(_settings(info.settings)),
        "begun": begun.strftime("%Y-%m-%d %H:%M"),
        "tags": " ".join(info.tags),
    }
    if info.origin is not None:
        origin, last = info.origin.run, info.origin.trial
        lines["fork of"] = f"{origin}, up to trial {last}"
    if info.direction == "minimize":
        lines["direction"] = "minimize: a lower score is better"
    head = []
    for name, text in lines.items():
        if text:
            head.append(f"{name:9} {one_line(text, 400)}")
    best = view.champion
    if best is not None and best.x is not None:
        head += ["", f"x of trial {best.number}:"]
        head += _beginning(best.x)
    return "\n".join(head)


def _best_words(view: RunView, trials: Sequence[Trial]) -> str:
    best = view.champion
    if best is None or best.score is None:
        return "no trial has a score"
    score = show_number(best.score)
    words = f"{score} in trial {best.number} by {best.source}"
    for trial in trials:
        if trial.number == 0 and trial.score is not None and best.number != 0:
            change = signed(best.score - trial.score)
            score = show_number(trial.score)
            words += f"; x0 has {score} ({change})"
    return words


def _settings(settings: Any) -> list[str]:
    words = []
    for name in _BRIEF:
        value = settings.get(name)
        if value is not None and value != "":
            shown = one_line(str(value), 60)
            words.append(f"{name} {shown}")
    return words


def _beginning(x: Any) -> list[str]:
    lines = visible(show_x(x)).splitlines()
    shown = [f"  {line}" for line in lines[:_MAX_X_LINES]]
    more = len(lines) - len(shown)
    if more:
        shown.append(f"  [... {more} more lines]")
    return shown
