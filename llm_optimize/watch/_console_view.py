"""The live view: a function of what is known of a run and of the size of the screen."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from ..prompts import describe_failure
from ..records import Cap, Status, Trial
from ..text import one_line, visible
from ._console_code import Code
from ._lines import LABELS, amount, duration, failure_line, look_line, score_of, sparkline, verdict
from ._state import State

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

_LOW_SCREEN = 18  # lines, below which the task has one of them
_WIDE_SCREEN = 130  # columns, from which the code stands beside the trials
_HEADER_LINES = 2  # of the table
_GAP = 3  # columns, between the table and the code
_FEW_ROWS = 4  # of the table, which the code leaves to it
_LEAST_CODE = 4  # lines, its title included
_BAR_CHARS = 10
_ALWAYS = ("max_steps", "calls", "seconds")  # shown without a cap, too
_WHERE_USED = ("tokens", "usd")
_MAX_X_LINES = 24  # of the best x, when the run is over
_STYLES = {Status.COMPLETE: "", Status.DUPLICATE: "dim", Status.TIMEOUT: "yellow"}


class View:
    """Draws a run; it remembers the colours of the code that it drew last."""

    def __init__(self, state: State) -> None:
        """Take what is known of a run, which may grow."""
        self._state = state
        self._code = Code()

    def draw(self, columns: int, lines: int) -> RenderableType:
        """Return the view for a screen of this size: fewer lines than it has, none longer than it is wide."""
        from rich.console import Group

        top, bottom = self._top(columns, lines), self._bottom(columns, lines)
        room = max(1, lines - 1 - len(top) - len(bottom))
        middle = self._side_by_side(columns, room) if columns >= _WIDE_SCREEN else self._stacked(columns, room)
        return Group(*top, *middle, *bottom)

    def _top(self, columns: int, lines: int) -> list[RenderableType]:
        from rich.text import Text

        state = self._state
        described = visible(" ".join(state.description.split()))
        said = textwrap.wrap(described, columns, max_lines=1 if lines < _LOW_SCREEN else 2, placeholder=" …") or [""]
        return [
            title(one_line(state.name, columns - 8), "cyan"),
            *(_line(Text(line, style="dim")) for line in said),
            self._headline(columns),
        ]

    def _headline(self, columns: int) -> Text:
        from rich.text import Text

        state, best = self._state, self._state.champion
        if best is None:
            return Text("no score yet", style="dim")
        ago = duration(state.seconds - (state.champion_at - state.begun_at))
        line = _line(Text.assemble(("best ", "bold")))
        line.append(score_of(best), style="bold green")
        line.append(f"  trial {best.number} by {one_line(best.source, 30)}, {ago} ago  ", style="dim")
        line.append(sparkline(state.best_scores, min(100, columns - line.cell_len)), style="green")
        return line

    # The trials, and the code of the best one.

    def _stacked(self, columns: int, room: int) -> list[RenderableType]:
        few = min(self._state.finished, max(_FEW_ROWS, room // 2 - 1))
        code = self._best_code(columns, room - _HEADER_LINES - few)
        rows = max(1, room - _HEADER_LINES - len(code))
        return [self._table(columns, rows), *code]

    def _side_by_side(self, columns: int, room: int) -> list[RenderableType]:
        from rich.console import Group
        from rich.table import Table

        left = columns // 2
        right = columns - left - _GAP
        grid = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        grid.add_column(width=left)
        grid.add_column(width=right)
        grid.add_row(self._table(left, max(1, room - _HEADER_LINES)), Group(*self._best_code(right, room)))
        return [grid]

    def _best_code(self, columns: int, room: int) -> list[RenderableType]:
        from rich.text import Text

        best, base = self._state.champion, self._state.base
        if best is None or room < _LEAST_CODE:
            return []
        lines = self._code.lines(best, base)
        kept = lines if len(lines) < room else lines[: room - 2]
        more = [Text(f"… {len(lines) - len(kept)} more lines", style="dim")] if len(kept) < len(lines) else []
        words = f"trial {best.number} against trial {base.number}" if base else f"x of trial {best.number}"
        return [title(one_line(words, columns - 8), "green"), *map(_line, [*kept, *more])]

    def _table(self, columns: int, rows: int) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        table = Table(
            box=SIMPLE_HEAD, width=columns, pad_edge=False, header_style="dim", show_edge=False, border_style="dim"
        )
        table.add_column("trial", justify="right", no_wrap=True)
        table.add_column("source", no_wrap=True, max_width=max(8, min(26, columns // 4)))
        table.add_column("score", justify="right", no_wrap=True)
        table.add_column("to best", justify="right", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("what it was", no_wrap=True, ratio=1, overflow="ellipsis")
        best = self._state.champion
        for trial, change in list(self._state.last)[-rows:]:
            table.add_row(*_cells(trial, change, best is not None and best.number == trial.number))
        return table

    # What goes on, and what it costs.

    def _bottom(self, columns: int, height: int) -> list[RenderableType]:
        from rich.text import Text

        state = self._state
        lines: list[RenderableType] = []
        if state.failure is not None:
            many = f"{state.failed_calls} calls failed, the last: " if state.failed_calls > 1 else ""
            lines.append(_line(Text(many + failure_line(state.failure), style="yellow")))
        if state.result is not None:
            lines.append(_line(Text(one_line(f"ended: {state.result.stop_reason}", 400), style="bold")))
        else:
            waiting = ", ".join(f"{number} {what}" for number, what in sorted(state.flying.items()))
            lines.append(_line(Text(one_line(f"in flight: {waiting or 'nothing'}", 400), style="dim")))
        return [*lines, *_flowing(self._spending(), columns)[: max(1, height // 6)]]

    def _spending(self) -> list[Text]:
        from rich.text import Text

        state = self._state
        shown = [
            cap
            for cap in state.caps()
            if cap.cap is not None or cap.name in _ALWAYS or (cap.name in _WHERE_USED and cap.used)
        ]
        parts = [_gauge(cap, state.usage.cost_usd is None and cap.name == "usd") for cap in shown]
        if state.usage.calls and not any(cap.name == "usd" for cap in shown):
            parts.append(Text("price unknown", style="dim"))
        left = state.seconds_left()
        if left is not None and state.result is None:
            parts.insert(1, Text(f"about {duration(round(left) or 1).replace('.00', '')} left", style="bold"))
        return parts


def _gauge(cap: Cap, unknown: bool) -> Text:
    from rich.text import Text

    line = Text.assemble((f"{LABELS.get(cap.name, one_line(cap.name, 30))} ", "dim"))
    used = "unknown" if unknown else amount(cap.name, cap.used)
    if cap.cap is None:
        return line.append(used)
    full = min(_BAR_CHARS, round(_BAR_CHARS * cap.used / cap.cap)) if cap.cap else _BAR_CHARS
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


def _cells(trial: Trial, change: float | None, champion: bool) -> list[RenderableType]:
    from rich.text import Text

    style = "bold green" if champion else _STYLES.get(trial.status, "red")
    better = change is not None and change > 0
    what = trial.feedback if trial.status is Status.COMPLETE else describe_failure(trial)
    return [
        Text(("★ " if champion else "") + str(trial.number), style=style),
        Text(one_line(trial.source, 40), style="dim" if trial.source == "x0" else ""),
        Text(verdict(trial), style=style),
        Text("" if change is None else f"{change or 0.0:+.3g}", style="green" if better else "dim"),
        Text(duration(trial.seconds), style="dim"),
        Text(one_line(what, 200), style="dim" if trial.status is Status.COMPLETE else style),
    ]


def title(words: str, color: str) -> RenderableType:
    """Return a line across the screen that begins with some words, made harmless already."""
    from rich.rule import Rule
    from rich.text import Text

    return Rule(Text(f" {words} ", style=f"bold {color}"), align="left", style=color)


def _line(text: Text) -> Text:
    """Return a text that takes one line on every screen."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def ending(state: State, columns: int) -> RenderableType:
    """Return what stands below the view when the run is over: the best x, and how to look at the rest."""
    from rich.console import Group
    from rich.text import Text

    hint = Text(look_line(state), style="dim")
    best = state.champion
    if best is None or best.x is None:
        return Group(Text("no trial has a score", style="bold red"), hint)
    lines = Code().lines(best, None)
    more = [Text(f"[... {len(lines) - _MAX_X_LINES} more lines ...]", "dim")] if len(lines) > _MAX_X_LINES else []
    return Group(title("best x", "green"), *lines[:_MAX_X_LINES], *more, hint)
