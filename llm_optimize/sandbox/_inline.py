"""The `inline` level: no isolation, for functions that are trusted. The deadline is only waited for:

a thread cannot be killed, so a call that passes its deadline goes on in the background until it ends by itself.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from ._outcome import Outcome, OutcomeStatus

_TRACEBACK_FRAMES = -6


class InlineSandbox:
    """Calls f in a thread of this process."""

    level = "inline"

    def __init__(self, func: Callable[..., Any]) -> None:
        """Take f."""
        self._func = func
        self._closed = threading.Event()

    def run(self, x: Any, timeout_secs: float, seed: int = 0) -> Outcome:
        """Return what becomes of f(x); `seed` is left aside, the dice of this process are the caller's."""
        begun = time.monotonic()
        found: list[Outcome] = []
        ended = threading.Event()

        def work() -> None:
            found.append(self._call(x))
            ended.set()

        threading.Thread(target=work, name="inline scoring", daemon=True).start()
        if not ended.wait(timeout_secs):
            message = f"given up at its deadline of {timeout_secs:g} s"
            return Outcome(OutcomeStatus.TIMEOUT, message=message, seconds=time.monotonic() - begun)
        outcome = found[0]
        return Outcome(
            outcome.status,
            outcome.value,
            message=outcome.message,
            traceback=outcome.traceback,
            seconds=time.monotonic() - begun,
        )

    def _call(self, x: Any) -> Outcome:
        try:
            value = self._func(x)
            return Outcome(OutcomeStatus.OK, value=asyncio.run(value) if inspect.iscoroutine(value) else value)
        except BaseException as error:  # of the thread: what it raises would be lost otherwise
            lines = traceback.format_exc(limit=_TRACEBACK_FRAMES)
            return Outcome(OutcomeStatus.RAISED, message=f"{type(error).__name__}: {error}", traceback=lines)

    def close(self) -> None:
        """Do nothing: a thread cannot be ended from outside."""
