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
from ._lines import LABELS, amount, duration, failure_line
from ._state import State

_ROWS = 10  # of the table
_EVERY_SECS = 0.5  # a browser needs no more


class Notebook:
    """A watcher that shows a run below the cell that started it; `verbose=True` takes it in a notebook."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take a clock in seconds. Raises MissingExtra where IPython is not installed."""
        try:
            from IPython.display import HTML, DisplayHandle
        except ImportError as error:
            raise MissingExtra("Notebook needs a notebook: pip install ipykernel") from error
        handle: Any = DisplayHandle
        self._html: Any = HTML
        self._handle = handle()
        self._clock = clock
        self._state = State(clock)
        self._begun = False
        self._shown_at = 0.0

    def __call__(self, event: Event) -> None:
        """Show an event; the output changes at most twice a second."""
        self._state.update(event)
        if isinstance(event, RunStarted | RunEnded) or self._clock() - self._shown_at >= _EVERY_SECS:
            self._show()

    def _show(self) -> None:
        picture = self._html(page(self._state))
        if self._begun:
            self._handle.update(picture)
        else:
            self._handle.display(picture)
        self._begun, self._shown_at = True, self._clock()

    def close(self) -> None:
        """Show what is known last. May be called again."""
        if self._begun and self._state.result is None:
            self._show()

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()


def in_notebook() -> bool:
    """Whether this program runs in the kernel of a notebook; IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


def page(state: State) -> str:
    """Return what is known of a run as HTML."""
    best = state.champion
    trials = [trial for trial, _ in list(state.last)]
    parts = [
        f"<div><b>{as_html(state.name, 80)}</b> <span style='opacity:.75'>{as_html(state.description)}</span></div>",
        f"<div>{_headline(state, best)}</div>",
        curve_html(trials),
        table_html(trials[-_ROWS:], best),
        f"<div style='opacity:.75'>{as_html(_doing(state))}</div>",
        f"<div>{''.join(map(_bar, state.caps()))}</div>",
        x_html(best.x, f"x of trial {best.number}", is_open=state.result is not None) if best is not None else "",
    ]
    return f"<div>{''.join(parts)}</div>"


def _headline(state: State, best: Trial | None) -> str:
    if best is None or best.score is None:
        return "no score yet"
    left = state.seconds_left() if state.result is None else None
    wait = f", about {duration(left)} left" if left is not None else ""
    ago = duration(state.seconds - (state.champion_at - state.begun_at))
    score = f"<b>{show_number(best.score)}</b>"
    return f"best {score} in trial {best.number} by {as_html(best.source, 60)}, {ago} ago{wait}"


def _doing(state: State) -> str:
    if state.result is not None:
        return f"ended: {state.result.stop_reason}"
    waiting = ", ".join(f"{number} {what}" for number, what in sorted(state.flying.items()))
    failure = f"; {failure_line(state.failure)}" if state.failure else ""
    return f"in flight: {waiting or 'nothing'}{failure}"


def _bar(cap: Cap) -> str:
    if cap.cap is None and not cap.used:
        return ""
    shown = amount(cap.name, cap.used) + ("" if cap.cap is None else f"/{amount(cap.name, cap.cap)}")
    return bar_html(LABELS.get(cap.name, cap.name), cap.used, cap.cap, shown)
