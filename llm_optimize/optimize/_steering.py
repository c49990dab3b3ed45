"""What people who watch a run want of it: rows in the store that they write and the run reads."""

from __future__ import annotations

import logging
import time

from ..store import Run

_log = logging.getLogger("llm_optimize")
POLL_SECS = 0.25  # between two looks at the store


class Steering:
    """The wishes so far. Hints last for the whole run; a stop or a pause is of the session in which it was given."""

    def __init__(self, run: Run) -> None:
        """Read what was wanted before this session."""
        self.stopped = False
        self.paused = False
        self._run = run
        before = run.steers()
        self.hints = [steer.text for steer in before if steer.kind == "hint"]
        self._last_key = before[-1].key if before else 0
        self._looked_at = time.monotonic()

    def look(self) -> None:
        """Read what is new, not more often than every `POLL_SECS`."""
        if time.monotonic() - self._looked_at < POLL_SECS:
            return
        for steer in self._run.steers(self._last_key):
            self._last_key = steer.key
            _log.info("a watcher wants: %s %s", steer.kind, steer.text)
            if steer.kind == "hint":
                self.hints.append(steer.text)
            else:
                self.stopped = self.stopped or steer.kind == "stop"
                self.paused = steer.kind == "pause"
        self._looked_at = time.monotonic()
