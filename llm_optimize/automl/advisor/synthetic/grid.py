"""The penalties that can be chosen, how far apart they are, and the k-grid of the command line."""

from __future__ import annotations

import math
from collections.abc import Callable

from ....errors import UsageError

LAMBDAS = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
_MAX_K = 10_000  # tasks in one prompt


def nearest(value: float, *, compat: bool = False) -> float:
    """Return the penalty of the grid that is nearest; of two that are equally near the smaller.

    Args:
        value: any number. One that has no logarithm is nearest to the smallest penalty.
        compat: measure on the plain scale, as published, where all of 3.2 to 5.5 goes to 1.

    >>> nearest(4.0), nearest(4.0, compat=True)
    (10.0, 1.0)
    """
    if compat:
        return _argmin(lambda one: abs(one - value))
    if value <= 0:
        return LAMBDAS[0]
    if math.isinf(value):
        return LAMBDAS[-1]
    exponent = math.log10(value)
    # Rounded, so that the square root of ten is as far from 1 as from 10.
    return _argmin(lambda one: round(abs(math.log10(one) - exponent), 12))


def _argmin(distance: Callable[[float], float]) -> float:
    return min(LAMBDAS, key=distance)


def position(penalty: float) -> int:
    """Return the index of a penalty in the grid."""
    return LAMBDAS.index(penalty)


def k_grid(text: str) -> tuple[int, ...]:
    """Return how many solved tasks are shown, for each column of the experiment.

    Args:
        text: numbers with commas between them, or START:STOP or START:STOP:STEP. STOP is included
            when a step reaches it.

    Raises UsageError for anything else, a negative number, one that is given twice, or no number.

    >>> k_grid("1, 2,,5"), k_grid("0:10:3"), k_grid("5:5")
    ((1, 2, 5), (0, 3, 6, 9), (5,))
    """
    if ":" in text:
        found = _range(text)
    else:
        words = [word.strip() for word in text.split(",")]
        found = [_whole(word, text) for word in words if word]
    if not found:
        raise _wrong(text, "it names no k")
    if min(found) < 0:
        raise _wrong(text, "k is a number of tasks, 0 or more")
    if max(found) > _MAX_K:
        raise _wrong(text, f"at most {_MAX_K} tasks are shown")
    different = set(found)
    if len(different) < len(found):
        raise _wrong(text, "it names a k twice")
    return tuple(found)


def _range(text: str) -> list[int]:
    parts = [_whole(word.strip(), text) for word in text.split(":")]
    if len(parts) > 3:
        raise _wrong(text, "a range has at most three parts")
    start, stop = parts[:2]
    step = 1
    if len(parts) == 3:
        step = parts[2]
    if step < 1:
        raise _wrong(text, "the step must be 1 or more")
    if stop > start + _MAX_K * step:
        raise _wrong(text, f"at most {_MAX_K} tasks are shown")
    return list(range(start, stop + 1, step))


def _whole(word: str, text: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise _wrong(text, f"{word!r} is not a whole number") from None


def _wrong(text: str, reason: str) -> UsageError:
    return UsageError(
        f"--k-grid is {text!r}: {reason}; write 1,2,5 or START:STOP[:STEP]"
    )
