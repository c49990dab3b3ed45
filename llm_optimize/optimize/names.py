"""Readable names for runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection

_FIRST = (
    "amber brisk calm clear coral crisp deep early fair fresh gentle green keen light lucid quiet "
    "swift warm"
)
_SECOND = (
    "alder birch brook cedar cliff delta fjord grove heath lagoon maple meadow ridge river shore "
    "spruce"
)


def new_name(taken: Collection[str]) -> str:
    """Return a name that is not taken: two words, and a number when all pairs of words are.

    >>> len(new_name([]).split("-"))
    2
    """
    pairs = list(itertools.product(_FIRST.split(), _SECOND.split()))
    random.SystemRandom().shuffle(pairs)
    for number in itertools.count(1):
        for first, second in pairs:
            name = f"{first}-{second}"
            if number > 1:
                name += f"-{number}"
            if name not in taken:
                return name
    raise AssertionError("the numbers have no end")
