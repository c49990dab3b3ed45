"""The live view: a function of what is known of a run and of the size of the screen."""

from __future__ import annotations

import itertools
import textwrap
from typing import TYPE_CHECKING

from ..records import Cap
from ..text import one_line, visible
from ._console_code import Code
from ._console_table import HEADER_LINES, table
from ._lines import doing, failure_line, look_line, score_of, sparkline
from .amounts import LABELS, amount, duration
from .run_view import RunView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_LOW_SCREEN = 18  # lines, below which the task has one of them
_WIDE_SCREEN = 130  # columns, from which the code stands beside the trials
_GAP = 3  # columns, between the table and the code
_FEW_ROWS = 4  # of the table, which the code leaves to it
_LEAST_CODE = 4  # lines, its title included
_BAR_CHARS = 10
_ALWAYS = ("max_steps", "calls", "seconds")  # shown without a cap, too
_WHERE_USED = ("tokens", "usd")
_MAX_TASK_CHARS = 2_000
_MAX_X_LINES = 24  # of the best x, when the run is over


class View:
    """Draws a run; it remembers the colours of the code that it drew last."""

    def __init__(self, run: RunView) -> None:
        """Take what is known of a run, which may grow."""
        self._run = run
        self._code = Code()

    def draw(self, columns: int, lines: int) -> RenderableType:
        """Return the view for a screen of this size: fewer lines than it has, none longer than it is wide."""
        from rich.console import Group

        top, bottom = self._top(columns, lines), self._bottom(columns, lines)
        room = max(1, lines - 1 - len(top) - len(bottom))
        middle = (
            self._side_by_side(columns, room)
            if columns >= _WIDE_SCREEN
            else self._stacked(columns, room)
        )
        return Group(*top, *middle, *bottom)

    def _top(self, columns: int, lines: int) -> list[Text]:
        from rich.text import Text

        run = self._run
        described = visible(" ".join(run.description[:_MAX_TASK_CHARS].split()))
        said = textwrap.wrap(
            described,
            columns,
            max_lines=1 if lines < _LOW_SCREEN else 2,
            placeholder=" …",
        ) or [""]
        return [
            title(run.name, "cyan", columns),
            *(_line(Text(line, style="dim")) for line in said),
            self._headline(columns),
        ]

    def _headline(self, columns: int) -> Text:
        from rich.text import Text

        run, best = self._run, self._run.champion
        if best is None:
            return Text("no score yet", style="dim")
        ago = duration(run.seconds - (run.champion_at - run.begun_at))
        line = _line(Text.assemble(("best ", "bold")))
        line.append(score_of(best), style="bold green")
        line.append(
            f"  trial {best.number} by {one_line(best.source, 30)}, {ago} ago  ",
            style="dim",
        )
        line.append(
            sparkline(run.best_scores, min(100, columns - line.cell_len)), style="green"
        )
        return line

    # The trials, and the code of the best one.

    def _stacked(self, columns: int, room: int) -> list[Text]:
        few = min(self._run.finished, max(_FEW_ROWS, room // 2 - 1))
        code = self._best_code(columns, room - HEADER_LINES - few)
        return [*self._table(columns, max(1, room - HEADER_LINES - len(code))), *code]

    def _side_by_side(self, columns: int, room: int) -> list[Text]:
        from rich.text import Text

        left = columns // 2
        right = columns - left - _GAP
        rows = self._table(left, max(1, room - HEADER_LINES))
        both = itertools.zip_longest(
            rows, self._best_code(right, room), fillvalue=Text()
        )
        return [_beside(row, code, left + _GAP, right) for row, code in both]

    def _best_code(self, columns: int, room: int) -> list[Text]:
        from rich.text import Text

        best, base = self._run.champion, self._run.base
        if best is None or room < _LEAST_CODE:
            return []
        lines = self._code.lines(best, base)
        kept = lines if len(lines) < room else lines[: room - 2]
        more = (
            [Text(f"… {len(lines) - len(kept)} more lines", style="dim")]
            if len(kept) < len(lines)
            else []
        )
        words = (
            f"trial {best.number} against trial {base.number}"
            if base
            else f"x of trial {best.number}"
        )
        return [title(words, "green", columns), *map(_line, [*kept, *more])]

    def _table(self, columns: int, rows: int) -> list[Text]:
        best = self._run.champion
        return table(
            list(self._run.last)[-rows:], None if best is None else best.number, columns
        )

    # What goes on, and what it costs.

    def _bottom(self, columns: int, height: int) -> list[Text]:
        from rich.text import Text

        run = self._run
        lines: list[Text] = []
        if run.failure is not None:
            many = (
                f"{run.failed_calls} calls failed, the last: "
                if run.failed_calls > 1
                else ""
            )
            lines.append(_line(Text(many + failure_line(run.failure), style="yellow")))
        lines.append(
            _line(
                Text(
                    one_line(doing(run), 400),
                    style="dim" if run.result is None else "bold",
                )
            )
        )
        return [*lines, *_flowing(self._spending(), columns)[: max(1, height // 6)]]

    def _spending(self) -> list[Text]:
        from rich.text import Text

        run = self._run
        shown = [
            cap
            for cap in run.caps()
            if cap.cap is not None
            or cap.name in _ALWAYS
            or (cap.name in _WHERE_USED and cap.used)
        ]
        parts = [
            _gauge(cap, run.usage.cost_usd is None and cap.name == "usd")
            for cap in shown
        ]
        if run.usage.calls and not any(cap.name == "usd" for cap in shown):
            parts.append(Text("price unknown", style="dim"))
        left = run.seconds_left()
        if left is not None and run.result is None:
            parts.insert(
                1,
                Text(
                    f"about {duration(round(left) or 1).replace('.00', '')} left",
                    style="bold",
                ),
            )
        return parts


def _gauge(cap: Cap, unknown: bool) -> Text:
    from rich.text import Text

    line = Text.assemble((f"{LABELS.get(cap.name, one_line(cap.name, 30))} ", "dim"))
    used = "unknown" if unknown else amount(cap.name, cap.used)
    if cap.cap is None:
        return line.append(used)
    full = (
        min(_BAR_CHARS, round(_BAR_CHARS * cap.used / cap.cap))
        if cap.cap
        else _BAR_CHARS
    )
    style = "yellow" if full == _BAR_CHARS else "cyan"
    line.append("━" * full, style=style).append("─" * (_BAR_CHARS - full), style="dim")
    return line.append(f" {used}/{amount(cap.name, cap.cap)}")


def _flowing(parts: list[Text], columns: int) -> list[Text]:
    """Return parts in lines, each as full as it can be."""
    from rich.text import Text

    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + 3 + part.cell_len <= columns:
            lines[-1].append("   ").append_text(part)
        else:
            lines.append(_line(Text("").append_text(part)))
    return lines


def _beside(left: Text, right: Text, at: int, width: int) -> Text:
    """Return a line that holds two, the second one from a column on."""
    line = left.copy()
    line.append(" " * (at - line.cell_len))
    cut = right.copy()
    cut.truncate(width, overflow="ellipsis")
    return _line(line.append_text(cut))


def title(words: str, color: str, columns: int) -> Text:
    """Return a line across the screen that begins with some words."""
    from rich.text import Text

    line = Text.assemble((f" {one_line(words, columns - 8)} ", f"bold {color}"))
    line.append(" " + "─" * max(0, columns - 1 - line.cell_len), style=color)
    return _line(line)


def _line(text: Text) -> Text:
    """Return a text that takes one line on every screen."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def ending(run: RunView, columns: int) -> RenderableType:
    """Return what stands below the view when the run is over: the best x, and how to look at the rest."""
    from rich.console import Group
    from rich.text import Text

    hint = Text(look_line(run), style="dim")
    best = run.champion
    if best is None or best.x is None:
        return Group(Text("no trial has a score", style="bold red"), hint)
    lines = Code().lines(best, None)
    more = (
        [Text(f"[... {len(lines) - _MAX_X_LINES} more lines ...]", "dim")]
        if len(lines) > _MAX_X_LINES
        else []
    )
    return Group(title("best x", "green", columns), *lines[:_MAX_X_LINES], *more, hint)
