"""Checks of numbers that users give: to `isinstance` a bool is an int, to nobody else."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, TypeGuard

from .errors import UsageError


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number and no bool; numpy's numbers count.

    >>> is_number(0.5), is_number(2), is_number(True), is_number("2")
    (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole_number(value: Any) -> TypeGuard[int]:
    """Return whether a value is of a type of whole numbers and no bool; numpy's count.

    >>> is_whole_number(2), is_whole_number(2.0), is_whole_number(True)
    (True, False, False)
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole_number(owner: str, name: str, value: Any, at_least: int) -> int:
    """Return an option that is a whole number.

    Args:
        owner: of the option, for the message.
        name: of the option.
        value: that the user gave.
        at_least: the lowest value.

    Raises:
        UsageError: the value is anything else.

    >>> whole_number("best", "shown", 6, at_least=1)
    6
    """
    if not is_whole_number(value) or value < at_least:
        raise UsageError(
            f"{owner}: {name} is {value!r}, it must be a whole number of at least {at_least}"
        )
    return int(value)


def share(owner: str, name: str, value: Any) -> float:
    """Return an option that is a number from 0 to 1. Raises UsageError for anything else.

    >>> share("best", "novelty", 1)
    1.0
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise UsageError(
            f"{owner}: {name} is {value!r}, it must be a number from 0 to 1"
        )
    return float(value)
