"""One call while it is under way: what failed so far, and whether and when it is tried again."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..errors import ModelRefused, ModelUnavailable
from ._endpoint import Endpoint
from ._faults import Again, Fault

if TYPE_CHECKING:
    import tenacity

_log = logging.getLogger(__name__)


class Call:
    """The stop, wait and logging of tenacity, and what they need to know."""

    def __init__(
        self,
        who: str,
        endpoint: Endpoint,
        deadline_secs: float,
        max_attempts: int,
        patient: bool,
    ) -> None:
        """Take who is asked, and the limits; who is not patient does not wait for an endpoint that rests."""
        self.endpoint = endpoint
        self.patient = patient
        self._who = who
        self._deadline_secs = deadline_secs
        self._max_attempts = max_attempts
        self._begun_at = time.monotonic()
        self._faults: Counter[Fault] = Counter()
        self._last: Again | None = None
        self._on_wire = False
        self._billed = 0  # attempts that failed, and may be billed

    @property
    def seconds(self) -> float:
        """The wall clock so far."""
        return time.monotonic() - self._begun_at

    @property
    def uncertain_calls(self) -> int:
        """How many requests brought no answer and may be billed all the same."""
        return self._billed + self._on_wire

    def sent(self) -> None:
        """Note that a request goes out."""
        self._on_wire = True

    def answered(self) -> None:
        """Note that what was sent has come to its end."""
        self._on_wire = False

    def failed(self, again: Again) -> None:
        """Note how an attempt failed."""
        self._on_wire = False
        self._last = again
        self._faults[again.fault] += 1
        self._billed += again.fault.billed

    def enough(self, state: tenacity.RetryCallState) -> bool:
        """Whether to give up: the attempts are spent, or the wait that is asked for is longer than the deadline."""
        if self._last is None:
            return True
        spent = state.attempt_number >= self._max_attempts or self._kind_is_spent(
            self._last.fault
        )
        too_late = (self._last.after_secs or 0.0) > self._deadline_secs - self.seconds
        return spent or (self.patient and too_late)

    def _kind_is_spent(self, fault: Fault) -> bool:
        return self._faults[fault] >= fault.attempts

    def wait(self, state: tenacity.RetryCallState, max_wait_secs: float) -> float:
        """Return how long to wait: what the endpoint asks for, or longer and longer, with full jitter."""
        import tenacity

        if self._last is None or (not self.patient and self.endpoint.rest_secs() > 0):
            return 0.0  # the next attempt says that it rests
        if self._last.after_secs is not None:
            return self._last.after_secs
        longer = tenacity.wait_random_exponential(
            multiplier=self._last.fault.first_wait_secs, max=max_wait_secs
        )
        return longer(state)

    def say(self, state: tenacity.RetryCallState) -> None:
        """Log that it is tried again."""
        sleep_secs = state.next_action.sleep if state.next_action else 0.0
        _log.info("%s is asked again in %.1f s: %s", self._who, sleep_secs, self._last)

    def too_late(self) -> ModelUnavailable:
        """Return the error of a deadline that passed."""
        last = f", and before that: {self._last}" if self._last else ""
        return ModelUnavailable(
            f"{self._who} did not answer within {self._deadline_secs:g} s{last}: raise deadline_secs, or look at the "
            f"endpoint{self._bill()}",
            uncertain_calls=self.uncertain_calls,
        )

    def spent(self, last: Again) -> ModelUnavailable | ModelRefused:
        """Return the error of attempts that are spent."""
        if last.fault.fatal and self._kind_is_spent(last.fault):
            return ModelRefused(f"{self._who} cannot be reached: {last}")
        attempts = sum(self._faults.values())
        return ModelUnavailable(
            f"{self._who} gave no answer in {attempts} attempts: {last}{self._bill()}",
            uncertain_calls=self.uncertain_calls,
        )

    def _bill(self) -> str:
        return (
            f" (up to {self.uncertain_calls} unanswered requests may be billed)"
            if self.uncertain_calls
            else ""
        )
