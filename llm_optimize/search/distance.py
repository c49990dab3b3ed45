"""Distance between two x: cheap, from 0 to 1, without running anything.

    distance(a, b):
        if a and b are equal but for their numbers:
            mean over the numbers of |difference| / range of that number, times 0.5
        else:
            1 - 0.5 * Jaccard similarity of their words (of their lines, where they have many)

So two x of the same form are at most 0.5 apart, and two of different forms at least 0.5. The
Jaccard similarity of two sets is the size of their intersection over that of their union. It is
computed on words because it costs microseconds; embeddings would cost a call of a model.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from ..records import X
from ..text import show_x

# All set by hand. They bound the time of one comparison and were not tuned.
_MAX_CHARS = 20_000  # of an x that are compared
_MAX_NUMBERS = 64  # of an x that are compared
_MAX_NUMBER = 1e150  # so that the difference of two is finite
_FEW_LINES = 8  # a text with fewer lines is compared by words, else by lines

_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")


@dataclass(frozen=True)
class Features:
    """The part of an x that is compared."""

    form: str  # the text with "#" for each number
    words: frozenset[str]  # of the form; its lines, where it has many
    numbers: tuple[float, ...]


def features(x: X) -> Features:
    """Return the part of an x that is compared.

    >>> features("f(1, 2.5)").numbers
    (1.0, 2.5)
    """
    text = show_x(x)[:_MAX_CHARS]
    form = _NUMBER.sub("#", text)
    words = [line.strip() for line in form.splitlines()]
    if len(words) < _FEW_LINES:
        words = form.split()
    numbers = []
    for digits in _NUMBER.findall(text)[:_MAX_NUMBERS]:
        number = min(float(digits), _MAX_NUMBER)
        numbers.append(max(number, -_MAX_NUMBER))
    return Features(form, frozenset(words), tuple(numbers))


class Distances:
    """Distances within a group of x: each number counts relative to its range in the group."""

    def __init__(self, group: Iterable[Features]) -> None:
        rows_of = defaultdict(list)
        for one in group:
            rows_of[one.form].append(one.numbers)
        self._ranges: dict[str, list[float]] = {}
        for form, rows in rows_of.items():
            self._ranges[form] = []
            for column in zip(*rows, strict=True):
                lowest, highest = min(column), max(column)
                self._ranges[form].append(highest - lowest)

    def between(self, one: Features, other: Features) -> float:
        """Return up to 0.5 for two x that differ in numbers only, more for different forms.

        >>> one, other, third = map(features, ["a = 1", "a = 3", "b = 2"])
        >>> distances = Distances([one, other, third])
        >>> distances.between(one, other) < distances.between(one, third)
        True
        """
        if one.form != other.form:
            return _word_distance(one.words, other.words)
        shares = []
        ranges = self._ranges[one.form]
        for a, b, size in zip(one.numbers, other.numbers, ranges, strict=True):
            if size > 0:
                difference = abs(a - b)
                shares.append(difference / size)
        if not shares:
            return 0.0
        return 0.5 * sum(shares) / len(shares)


def _word_distance(one: frozenset[str], other: frozenset[str]) -> float:
    union = len(one | other)
    if not union:
        return 0.5
    common = len(one & other)
    return 1 - 0.5 * common / union
