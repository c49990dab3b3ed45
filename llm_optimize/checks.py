"""Checks of numbers that users give: to `isinstance`, a bool is an int, which it is to nobody else."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, TypeGuard


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
