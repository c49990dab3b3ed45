"""When a model has fallen silent for good: hiccups are counted by time, not by calls."""

from __future__ import annotations

from collections.abc import Hashable

_MAX_SILENCES = 3  # one after the other without a reply, after which the model is taken to be gone


class Silence:
    """Counts how often in a row a model fell silent.

    An endpoint that hangs once fails all the calls that are in flight, each at its own deadline. They are one event:
    a failed call opens a new silence only when it was begun after the last one was noticed. A call that was in flight
    by then tells nothing new. Any reply ends the row. Times are a monotonic clock's.
    """

    def __init__(self, most: int = _MAX_SILENCES) -> None:
        """Take how many silences in a row mean that the model is gone."""
        self._most = most
        self._count = 0
        self._noticed_at = float("-inf")
        self._in_flight: dict[Hashable, float] = {}

    @property
    def lasting(self) -> bool:
        """Whether the model is taken to be gone."""
        return self._count >= self._most

    def begun(self, call: Hashable, now: float) -> None:
        """Note that a call, or a row of calls for one thing, begins."""
        self._in_flight[call] = now

    def failed(self, call: Hashable, now: float) -> None:
        """Note that it ended without a reply."""
        if self._in_flight.pop(call, now) >= self._noticed_at:
            self._count += 1
            self._noticed_at = now

    def ended(self, call: Hashable) -> None:
        """Note that it ended otherwise."""
        self._in_flight.pop(call, None)

    def broken(self) -> None:
        """Note a reply."""
        self._count = 0
