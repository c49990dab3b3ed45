"""Changes of numbers in a text: each moves on its own scale, and stays written as it was."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Sequence
from random import Random

_NUMBER = re.compile(
    r"(?<![\w.])-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w])(?!\.\d)"
)
_MAX_FACTOR = 4.0  # by which one step multiplies or divides at most
_FIRST_STEPS = (0.1, 1.0)  # away from 0, which has no scale
_EXACT_INT = 2**53  # beyond, a float cannot tell an int from its neighbor

# Comments and one-line strings, in any of the usual languages. An apostrophe inside a word opens
# no string, so that prose is not taken for one.
_NO_CODE = re.compile(
    r"""
    /\*.*?\*/ | <!--.*?-->            # comments of several lines
    | (?:\#|//|--[ ]|^[ \t]*[;%]).*?$  # comments to the end of the line
    | "(?:\\.|[^"\\\n])*"
    | (?<!\w)'(?:\\.|[^'\\\n])*'
    """,
    re.X | re.S | re.M,
)


def change_a_number(text: str, rng: Random) -> str:
    """Return text with one of its numbers moved; unchanged where it has none.

    Numbers in comments and strings are moved only where there are none in code.

    >>> change_a_number("x = [5, 3]", Random(1)) != "x = [5, 3]"
    True
    >>> change_a_number("x = 'v2'  # at most 10", Random(1)).startswith("x = 'v2'  # at most ")
    True
    """
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    no_code = [match.span() for match in _NO_CODE.finditer(text)]
    in_code = []
    for match in found:
        if not _is_inside(match.start(), no_code):
            in_code.append(match)
    match = rng.choice(in_code or found)
    begin, end = match.span()
    return text[:begin] + move(match[0], rng) + text[end:]


def has_number(text: str) -> bool:
    """Return whether there is a number that can be moved."""
    return _NUMBER.search(text) is not None


def _is_inside(
    position: int,
    spans: Sequence[tuple[int, int]],
) -> bool:
    """Return whether a position lies in one of the spans, which are sorted and do not overlap."""
    index = bisect.bisect_right(spans, (position, math.inf))
    if index == 0:
        return False
    _, end = spans[index - 1]
    return position < end


def move(literal: str, rng: Random) -> str:
    """Return another number of the same type, with as many digits; an int stays an int.

    >>> move("100", Random(0)).isdigit()
    True
    """
    if re.fullmatch(r"-?\d+", literal):
        return str(_moved_int(int(literal), rng))
    value = _moved_float(float(literal), rng)
    mantissa = re.sub(r"[eE].*|\D", "", literal).lstrip("0")
    digits = max(2, len(mantissa))
    moved = f"{value:.{digits}g}"
    is_float = re.search(r"[.en]", moved)  # a point, an exponent, or inf and nan
    return moved if is_float else moved + ".0"


def _moved_int(value: int, rng: Random) -> int:
    """Return another int: by a factor, or by 1 where the factor is too small for a change."""
    factor = _factor(rng)
    moved = value
    if abs(value) < _EXACT_INT:
        moved = round(value * factor)
    if moved == value:
        moved = value + rng.choice([-1, 1])
    return max(0, moved) if value > 0 else moved


def _moved_float(value: float, rng: Random) -> float:
    """Return another float: by a factor; 0 becomes a small number."""
    if value == 0:
        sign = rng.choice([-1, 1])
        return sign * rng.uniform(*_FIRST_STEPS)
    moved = value * _factor(rng)
    return moved if math.isfinite(moved) else value


def _factor(rng: Random) -> float:
    """Return a log-uniform factor between a fourth and 4."""
    exponent = rng.uniform(-1, 1)
    return math.exp(exponent * math.log(_MAX_FACTOR))
