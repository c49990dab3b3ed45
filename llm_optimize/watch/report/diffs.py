"""What changed from one x to another, as line numbers; whoever shows it has both texts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeAlias

from ...records import X
from ...text import show_x

Step: TypeAlias = tuple[str, int, int, int, int]
"""How some lines of the old text become lines of the new one: = - + or ~ (both), and from where to where in each."""

_MAX_WORK = 4_000_000  # old times new lines, above which a change is taken as a whole
_SIGNS = {"equal": "=", "delete": "-", "insert": "+", "replace": "~"}


def parts(x: X | None) -> dict[str, str]:
    """Return x as texts by name; one text without a name where x is no dict of texts with lines.

    >>> parts("a"), parts({"m.py": "a\\n", "n.py": "b"})
    ({'': 'a'}, {'m.py': 'a\\n', 'n.py': 'b'})
    """
    if x is None:
        return {}
    if isinstance(x, Mapping) and _are_texts(list(x.values())):
        return {str(name): part for name, part in x.items()}
    return {"": show_x(x)}


def _are_texts(values: list[object]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    return len(texts) == len(values) and any("\n" in text for text in texts)


def steps(old: str, new: str) -> list[Step]:
    r"""Return how the lines of one text become those of another; a line ends at \n and nowhere else.

    >>> steps("a\nb\nc", "a\nB\nc")
    [('=', 0, 1, 0, 1), ('~', 1, 2, 1, 2), ('=', 2, 3, 2, 3)]
    """
    a, b = old.split("\n"), new.split("\n")
    head = _common(a, b)
    tail = _common(a[head:][::-1], b[head:][::-1])
    between = _between(a[head : len(a) - tail], b[head : len(b) - tail])
    found = [("=", 0, head, 0, head)] if head else []
    found += [
        (sign, i + head, j + head, k + head, m + head) for sign, i, j, k, m in between
    ]
    return found + (
        [("=", len(a) - tail, len(a), len(b) - tail, len(b))] if tail else []
    )


def _common(a: list[str], b: list[str]) -> int:
    """Return how many lines two texts begin with alike."""
    for place, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return place
    return min(len(a), len(b))


def _between(a: list[str], b: list[str]) -> list[Step]:
    if not a or not b or len(a) * len(b) > _MAX_WORK:
        sign = "~" if a and b else "-" if a else "+"
        return [(sign, 0, len(a), 0, len(b))] if a or b else []
    return [
        (_SIGNS[tag], i, j, k, m)
        for tag, i, j, k, m in difflib.SequenceMatcher(None, a, b).get_opcodes()
    ]


def changes(old: X | None, new: X | None) -> dict[str, list[Step]]:
    """Return the steps from one x to another for each text by name, those of a text that vanished included."""
    return changed(parts(old), parts(new))


def changed(
    before: Mapping[str, str], after: Mapping[str, str]
) -> dict[str, list[Step]]:
    """Return the same for texts by name."""
    return {
        name: steps(before.get(name, ""), after.get(name, ""))
        for name in {**after, **before}
    }
