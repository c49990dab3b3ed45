"""Faults: the ways in which one attempt of a call can fail, and what each is worth."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import LlmOptimizeError, ModelRefused

_ANY = 1_000_000  # as many attempts as the call may make


@dataclass(frozen=True, eq=False)
class Fault:
    """A kind of failure.

    Args:
        attempts: of one call that it may spoil.
        fatal: something must be changed, and asking again later would not help.
        billed: the endpoint may have done the work, and bill it.
        first_wait_secs: the longest wait before the second attempt; doubled each time.
    """

    attempts: int = _ANY
    fatal: bool = False
    billed: bool = False
    first_wait_secs: float = 0.5


# What is not an answer of the endpoint.
GONE = Fault()  # no connection, to an endpoint that has answered before
NOBODY = Fault(attempts=2, fatal=True)  # the same, where none ever answered
SLOW_NOBODY = Fault(attempts=1, fatal=True)  # the same, and finding out took long
SILENT = Fault(attempts=2, billed=True)  # sent, and nothing came back
DROPPED = Fault(attempts=2, billed=True)  # sent, and the connection broke

# What is an answer of the endpoint.
BUSY = Fault()  # 408, 409, 5xx
LIMITED = Fault(first_wait_secs=2.0)  # 429: too many requests in a second or minute
GARBAGE = Fault(attempts=3, billed=True)  # no chat completion
ENDLESS = Fault(attempts=2, billed=True)  # longer than the bound
PAGE = Fault(attempts=2, fatal=True)  # a web page: a login, or a wrong address
STRAY_PAGE = Fault(attempts=3)  # the same, of an endpoint that has answered before


class Again(LlmOptimizeError):
    """This attempt failed; another may do better.

    Args:
        fault: the kind of failure.
        message: what happened, as a sentence.
        after_secs: how long the endpoint asks to wait; None where it does not.
    """

    def __init__(
        self, fault: Fault, message: str, after_secs: float | None = None
    ) -> None:
        self.fault = fault
        self.after_secs = after_secs
        super().__init__(message)


class Unsupported(LlmOptimizeError):
    """The endpoint does not take a part of the request as it is.

    Args:
        part: an option of the request by its name, or another part that `dialect` can change.
        message: what the endpoint says.
        otherwise: the error for a part that cannot be changed.
        is_guess: it may as well be this error.
    """

    def __init__(
        self, part: str, message: str, otherwise: ModelRefused, is_guess: bool = False
    ) -> None:
        self.part = part
        self.message = message
        self.otherwise = otherwise
        self.is_guess = is_guess
        super().__init__(str(otherwise))
