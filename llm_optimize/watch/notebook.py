"""Notebook watcher: shows a run below the cell that started it, redrawn twice a second at most.

The only module that imports IPython, and only when a `Notebook` is made. Like every watcher it
reads events and steers nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import require
from ..records import Cap, Event, RunEnded, RunStarted, Trial
from ..text import show_number
from ._plain_lines import doing, failure_line
from .amounts import LABELS, duration, used_of
from .cells import cell_number
from .html_parts import as_html, bar_html, curve_html, table_html, x_html
from .rendering import champions, shown_scores
from .run_view import RunView

_ROWS = 10  # of the table
_EVERY_SECS = 0.5  # between two pictures


class Notebook:
    """A watcher that shows a run in a notebook; `verbose=True` uses it where there is one.

    Args:
        clock: returns seconds.

    Raises MissingExtra where IPython is not installed.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        require("IPython", needed_by="Notebook")
        from IPython.display import HTML, DisplayHandle

        handle: Any = DisplayHandle
        self._html: Any = HTML
        self._handle = handle()
        self._clock = clock
        self._run = RunView(clock)
        self._begun = False
        self._shown_at = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event; the output changes at most twice a second."""
        self._run.update(event)
        if isinstance(event, RunEnded):
            # Else a cell that ends in this run would show it twice.
            event.result.shown_in_cell = cell_number()
        is_due = self._clock() - self._shown_at >= _EVERY_SECS
        if is_due or isinstance(event, RunStarted | RunEnded):
            self._show()

    def _show(self) -> None:
        picture = self._html(page(self._run))
        if self._begun:
            self._handle.update(picture)
        else:
            self._handle.display(picture)
        self._begun = True
        self._shown_at = self._clock()

    def close(self) -> None:
        """Show the last state of a run that did not end. May be called again."""
        if self._begun and self._run.result is None:
            self._show()

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()


def page(run: RunView) -> str:
    """Return the state of a run as HTML."""
    best = run.champion
    trials = [trial for trial, _ in list(run.last)]
    shown = trials[-_ROWS:]
    activity = doing(run)
    if run.failure is not None and run.result is None:
        activity += f"; {failure_line(run.failure)}"
    description = f"<span style='opacity:.75'>{as_html(run.description)}</span>"
    parts = [
        f"<div><b>{as_html(run.name, 80)}</b> {description}</div>",
        f"<div>{_headline(run, best)}</div>",
        curve_html(trials, champions(trials, run.direction)),
        table_html(shown, shown_scores(shown), best),
        f"<div style='opacity:.75'>{as_html(activity)}</div>",
        f"<div>{''.join(map(_bar, run.caps()))}</div>",
    ]
    if best is not None:
        title = f"x of trial {best.number}"
        is_over = run.result is not None
        parts.append(x_html(best.x, title, is_open=is_over))
    return f"<div>{''.join(parts)}</div>"


def _headline(run: RunView, best: Trial | None) -> str:
    if best is None or best.score is None:
        return "no score yet"
    score = f"<b>{show_number(best.score)}</b>"
    source = as_html(best.source, 60)
    ago = duration(run.seconds - (run.champion_at - run.begun_at))
    line = f"best {score} in trial {best.number} by {source}, {ago} ago"
    left = run.seconds_left() if run.result is None else None
    if left is not None:
        line += f", about {duration(left)} left"
    return line


def _bar(cap: Cap) -> str:
    if cap.cap is None and not cap.used:
        return ""
    name = LABELS.get(cap.name, cap.name)
    return bar_html(name, cap.used, cap.cap, used_of(cap))
