"""Moving numbers in text: on their own scale, in their own way of writing."""

from __future__ import annotations

import bisect
import math
import re
from collections.abc import Sequence
from random import Random

_NUMBER = re.compile(
    r"(?<![\w.])-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w])(?!\.\d)"
)
_WIDEST_FACTOR = 4.0  # by which one step multiplies or divides at the most
_ZERO_STEPS = (0.1, 1.0)  # from 0 there is no scale to go by


# Where no code stands, in any of the usual languages: comments, and texts in quotes of one line.
# An apostrophe inside a word opens nothing, so that prose is not taken for a text in quotes.
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
    """Return text with one of its numbers moved; unchanged when it holds none.

    Numbers in code come before those in comments and in quotes: these are changed only where
    there are no others.

    >>> change_a_number("x = [5, 3]", Random(1)) != "x = [5, 3]"
    True
    >>> change_a_number("x = 'v2'  # at most 10", Random(1)).startswith("x = 'v2'  # at most ")
    True
    """
    found = list(_NUMBER.finditer(text))
    if not found:
        return text
    no_code = [match.span() for match in _NO_CODE.finditer(text)]
    in_code = [match for match in found if not _is_inside(match.start(), no_code)]
    match = rng.choice(in_code or found)
    return text[: match.start()] + move(match[0], rng) + text[match.end() :]


def has_number(text: str) -> bool:
    """Return whether there is a number to be moved."""
    return _NUMBER.search(text) is not None


def _is_inside(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    index = bisect.bisect_right(spans, (place, math.inf)) - 1
    return index >= 0 and place < spans[index][1]


def move(literal: str, rng: Random) -> str:
    """Return another number of the same kind, written as this one is; an int stays an int.

    >>> move("100", Random(0)).isdigit()
    True
    """
    if re.fullmatch(r"-?\d+", literal):
        return str(move_int(int(literal), rng))
    value = move_float(float(literal), rng)
    digits = max(2, len(re.sub(r"[eE].*|\D", "", literal).lstrip("0")))
    shown = f"{value:.{digits}g}"
    return shown if re.search(r"[.en]", shown) else shown + ".0"


def move_int(value: int, rng: Random) -> int:
    """Return another int: by a factor, by one where that is too small, and now and then of the other sign of 0."""
    factor = math.exp(rng.uniform(-1, 1) * math.log(_WIDEST_FACTOR))
    moved = round(value * factor) if abs(value) < 2**53 else value
    if moved == value:
        moved = value + rng.choice([-1, 1])
    return max(0, moved) if value > 0 else moved


def move_float(value: float, rng: Random) -> float:
    """Return another float: by a log-uniform factor; a 0 becomes something small."""
    if value == 0:
        return rng.choice([-1, 1]) * rng.uniform(*_ZERO_STEPS)
    factor = math.exp(rng.uniform(-1, 1) * math.log(_WIDEST_FACTOR))
    return value * factor if math.isfinite(value * factor) else value
