"""The last trials in a terminal: lines of exactly the width of the screen, since a general table takes long to draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..records import Status, Trial, describe_failure
from ..text import one_line
from ._lines import verdict
from .amounts import duration, signed

if TYPE_CHECKING:
    from rich.text import Text

HEADER_LINES = 2
_GAP = "   "
_NAMES = ("trial", "source", "score", "to best", "time", "what it was")
_RIGHT = (
    True,
    False,
    True,
    True,
    True,
    False,
)  # which columns are aligned to the right
_STYLES = {Status.COMPLETE: "", Status.DUPLICATE: "dim", Status.TIMEOUT: "yellow"}
_MAX_CHARS = 400  # of a cell; no screen is wider


def table(
    trials: Sequence[tuple[Trial, float | None]], champion: int | None, columns: int
) -> list[Text]:
    """Return a header of two lines and a line for each trial, given with its change to the best one before.

    `champion` is the number of the best trial.
    """
    from rich.cells import cell_len
    from rich.text import Text

    rows = [
        _cells(trial, change, trial.number == champion, columns)
        for trial, change in trials
    ]
    names = [(name, "dim") for name in _NAMES]
    widths = [
        max(cell_len(row[place][0]) for row in [names, *rows])
        for place in range(len(_NAMES) - 1)
    ]
    widths.append(max(1, columns - sum(widths) - len(_GAP) * len(widths)))
    lines = [_row(row, widths) for row in [names, *rows]]
    for line in lines:
        line.truncate(columns, overflow="ellipsis")
    return [lines[0], Text("─" * columns, style="dim"), *lines[1:]]


def _row(cells: Sequence[tuple[str, str]], widths: Sequence[int]) -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    for place, ((text, style), width) in enumerate(zip(cells, widths, strict=True)):
        line.append(_fitted(text, width, right=_RIGHT[place]), style=style)
        line.append(_GAP if place < len(widths) - 1 else "")
    return line


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Return text of exactly this width on the screen, where wide letters take two places."""
    from rich.cells import cell_len, set_cell_size

    wide = cell_len(text)
    if wide > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - wide) + text if right else text + " " * (width - wide)


def _cells(
    trial: Trial, change: float | None, champion: bool, columns: int
) -> list[tuple[str, str]]:
    """Return the texts of a row, each with its style."""
    style = "bold green" if champion else _STYLES.get(trial.status, "red")
    complete = trial.status is Status.COMPLETE
    what = trial.feedback[:_MAX_CHARS] if complete else describe_failure(trial)
    return [
        (("★ " if champion else "") + str(trial.number), style),
        (
            one_line(trial.source, max(8, min(26, columns // 4))),
            "dim" if trial.source == "x0" else "",
        ),
        (verdict(trial), style),
        (
            "" if change is None else signed(change),
            "green" if change is not None and change > 0 else "dim",
        ),
        (duration(trial.seconds), "dim"),
        (one_line(what, _MAX_CHARS), "dim" if complete else style),
    ]
