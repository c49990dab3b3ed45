"""Slots: how many candidates are written and scored concurrently."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_AHEAD = 4  # model slots a worker, at the most
_PAST_WEIGHT = 0.8  # of the mean times so far; the newest one has the rest


class Slots:
    """The number of candidates that may live concurrently.

    It adapts to how long writing and scoring take. With one worker and no `model_slots`, nothing is
    asked before the last score is known, so that a run with a seed repeats exactly.

    Args:
        workers: concurrent scorings.
        model_slots: candidates that are written concurrently; None adapts.
    """

    def __init__(self, workers: int, model_slots: int | None) -> None:
        self._workers = workers
        self._model_slots = model_slots
        self._writing = 0
        self._reply_secs = 0.0  # means; 0 before the first
        self._scoring_secs = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count a candidate among those that are being written."""
        self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1

    def written(self, seconds: float) -> None:
        """Learn how long it took to write a candidate."""
        self._reply_secs = _running_mean(self._reply_secs, seconds)

    def scored(self, seconds: float) -> None:
        """Learn how long a scoring took."""
        self._scoring_secs = _running_mean(self._scoring_secs, seconds)

    def has_room(self, living: int) -> bool:
        """Whether another candidate may begin beside those that live already."""
        slots, ahead = self._limits()
        if self._writing >= slots:
            return False
        return living < self._workers + ahead

    def _limits(self) -> tuple[int, int]:
        """Return how many may be written concurrently, and live beside those in scoring."""
        workers = self._workers
        if self._model_slots is not None:
            if self._model_slots == workers == 1:
                return 1, 0
            return self._model_slots, self._model_slots
        if workers == 1:
            return 1, 0
        most = _MAX_AHEAD * workers
        ratio = 1.0  # of a reply's time to a scoring's, until both are known
        if self._reply_secs and self._scoring_secs:
            ratio = self._reply_secs / self._scoring_secs
        needed = math.ceil(workers * ratio)
        slots = needed
        if needed > workers:
            slots = max(needed, workers + 2)
        slots = max(slots, workers)
        return min(slots, most), min(needed, most)


def _running_mean(old: float, new: float) -> float:
    """Return the exponentially weighted mean; the first value where there is none yet."""
    if not old:
        return new
    return _PAST_WEIGHT * old + (1 - _PAST_WEIGHT) * new
