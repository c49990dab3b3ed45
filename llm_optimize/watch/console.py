"""A run in the terminal: a live view where there is one, plain lines where there is none."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from ..prompts import describe_failure
from ..records import Event, RunEnded, RunStarted, Status, Trial, TrialFinished
from ..text import clip, one_line, show_number, show_x, visible
from ._state import State

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.console import RenderableType
    from rich.live import Live

_REFRESH_HZ = 8
_LOW_SCREEN = 16  # lines, below which the task has one of them
_OTHER_LINES = 9  # of the view besides the trials and the second line of the task
_BAR_CHARS = 12
_MAX_X_LINES = 24
_BLOCKS = "▁▂▃▄▅▆▇█"
_STYLES = {Status.COMPLETE: "", Status.DUPLICATE: "dim", Status.TIMEOUT: "yellow"}


class Console:
    """A watcher that shows a run; `close` gives the terminal back."""

    def __init__(self, file: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to `file`, or to the standard output."""
        self._file = sys.stdout if file is None else file
        self._state = State(clock)
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._state.update(event)
        if not _is_screen(self._file):
            self._write_line(event)
        elif isinstance(event, RunStarted):
            self._open()
        elif isinstance(event, RunEnded):
            self._finish()

    def _open(self) -> None:
        from rich.live import Live

        console = _rich_console(self._file)
        self._live = Live(
            console=console, get_renderable=lambda: view(self._state, console.size), refresh_per_second=_REFRESH_HZ
        )
        self._live.start()

    def _finish(self) -> None:
        self.close()
        console = _rich_console(self._file)
        console.print(ending(self._state))

    def close(self) -> None:
        """Stop the live view; what it showed last stays on the screen. May be called again."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def svg(self, title: str, *, width: int = 100, height: int = 30) -> str:
        """Return the view as it is now, as a picture (SVG)."""
        from rich.console import Console as RichConsole
        from rich.console import ConsoleDimensions

        console = RichConsole(file=io.StringIO(), record=True, width=width, force_terminal=True, highlight=False)
        console.print(view(self._state, ConsoleDimensions(width, height)))
        return console.export_svg(title=title)

    def _write_line(self, event: Event) -> None:
        for line in plain_lines(self._state, event):
            self._file.write(line + "\n")
        self._file.flush()

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def _is_screen(file: TextIO) -> bool:
    return file.isatty() and os.environ.get("TERM", "") not in ("dumb", "")


def _rich_console(file: TextIO) -> RichConsole:
    from rich.console import Console as RichConsole

    return RichConsole(file=file, highlight=False, soft_wrap=False)


# Plain lines.


def plain_lines(state: State, event: Event) -> list[str]:
    """Return what an event says in lines without any control character."""
    match event:
        case RunStarted():
            again = f", {len(event.trials)} trials so far" if event.trials else ""
            return [f"run {event.name}: {one_line(event.task.description, 100)}{again}"]
        case TrialFinished():
            return [_trial_line(state, event.trial)]
        case RunEnded():
            best = state.champion
            found = f"best {_score(best)} in trial {best.number}" if best else "no trial has a score"
            calls = f"{state.usage.calls} model calls, {state.usage.tokens} tokens"
            return [
                f"{one_line(event.result.stop_reason, 400)}: {found}; {state.finished} trials, {calls}, "
                f"{state.seconds:.1f} s",
                f"look at it: llm-optimize show {state.name}",
            ]
    return []


def _trial_line(state: State, trial: Trial) -> str:
    _, change = state.last[-1]
    mark = "best" if trial is state.champion else ""
    score = _score(trial) if trial.scored else trial.status.value
    difference = "" if change is None else f"{change or 0.0:+.4g}"
    why = "" if trial.status is Status.COMPLETE else one_line(describe_failure(trial), 80)
    what = f"{trial.number:4d}  {mark:4}  {score:>10}  {difference:>10}  {one_line(trial.source, 24):24}"
    return f"{what}  {trial.seconds:7.2f} s  {why}".rstrip()


def _score(trial: Trial) -> str:
    return "" if trial.score is None else show_number(trial.score)


# The view: a function of the state and the size of the screen.


def view(state: State, size: Any) -> RenderableType:
    """Return the whole view for a screen of this size."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.text import Text

    width = min(size.width, 120)
    task_lines = 1 if size.height < _LOW_SCREEN else 2
    title = Text(f" {state.name} ", style="bold cyan")
    parts: list[RenderableType] = [
        Rule(title, align="left", style="cyan"),
        Text(one_line(state.description, task_lines * (width - 2)), style="dim"),
        _headline(state, width),
        _table(state, max(1, size.height - _OTHER_LINES - task_lines + 1), width),
        _in_flight(state, width),
        _spending(state, low=size.height < _LOW_SCREEN),
    ]
    return Group(*parts)


