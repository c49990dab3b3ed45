"""Differences of two candidates as line numbers; the page that shows them has both texts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeAlias

from ...records import X
from ...text import show_x

Step: TypeAlias = tuple[str, int, int, int, int]
"""How lines of the old text become lines of the new one.

The sign is "=" (equal), "-" (deleted), "+" (inserted) or "~" (replaced); then come the first old
line and the one after the last, and the same for the new text.
"""

_MAX_WORK = 4_000_000  # old times new lines, above which a change is not refined
_SIGNS = {"equal": "=", "delete": "-", "insert": "+", "replace": "~"}


def parts(x: X | None) -> dict[str, str]:
    """Return x as texts by name; one text without a name where x is not a dict of texts with lines.

    >>> parts("a"), parts({"m.py": "a\\n", "n.py": "b"})
    ({'': 'a'}, {'m.py': 'a\\n', 'n.py': 'b'})
    """
    if x is None:
        return {}
    if isinstance(x, Mapping) and _are_texts(list(x.values())):
        return {str(name): part for name, part in x.items()}
    return {"": show_x(x)}


def _are_texts(values: list[object]) -> bool:
    """Whether all values are texts, one of them with several lines."""
    has_lines = False
    for value in values:
        if not isinstance(value, str):
            return False
        has_lines = has_lines or "\n" in value
    return has_lines


def steps(old: str, new: str) -> list[Step]:
    r"""Return how the lines of one text become those of another; a line ends at \n only.

    >>> steps("a\nb\nc", "a\nB\nc")
    [('=', 0, 1, 0, 1), ('~', 1, 2, 1, 2), ('=', 2, 3, 2, 3)]
    """
    a = old.split("\n")
    b = new.split("\n")
    # Equal lines at both ends are set aside first: most changes are small.
    head = _common(a, b)
    a_rest, b_rest = a[head:], b[head:]
    tail = _common(a_rest[::-1], b_rest[::-1])
    a_end = len(a) - tail
    b_end = len(b) - tail

    found: list[Step] = []
    if head:
        found.append(("=", 0, head, 0, head))
    for sign, *lines in _between(a[head:a_end], b[head:b_end]):
        i, j, k, m = (line + head for line in lines)
        found.append((sign, i, j, k, m))
    if tail:
        found.append(("=", a_end, len(a), b_end, len(b)))
    return found


def _common(
    a: list[str],
    b: list[str],
) -> int:
    """Return how many equal lines two texts begin with."""
    count = 0
    for one, other in zip(a, b, strict=False):
        if one != other:
            break
        count += 1
    return count


def _between(
    a: list[str],
    b: list[str],
) -> list[Step]:
    if not a and not b:
        return []
    if not b:
        return [("-", 0, len(a), 0, 0)]
    if not a:
        return [("+", 0, 0, 0, len(b))]
    if len(a) * len(b) > _MAX_WORK:
        return [("~", 0, len(a), 0, len(b))]
    matcher = difflib.SequenceMatcher(None, a, b)
    found: list[Step] = []
    for tag, i, j, k, m in matcher.get_opcodes():
        found.append((_SIGNS[tag], i, j, k, m))
    return found


def changes(
    old: X | None,
    new: X | None,
) -> dict[str, list[Step]]:
    """Return the steps from one x to another by the name of the text, deleted texts included."""
    return changed(parts(old), parts(new))


def changed(
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> dict[str, list[Step]]:
    """Return the steps from some named texts to others, new names first."""
    found = {}
    for name in {**after, **before}:
        old = before.get(name, "")
        new = after.get(name, "")
        found[name] = steps(old, new)
    return found
