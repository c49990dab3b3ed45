"""Terminal watcher: a live view where the terminal can show one, plain lines elsewhere.

With its `_console_*` files the only door to rich. Whatever is in x or in feedback is shown as
text; nothing of it is sent to the terminal as a command.
"""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from ..records import Event, Noticed, RunEnded, RunStarted
from ._console_view import View, ending
from ._plain_lines import plain_lines
from .run_view import RunView

if TYPE_CHECKING:
    from rich.console import Console as RichConsole
    from rich.live import Live

_REFRESH_HZ = 4  # a view takes milliseconds to draw, which the run must not notice
_LEAST_COLUMNS, _LEAST_LINES = 60, 12  # of a screen with a live view
_BLOCKS_AND_STARS = "▁★━…"  # that a terminal must be able to show for it
# Fonts that a picture would load; every viewer has one of fixed width.
_FONTS_TO_LOAD = re.compile(r"@font-face \{.*?\}\s*", re.S)


class Console:
    """A watcher that shows a run; `close` gives the terminal back.

    A terminal of at least 60 columns and 12 lines has a live view. A smaller or a dumb one, a file
    and a pipe get plain lines without any control character. With NO_COLOR in the environment
    there are no colors.

    Args:
        file: where to write; None is the standard output.
        clock: returns seconds.

    >>> import pathlib
    >>> from llm_optimize import optimize
    >>> def model(messages):
    ...     return "```\\n2\\n```"
    >>> with open("run.txt", "w") as file, Console(file) as console:
    ...     result = optimize.run("d", "q", float, "1", 1, model, False, sandbox="inline",
    ...                           name="amber", callbacks=[console])
    >>> print(pathlib.Path("run.txt").read_text().splitlines()[-1])  # doctest: +ELLIPSIS
    look at it: ...llm-optimize show amber
    """

    def __init__(
        self,
        file: TextIO | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = sys.stdout if file is None else file
        self._run = RunView(clock)
        self._view = View(self._run)
        self._live: Live | None = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        self._run.update(event)
        if isinstance(event, RunStarted) and self._has_view():
            self._open()
        elif isinstance(event, RunEnded) and self._live is not None:
            self._finish()
        elif isinstance(event, Noticed) and self._live is not None:
            self._live.console.print(f"note: {event.text}", markup=False)
        elif self._live is None:
            self._write_lines(event)

    def _has_view(self) -> bool:
        is_dumb = os.environ.get("TERM", "") in ("dumb", "")
        if is_dumb or not self._file.isatty() or not _can_write_blocks(self._file):
            return False
        width, height = _rich_console(self._file).size
        return width >= _LEAST_COLUMNS and height >= _LEAST_LINES

    def _open(self) -> None:
        from rich.live import Live

        console = _rich_console(self._file)
        self._live = Live(
            console=console,
            get_renderable=lambda: self._view.draw(console.width, console.height),
            refresh_per_second=_REFRESH_HZ,
        )
        self._live.start()

    def _finish(self) -> None:
        self.close()
        console = _rich_console(self._file)
        last = ending(self._run, console.width)
        console.print(last)

    def close(self) -> None:
        """Stop the live view; its last picture stays on the screen. May be called again."""
        if self._live is not None:
            self._live.refresh()
            self._live.stop()
            self._live = None

    def svg(
        self,
        title: str,
        *,
        width: int = 100,
        height: int = 30,
    ) -> str:
        """Return the present view as a picture (SVG) that loads nothing; sizes in characters."""
        from rich.console import Console as RichConsole

        console = RichConsole(
            file=io.StringIO(),
            record=True,
            width=width,
            force_terminal=True,
            color_system="truecolor",
            highlight=False,
        )
        console.print(self._view.draw(width, height))
        return _FONTS_TO_LOAD.sub("", console.export_svg(title=title))

    def _write_lines(self, event: Event) -> None:
        columns = None
        if self._file.isatty():
            columns = _rich_console(self._file).width
        encoding = getattr(self._file, "encoding", None) or "utf-8"
        for line in plain_lines(self._run, event, columns):
            writable = line.encode(encoding, "replace").decode(encoding)
            self._file.write(writable + "\n")
        self._file.flush()

    def __enter__(self) -> Console:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()


def _can_write_blocks(file: TextIO) -> bool:
    try:
        _BLOCKS_AND_STARS.encode(getattr(file, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _rich_console(file: TextIO) -> RichConsole:
    from rich.console import Console as RichConsole

    return RichConsole(file=file, highlight=False, soft_wrap=False)
