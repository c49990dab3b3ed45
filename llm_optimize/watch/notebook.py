"""A run in a Jupyter notebook: one output that is kept up to date in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..errors import MissingExtra
from ..looks import as_html, bar_html, curve_html, table_html, x_html
from ..records import Cap, Event, RunEnded, RunStarted, Trial
from ..text import show_number
from ._lines import doing, failure_line
from .amounts import LABELS, duration, used_of
from .run_view import RunView

_ROWS = 10  # of the table
_EVERY_SECS = 0.5  # a browser needs no more


class Notebook:
    """A watcher that shows a run below the cell that started it; `verbose=True` takes it in a notebook."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds. Raises MissingExtra where IPython is not installed."""
        try:
            from IPython.display import HTML, DisplayHandle
        except ImportError as error:
            raise MissingExtra(
                "Notebook needs a notebook: pip install ipykernel"
            ) from error
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
        if (
            isinstance(event, RunStarted | RunEnded)
            or self._clock() - self._shown_at >= _EVERY_SECS
        ):
            self._show()

    def _show(self) -> None:
        picture = self._html(page(self._run))
        if self._begun:
            self._handle.update(picture)
        else:
            self._handle.display(picture)
        self._begun, self._shown_at = True, self._clock()

    def close(self) -> None:
        """Show what is known last. May be called again."""
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


def in_notebook() -> bool:
    """Whether this program runs in the kernel of a notebook; IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def page(run: RunView) -> str:
    """Return what is known of a run as HTML."""
    best = run.champion
    trials = [trial for trial, _ in list(run.last)]
    parts = [
        f"<div><b>{as_html(run.name, 80)}</b> <span style='opacity:.75'>{as_html(run.description)}</span></div>",
        f"<div>{_headline(run, best)}</div>",
        curve_html(trials),
        table_html(trials[-_ROWS:], best),
        f"<div style='opacity:.75'>{as_html(_doing(run))}</div>",
        f"<div>{''.join(map(_bar, run.caps()))}</div>",
        x_html(best.x, f"x of trial {best.number}", is_open=run.result is not None)
        if best is not None
        else "",
    ]
    return f"<div>{''.join(parts)}</div>"


def _headline(run: RunView, best: Trial | None) -> str:
    if best is None or best.score is None:
        return "no score yet"
    left = run.seconds_left() if run.result is None else None
    wait = f", about {duration(left)} left" if left is not None else ""
    ago = duration(run.seconds - (run.champion_at - run.begun_at))
    score = f"<b>{show_number(best.score)}</b>"
    return f"best {score} in trial {best.number} by {as_html(best.source, 60)}, {ago} ago{wait}"


def _doing(run: RunView) -> str:
    failure = (
        f"; {failure_line(run.failure)}" if run.failure and run.result is None else ""
    )
    return doing(run) + failure


def _bar(cap: Cap) -> str:
    if cap.cap is None and not cap.used:
        return ""
    return bar_html(LABELS.get(cap.name, cap.name), cap.used, cap.cap, used_of(cap))
