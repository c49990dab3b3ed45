"""Telling the watchers what happened; one that fails is switched off, and never breaks a run."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..records import Event, Watcher
from ..watch import screen

_log = logging.getLogger("llm_optimize")


class Watchers:
    """Those who are told of a run."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        """Take any callables."""
        self._watchers = list(watchers)

    def tell(self, event: Event) -> None:
        """Tell all of them."""
        for watcher in list(self._watchers):
            try:
                watcher(event)
            except Exception:  # a watcher never breaks a run
                name = getattr(watcher, "__qualname__", type(watcher).__qualname__)
                _log.exception("the callback %s failed at %s and is switched off", name, type(event).__name__)
                self._watchers.remove(watcher)


@contextmanager
def watching(verbose: bool, callbacks: Sequence[Watcher]) -> Iterator[Watchers]:
    """Yield the watchers of a run; the terminal is left as it was, whatever happens."""
    if not verbose:
        yield Watchers(callbacks)
        return
    shown = screen()
    try:
        yield Watchers([shown, *callbacks])
    finally:
        shown.close()
