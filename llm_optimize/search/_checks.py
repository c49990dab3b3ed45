"""Options of strategies, checked at birth: a wrong one is named with its value and with what would be right."""

from __future__ import annotations

from ..errors import UsageError


def whole(strategy: str, name: str, value: int, low: int) -> int:
    """Return a whole number of at least `low`. Raises UsageError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UsageError(
            f"{strategy}: {name} is {value!r}, it must be a whole number of at least {low}"
        )
    return value


def share(strategy: str, name: str, value: float) -> float:
    """Return a number from 0 to 1. Raises UsageError for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= 1
    ):
        raise UsageError(
            f"{strategy}: {name} is {value!r}, it must be a number from 0 to 1"
        )
    return float(value)
