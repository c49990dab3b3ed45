"""The live view in a terminal: a function of a `RunView` and the size of the screen.

From top to bottom: name, task and best score; the last trials, and the code of the best one
below or beside them; what is in flight, and what is used of each cap. The table is drawn by hand,
at exactly the width of the screen: a general one takes 30 ms, four times a second.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..records import Cap, Status, Trial, describe_failure
from ..text import one_line, visible
from ._console_code import Code
from ._plain_lines import doing, failure_line, look_line, score_of, sparkline, verdict
from .amounts import LABELS, amount, duration, signed
from .run_view import RunView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    Cell = tuple[str, str]  # a text, and its style

_LOW_SCREEN = 18  # lines, below which the task has one of them
_WIDE_SCREEN = 130  # columns, from which the code stands beside the trials
_CODE_GAP = 3  # columns, between the table and the code
_FEW_ROWS = 4  # of the table, which the code leaves to it
_LEAST_CODE = 4  # lines, its title included
_BAR_CHARS = 10
_ALWAYS = ("max_steps", "calls", "seconds")  # shown without a cap, too
_WHERE_USED = ("tokens", "usd")
_MAX_TASK_CHARS = 2_000
_MAX_X_LINES = 24  # of the best x, when the run is over

_HEADER_LINES = 2  # of the table
_GAP = "   "  # between two columns of it
_TITLES = ("trial", "source", "score", "vs best", "time", "feedback")
_TO_BEST = 3  # column
_RIGHT = (True, False, True, True, True, False)  # columns aligned to the right
_STYLES = {Status.COMPLETE: "", Status.DUPLICATE: "dim", Status.TIMEOUT: "yellow"}
_MAX_CELL_CHARS = 400  # no screen is wider


class View:
    """Draws a run, which may go on; it caches the highlighted code.

    Args:
        run: what is known of the run, updated by its owner.
    """

    def __init__(self, run: RunView) -> None:
        self._run = run
        self._code = Code()

    def draw(self, columns: int, lines: int) -> RenderableType:
        """Return the view, in fewer lines than the screen has and none wider than it."""
        from rich.console import Group

        top = self._top(columns, lines)
        bottom = self._bottom(columns, lines)
        taken = len(top) + len(bottom) + 1
        free = max(1, lines - taken)
        if columns >= _WIDE_SCREEN:
            middle = self._side_by_side(columns, free)
        else:
            middle = self._stacked(columns, free)
        return Group(*top, *middle, *bottom)

    def _top(self, columns: int, lines: int) -> list[Text]:
        from rich.text import Text

        run = self._run
        words = run.description[:_MAX_TASK_CHARS].split()
        max_lines = 1 if lines < _LOW_SCREEN else 2
        described = textwrap.wrap(
            visible(" ".join(words)), columns, max_lines=max_lines, placeholder=" …"
        )
        top = [title(run.name, "cyan", columns)]
        for line in described or [""]:
            top.append(_line(Text(line, style="dim")))
        top.append(self._headline(columns))
        return top

    def _headline(self, columns: int) -> Text:
        from rich.text import Text

        run, best = self._run, self._run.champion
        if best is None:
            return Text("no score yet", style="dim")
        ago = duration(run.seconds - (run.champion_at - run.begun_at))
        source = one_line(best.source, 30)
        line = _line(Text.assemble(("best ", "bold")))
        line.append(score_of(best), style="bold green")
        line.append(f"  trial {best.number} by {source}, {ago} ago  ", style="dim")
        width = min(100, columns - line.cell_len)
        line.append(sparkline(run.best_scores, width), style="green")
        return line

    # The trials, and the code of the best one.

    def _stacked(self, columns: int, lines: int) -> list[Text]:
        """Return the table above the code; the code gets at most about half of the lines."""
        lines -= _HEADER_LINES
        half = max(_FEW_ROWS, (lines + _HEADER_LINES) // 2 - 1)
        rows = min(self._run.finished, half)
        code = self._best_code(columns, lines - rows)
        rows = max(1, lines - len(code))
        return [*self._table(columns, rows), *code]

    def _side_by_side(self, columns: int, lines: int) -> list[Text]:
        from rich.text import Text

        left = columns // 2
        right = columns - left - _CODE_GAP
        rows = max(1, lines - _HEADER_LINES)
        table = self._table(left, rows)
        code = self._best_code(right, lines)
        start = left + _CODE_GAP
        pairs = itertools.zip_longest(table, code, fillvalue=Text())
        return [_beside(row, line, start, right) for row, line in pairs]

    def _best_code(self, columns: int, lines: int) -> list[Text]:
        from rich.text import Text

        best, base = self._run.champion, self._run.base
        if best is None or lines < _LEAST_CODE:
            return []
        code = self._code.lines(best, base)
        if len(code) >= lines:  # the title, and a line about the rest
            left_out = len(code) - (lines - 2)
            code = code[: lines - 2]
            code.append(Text(f"… {left_out} more lines", style="dim"))
        words = f"x of trial {best.number}"
        if base is not None:
            words = f"trial {best.number} against trial {base.number}"
        return [title(words, "green", columns), *map(_line, code)]

    def _table(self, columns: int, rows: int) -> list[Text]:
        best = self._run.champion
        number = None if best is None else best.number
        trials = list(self._run.last)
        return _table(trials[-rows:], number, columns, self._run.is_gain)

    # What is in flight, and what is used.

    def _bottom(self, columns: int, height: int) -> list[Text]:
        from rich.text import Text

        run = self._run
        lines: list[Text] = []
        if run.failure is not None:
            words = failure_line(run.failure)
            if run.failed_calls > 1:
                words = f"{run.failed_calls} calls failed, the last: {words}"
            lines.append(_line(Text(words, style="yellow")))
        style = "dim" if run.result is None else "bold"
        words = one_line(doing(run), 400)
        lines.append(_line(Text(words, style=style)))
        gauges = _flowing(self._gauges(), columns)
        most = max(1, height // 6)
        return [*lines, *gauges[:most]]

    def _gauges(self) -> list[Text]:
        """Return what is used of each cap, what is left of the time, and an unknown price."""
        from rich.text import Text

        run = self._run
        shown = []
        for cap in run.caps():
            is_used = cap.name in _WHERE_USED and cap.used
            if cap.cap is not None or cap.name in _ALWAYS or is_used:
                shown.append(cap)
        parts = []
        for cap in shown:
            is_unknown = cap.name == "usd" and run.usage.cost_usd is None
            parts.append(_gauge(cap, "unknown" if is_unknown else None))
        names = [cap.name for cap in shown]
        if run.usage.calls and "usd" not in names:
            parts.append(Text("price unknown", style="dim"))
        left = run.seconds_left()
        if left is not None and run.result is None:
            shown_left = duration(round(left) or 1)
            words = f"about {shown_left} left".replace(".00", "")
            parts.insert(1, Text(words, style="bold"))
        return parts


def _gauge(cap: Cap, used: str | None) -> Text:
    """Return the name of a cap, a bar, and its use: the given words, or the amount."""
    from rich.text import Text

    if used is None:
        used = amount(cap.name, cap.used)
    label = LABELS.get(cap.name, one_line(cap.name, 30))
    line = Text.assemble((f"{label} ", "dim"))
    if cap.cap is None:
        return line.append(used)
    full = _BAR_CHARS
    if cap.cap:
        share = cap.used / cap.cap
        full = min(_BAR_CHARS, round(_BAR_CHARS * share))
    color = "yellow" if full == _BAR_CHARS else "cyan"
    line.append("━" * full, style=color)
    line.append("─" * (_BAR_CHARS - full), style="dim")
    most = amount(cap.name, cap.cap)
    return line.append(f" {used}/{most}")


# The table of the last trials.


def _table(
    trials: Sequence[tuple[Trial, float | None]],
    champion: int | None,
    columns: int,
    is_gain: Callable[[float], bool],
) -> list[Text]:
    """Return a header of two lines and a line for each trial.

    Args:
        trials: each with its change to the best one before.
        champion: number of the best trial.
        columns: width of every line.
        is_gain: whether a change is for the better.
    """
    from rich.cells import cell_len
    from rich.text import Text

    rows = [[(name, "dim") for name in _TITLES]]
    for trial, change in trials:
        is_champion = trial.number == champion
        row = _cells(trial, change, is_champion, columns)
        if change is not None and is_gain(change):
            row[_TO_BEST] = (signed(change), "green")
        rows.append(row)

    # Every column is as wide as its widest cell, and the last one takes the rest.
    widths = []
    taken = 0
    for cells in list(zip(*rows, strict=True))[:-1]:
        width = max(cell_len(text) for text, _ in cells)
        widths.append(width)
        taken += width + len(_GAP)
    widths.append(max(1, columns - taken))

    lines = [_row(row, widths) for row in rows]
    for line in lines:
        line.truncate(columns, overflow="ellipsis")
    lines.insert(1, Text("─" * columns, style="dim"))
    return lines


def _cells(
    trial: Trial,
    change: float | None,
    is_champion: bool,
    columns: int,
) -> list[Cell]:
    number = str(trial.number)
    style = _STYLES.get(trial.status, "red")
    if is_champion:
        number = f"★ {number}"
        style = "bold green"
    what, what_style = describe_failure(trial), style
    if trial.status is Status.COMPLETE:
        what, what_style = trial.feedback[:_MAX_CELL_CHARS], "dim"
    to_best = "" if change is None else signed(change)
    source_chars = max(8, min(26, columns // 4))
    source = one_line(trial.source, source_chars)
    return [
        (number, style),
        (source, "dim" if trial.source == "x0" else ""),
        (verdict(trial), style),
        (to_best, "dim"),
        (duration(trial.seconds), "dim"),
        (one_line(what, _MAX_CELL_CHARS), what_style),
    ]


def _row(
    cells: Sequence[Cell],
    widths: Sequence[int],
) -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    last = len(cells) - 1
    for place, (text, style) in enumerate(cells):
        fitted = _fitted(text, widths[place], right=_RIGHT[place])
        line.append(fitted, style=style)
        if place < last:
            line.append(_GAP)
    return line


def _fitted(text: str, width: int, *, right: bool) -> str:
    """Return text of exactly this width on the screen, where wide letters take two columns."""
    from rich.cells import cell_len, set_cell_size

    space = width - cell_len(text)
    if space < 0:
        return set_cell_size(text, width - 1) + "…"
    return " " * space + text if right else text + " " * space


# Lines.


def _flowing(
    parts: list[Text],
    columns: int,
) -> list[Text]:
    """Return parts side by side in lines, each line as full as it can be."""
    from rich.text import Text

    lines: list[Text] = []
    for part in parts:
        needed = len(_GAP) + part.cell_len
        if lines and lines[-1].cell_len + needed <= columns:
            lines[-1].append(_GAP)
        else:
            lines.append(_line(Text("")))
        lines[-1].append_text(part)
    return lines


def _beside(
    left: Text,
    right: Text,
    start: int,
    width: int,
) -> Text:
    """Return a line that holds two, the second one from column `start` on."""
    line = left.copy()
    line.append(" " * (start - line.cell_len))
    cut = right.copy()
    cut.truncate(width, overflow="ellipsis")
    return _line(line.append_text(cut))


def title(words: str, color: str, columns: int) -> Text:
    """Return a rule across the screen that begins with some words."""
    from rich.text import Text

    words = one_line(words, columns - 8)
    line = Text.assemble((f" {words} ", f"bold {color}"))
    rest = columns - 1 - line.cell_len
    line.append(" " + "─" * max(0, rest), style=color)
    return _line(line)


def _line(text: Text) -> Text:
    """Return a text that takes one line on every screen."""
    text.no_wrap = True
    text.overflow = "ellipsis"
    return text


def ending(run: RunView, columns: int) -> RenderableType:
    """Return what stands below the view of an ended run: the best x, and how to see the rest.

    An error is said once more in full, with what to do about it: the view has only its beginning.
    """
    from rich.console import Group
    from rich.text import Text

    hint = [Text(look_line(run), style="dim")]
    reason = run.stop_reason or ""
    if reason.startswith("error"):
        hint.insert(0, Text(visible(reason), style="red"))
    best = run.champion
    if best is None or best.x is None:
        return Group(Text("no trial has a score", style="bold red"), *hint)
    lines = Code().lines(best, None)
    shown = lines[:_MAX_X_LINES]
    if len(lines) > len(shown):
        more = len(lines) - len(shown)
        shown.append(Text(f"[... {more} more lines ...]", "dim"))
    return Group(title("best x", "green", columns), *shown, *hint)
