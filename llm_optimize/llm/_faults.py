"""The ways in which one attempt can fail, and what each is worth."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LlmOptimizeError

_ANY = 1_000_000  # as many as the call may make


@dataclass(frozen=True, eq=False)
class Fault:
    """A kind of failure."""

    attempts: int = _ANY  # of one call that it may spoil
    fatal: bool = (
        False  # then something must be changed, and asking again later would not help
    )
    billed: bool = False  # the endpoint may have done the work, and bill it
    first_wait_secs: float = (
        0.5  # before the second attempt, at the most; doubled each time
    )


BUSY = Fault()  # 408, 409, 5xx
LIMITED = Fault(
    first_wait_secs=2.0
)  # 429: too many requests in the last second, or minute
GONE = Fault()  # no connection, to an endpoint that has answered before
NOBODY = Fault(
    attempts=2, fatal=True
)  # no connection, to an address that never answered
SLOW_NOBODY = Fault(attempts=1, fatal=True)  # the same, and finding out took long
SILENT = Fault(attempts=2, billed=True)  # sent, and nothing came back
DROPPED = Fault(attempts=2, billed=True)  # sent, and the connection broke
GARBAGE = Fault(attempts=3, billed=True)  # an answer that is no chat completion
ENDLESS = Fault(attempts=2, billed=True)  # an answer longer than the bound
PAGE = Fault(attempts=2, fatal=True)  # a web page: a login, or a wrong address
STRAY_PAGE = Fault(
    attempts=3
)  # a web page of an endpoint that has answered before: something in between failed


class Again(LlmOptimizeError):
    """This attempt failed; another may do better."""

    def __init__(
        self, fault: Fault, said: str, after_secs: float | None = None
    ) -> None:
        """Take the kind of failure, what happened, and how long the endpoint asks to wait."""
        self.fault = fault
        self.after_secs = after_secs
        super().__init__(said)


class Unsupported(LlmOptimizeError):
    """The endpoint does not take an option of the request."""

    def __init__(self, option: str) -> None:
        """Take the name of the option as it was sent."""
        self.option = option
        super().__init__(f"the option {option!r} is not supported")
