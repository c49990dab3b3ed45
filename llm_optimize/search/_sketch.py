"""How different two x are, cheaply: by their numbers where all else is equal, else by the words that they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..records import X
from ..text import show_x

_MAX_CHARS = 20_000  # of an x that are looked at
_MAX_NUMBERS = 64
_MAX_NUMBER = 1e150  # two of them can be subtracted
_FEW_LINES = 8  # a text with fewer is compared by words, else by lines
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")


@dataclass(frozen=True)
class Sketch:
    """What of an x is compared."""

    form: str  # the text without its numbers
    words: frozenset[str]  # or lines, of the form
    numbers: tuple[float, ...]


def sketch(x: X) -> Sketch:
    """Return what of an x is compared.

    >>> sketch("f(1, 2.5)").numbers
    (1.0, 2.5)
    """
    text = show_x(x)[:_MAX_CHARS]
    form = _NUMBER.sub("#", text)
    lines = [line.strip() for line in form.splitlines()]
    words = lines if len(lines) >= _FEW_LINES else form.split()
    numbers = [
        _bounded(float(number)) for number in _NUMBER.findall(text)[:_MAX_NUMBERS]
    ]
    return Sketch(form, frozenset(words), tuple(numbers))


def _bounded(number: float) -> float:
    return max(-_MAX_NUMBER, min(_MAX_NUMBER, number))


class Distances:
    """Distances from 0 to 1 among some x; each number counts by the range that it has among those of its form."""

    def __init__(self, sketches: Iterable[Sketch]) -> None:
        """Learn the ranges."""
        columns: dict[str, list[Sequence[float]]] = {}
        for one in sketches:
            columns.setdefault(one.form, []).append(one.numbers)
        self._ranges = {
            form: [max(values) - min(values) for values in zip(*rows, strict=True)]
            for form, rows in columns.items()
        }

    def between(self, one: Sketch, other: Sketch) -> float:
        """Return up to 0.5 for x that differ in numbers only, and more for x of different forms.

        >>> one, other, third = map(sketch, ["a = 1", "a = 3", "b = 2"])
        >>> distances = Distances([one, other, third])
        >>> distances.between(one, other) < distances.between(one, third)
        True
        """
        if one.form != other.form:
            together = len(one.words | other.words)
            return (
                1 - 0.5 * len(one.words & other.words) / together if together else 0.5
            )
        ranges = self._ranges[one.form]
        steps = [
            abs(a - b) / size
            for a, b, size in zip(one.numbers, other.numbers, ranges, strict=True)
            if size > 0
        ]
        return 0.5 * sum(steps) / len(steps) if steps else 0.0
