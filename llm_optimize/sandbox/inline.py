"""The `inline` level: no isolation, for functions that are trusted. The deadline is only waited for:

a thread cannot be killed, so a call that passes its deadline goes on in the background until it ends by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from .outcome import Call, Outcome, OutcomeStatus, killed

_TRACEBACK_FRAMES = -6


class InlineSandbox:
    """Calls f in a thread of this process."""

    level = "inline"
    mechanisms: tuple[str, ...] = ()

    def __init__(self, func: Callable[..., Any]) -> None:
        """Take f."""
        self._func = func
        self._lock = threading.Lock()
        self._waiting: set[queue.SimpleQueue[Outcome]] = set()
        self._closed = False

    def run(self, call: Call) -> Outcome:
        """Return what becomes of f(x); the seed is left aside, the dice of this process are the caller's."""
        begun = time.monotonic()
        first: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        with self._lock:
            if self._closed:
                return killed()
            self._waiting.add(first)
        threading.Thread(
            target=lambda: first.put(self._call(call.x)),
            name="inline scoring",
            daemon=True,
        ).start()
        try:
            with call.stop.ends(lambda: first.put(killed())):
                outcome = first.get(timeout=call.timeout_secs)
        except queue.Empty:
            outcome = Outcome(
                OutcomeStatus.TIMEOUT,
                message=f"given up at its deadline of {call.timeout_secs:g} s",
            )
        with self._lock:
            self._waiting.discard(first)
        return replace(outcome, seconds=time.monotonic() - begun)

    def _call(self, x: Any) -> Outcome:
        try:
            value = self._func(x)
            return Outcome(
                OutcomeStatus.OK,
                value=asyncio.run(value) if inspect.iscoroutine(value) else value,
            )
        except (
            BaseException
        ) as error:  # of the thread: what it raises would be lost otherwise
            lines = traceback.format_exc(limit=_TRACEBACK_FRAMES)
            return Outcome(
                OutcomeStatus.RAISED,
                message=f"{type(error).__name__}: {error}",
                traceback=lines,
            )

    def close(self) -> None:
        """Stop waiting for what is in flight; its threads go on, they cannot be ended from outside."""
        with self._lock:
            self._closed = True
            for first in self._waiting:
                first.put(killed())
