"""Readable names for runs."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection

_FIRST = "amber brisk calm clear coral crisp deep early fair fresh gentle green keen light lucid quiet swift warm"
_SECOND = "alder birch brook cedar cliff delta fjord grove heath lagoon maple meadow ridge river shore spruce"


def new_name(taken: Collection[str]) -> str:
    """Return a name that is not taken: two words, and a number when all pairs of words are.

    >>> len(new_name([]).split("-"))
    2
    """
    pairs = [
        f"{first}-{second}" for first in _FIRST.split() for second in _SECOND.split()
    ]
    random.SystemRandom().shuffle(pairs)
    numbered = (f"{pair}-{number}" for number in itertools.count(2) for pair in pairs)
    return next(name for name in itertools.chain(pairs, numbered) if name not in taken)
