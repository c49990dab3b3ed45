"""Silence: consecutive failures of a model to answer, of which too many end a run."""

from __future__ import annotations

from collections.abc import Hashable

_MAX_SILENCES = 3  # consecutive ones, after which the model is taken to be gone


class Silence:
    """Consecutive failures of a model to answer.

    An endpoint that hangs once fails all the calls that are in flight, each at its own deadline.
    They are one event: a failed call counts only when it began after the last failure was noticed;
    a call that was in flight by then says nothing new. Any reply resets the count. Times are those
    of a monotonic clock.

    Args:
        most: consecutive silences after which the model is taken to be gone.
    """

    def __init__(self, most: int = _MAX_SILENCES) -> None:
        self._most = most
        self._count = 0
        self._noticed_at = float("-inf")
        self._in_flight: dict[Hashable, float] = {}

    @property
    def lasting(self) -> bool:
        """Whether the model is taken to be gone."""
        return self._count >= self._most

    def begun(self, call: Hashable, now: float) -> None:
        """Note that a call, or a series of calls for one trial, begins."""
        self._in_flight[call] = now

    def failed(self, call: Hashable, now: float) -> None:
        """Note that it ended without a reply."""
        begun_at = self._in_flight.pop(call, now)
        if begun_at >= self._noticed_at:
            self._count += 1
            self._noticed_at = now

    def ended(self, call: Hashable) -> None:
        """Note that it ended otherwise."""
        self._in_flight.pop(call, None)

    def broken(self) -> None:
        """Note a reply."""
        self._count = 0
