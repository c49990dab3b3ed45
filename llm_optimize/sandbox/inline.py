"""The `inline` level: f in a thread of this process, without isolation, for trusted functions.

A thread cannot be killed: a call that passes its deadline is given up, and goes on in the
background until it ends by itself.
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

from .blame import fault_of
from .outcome import Call, Outcome, OutcomeStatus, killed

_TRACEBACK_FRAMES = -6  # negative: the last ones


class InlineSandbox:
    """Calls f in a thread of this process.

    Args:
        func: f, plain or async.
    """

    level = "inline"
    mechanisms: tuple[str, ...] = ()

    def __init__(self, func: Callable[..., Any]) -> None:
        self._func = func
        self._lock = threading.Lock()
        self._waiting: set[queue.SimpleQueue[Outcome]] = set()
        self._closed = False

    def run(self, call: Call) -> Outcome:
        """Call f(x) and return the outcome.

        The seed is not used: random numbers of this process belong to the caller.
        """
        begun = time.monotonic()
        # f, the stop and `close` each put an outcome; the first one that arrives counts.
        outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        with self._lock:
            if self._closed:
                return killed()
            self._waiting.add(outcomes)
        threading.Thread(
            target=lambda: outcomes.put(self._call(call.x)),
            name="inline scoring",
            daemon=True,
        ).start()
        try:
            with call.stop.ends(lambda: outcomes.put(killed())):
                outcome = outcomes.get(timeout=call.timeout_secs)
        except queue.Empty:
            message = f"given up at its deadline of {call.timeout_secs:g} s"
            outcome = Outcome(OutcomeStatus.TIMEOUT, message=message)
        with self._lock:
            self._waiting.discard(outcomes)
        return replace(outcome, seconds=time.monotonic() - begun)

    def _call(self, x: Any) -> Outcome:
        try:
            value = self._func(x)
            if inspect.iscoroutine(value):
                value = asyncio.run(value)
            return Outcome(OutcomeStatus.OK, value=value)
        except BaseException as error:  # what a thread raises would be lost otherwise
            return Outcome(
                OutcomeStatus.RAISED,
                message=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(limit=_TRACEBACK_FRAMES),
                fault=fault_of(error, x),
            )

    def close(self) -> None:
        """Stop waiting for calls in flight; their threads go on, nobody can end them."""
        with self._lock:
            self._closed = True
            for outcomes in self._waiting:
                outcomes.put(killed())
