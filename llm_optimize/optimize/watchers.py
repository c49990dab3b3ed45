"""The watchers of a run: the terminal view and the user's callbacks."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from ..records import Event, Watcher
from ..watch import screen

_log = logging.getLogger("llm_optimize")


@dataclass
class _Held:
    """Events in their place among the others."""

    events: tuple[Event, ...]
    is_waiting: bool  # for a row of the store


class Watchers:
    """The callables that are notified of the events of a run, in the order of the events.

    One that raises is logged and never called again: a watcher never breaks a run.
    """

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = list(watchers)
        self._held: deque[_Held] = deque()

    def notify(self, *events: Event) -> None:
        """Call each of them with these events, after those that are held back."""
        self._held.append(_Held(events, is_waiting=False))
        self._release()

    @contextmanager
    def held(self, *events: Event) -> Iterator[None]:
        """Hold events back until the block is through; where it raises, nobody learns of them.

        Later events wait as well, so that the order stays. Rows reach the disk in their order, so
        no event waits longer than its own row takes.
        """
        held = _Held(events, is_waiting=True)
        self._held.append(held)
        try:
            yield
        except BaseException:
            held.events = ()
            raise
        finally:
            held.is_waiting = False
            self._release()

    def _release(self) -> None:
        while self._held and not self._held[0].is_waiting:
            for event in self._held.popleft().events:
                self._call_all(event)

    def _call_all(self, event: Event) -> None:
        """Call each watcher with an event, and never again one that raises."""
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
