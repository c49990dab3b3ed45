"""The watchers of a run: the terminal view and the user's callbacks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

from ..records import Event, Watcher
from ..watch import screen

_log = logging.getLogger("llm_optimize")


class Watchers:
    """The callables that are notified of the events of a run.

    One that raises is logged and never called again: a watcher never breaks a run.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)

    def notify(self, event: Event) -> None:
        """Call each of them with an event."""
        for watcher in list(self._watchers):
            try:
                watcher(event)
            except Exception:
                name = getattr(watcher, "__qualname__", type(watcher).__qualname__)
                _log.exception(
                    "the callback %s failed at %s and is switched off",
                    name,
                    type(event).__name__,
                )
                self._watchers.remove(watcher)


@contextmanager
def watching(verbose: bool, callbacks: Sequence[Watcher]) -> Iterator[Watchers]:
    """Yield the watchers of a run; the terminal is left as it was, whatever happens."""
    if not verbose:
        yield Watchers(callbacks)
        return
    with closing(screen()) as shown:
        yield Watchers([shown, *callbacks])