def _headline(state: State, width: int) -> RenderableType:
    from rich.text import Text

    best = state.champion
    if best is None:
        return Text("no score yet", style="dim")
    ago = _duration(state.seconds - (state.champion_at - state.begun_at))
    line = Text("best ", style="bold", no_wrap=True, overflow="ellipsis")
    line.append(_score(best), style="bold green")
    line.append(f"  trial {best.number} by {one_line(best.source, 30)}, {ago} ago  ", style="dim")
    line.append(sparkline(state.best_scores, max(8, width - line.cell_len - 2)), style="green")
    return line


def sparkline(values: list[float], width: int) -> str:
    """Return values as a row of blocks, at most `width` of them.

    >>> sparkline([0, 1, 2, 3], 4)
    '▁▃▆█'
    """
    if not values:
        return ""
    count = min(width, len(values))
    shown = [values[int((place + 1) * len(values) / count) - 1] for place in range(count)]
    low, high = min(shown), max(shown)
    top = len(_BLOCKS) - 1
    return "".join(_BLOCKS[round((value - low) / (high - low) * top) if high > low else 0] for value in shown)


def _table(state: State, rows: int, width: int) -> RenderableType:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, width=width, pad_edge=False, header_style="dim", show_edge=False)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True, max_width=26)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("to best", justify="right", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what it was", no_wrap=True, ratio=1, overflow="ellipsis")
    for trial, change in list(state.last)[-rows:]:
        table.add_row(*_cells(trial, change, trial is state.champion))
    return table


def _cells(trial: Trial, change: float | None, champion: bool) -> list[RenderableType]:
    from rich.text import Text

    style = "bold green" if champion else _STYLES.get(trial.status, "red")
    better = change is not None and change > 0
    what = one_line(trial.feedback, 200) if trial.status is Status.COMPLETE else describe_failure(trial)
    return [
        Text(("★ " if champion else "") + str(trial.number), style=style),
        Text(one_line(trial.source, 40), style="dim" if trial.source == "x0" else ""),
        Text(_score(trial) or trial.status.value, style=style),
        Text("" if change is None else f"{change or 0.0:+.3g}", style="green" if better else "dim"),
        Text(_duration(trial.seconds), style="dim"),
        Text(visible(what), style="dim" if trial.status is Status.COMPLETE else style),
    ]


def _in_flight(state: State, width: int) -> RenderableType:
    from rich.text import Text

    waiting = ", ".join(f"{number} {what}" for number, what in sorted(state.flying.items()))
    if state.result is not None:
        return Text(one_line(f"ended: {state.result.stop_reason}", width), style="bold")
    return Text(one_line(f"in flight: {waiting or 'nothing'}", width), style="dim")


def _spending(state: State, *, low: bool) -> RenderableType:
    from rich.text import Text

    line = Text(no_wrap=low, overflow="ellipsis")
    for name, amount, cap in state.spent():
        shown = _duration(amount) if name == "seconds" else f"{amount:,.0f}"
        line.append(f"{name if name != 'seconds' else 'time'} ", style="dim")
        if cap:
            full = min(_BAR_CHARS, round(_BAR_CHARS * amount / cap))
            line.append("━" * full, style="cyan").append("━" * (_BAR_CHARS - full), style="bright_black")
            total = _duration(cap) if name == "seconds" else f"{cap:,.0f}"
            line.append(f" {shown}/{total}   ")
        else:
            line.append(f"{shown}   ")
    if state.usage.calls:
        cost = state.usage.cost_usd
        line.append("price unknown" if cost is None else f"${cost:.4f}", style="dim")
    return line


def ending(state: State) -> RenderableType:
    """Return what stands below the view when the run is over: the best x, and how to look at the rest."""
    from rich.console import Group
    from rich.rule import Rule
    from rich.syntax import Syntax
    from rich.text import Text

    hint = Text(f"look at it: llm-optimize show {state.name}", style="dim")
    best = state.champion
    if best is None or best.x is None:
        return Group(Text("no trial has a score", style="bold red"), hint)
    lines = visible(show_x(best.x)).splitlines()
    more = [f"[... {len(lines) - _MAX_X_LINES} more lines ...]"] if len(lines) > _MAX_X_LINES else []
    shown = "\n".join([*lines[:_MAX_X_LINES], *more])
    code = clip(shown, 8_000)
    body: RenderableType = Text(code)
    if any(word in code for word in ("import ", "def ", "return ", " = ")):
        body = Syntax(code, "python", theme="ansi_dark", background_color="default", word_wrap=True)
    return Group(Rule(Text(" best x ", style="bold green"), align="left", style="green"), body, hint)


def _duration(seconds: float) -> str:
    """Return a time span for reading.

    >>> _duration(0.05), _duration(75), _duration(4000)
    ('0.05 s', '1m15s', '1h06m')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"
