"""Protected text: only the regions of x between marker lines may change.

    # EVOLVE-BLOCK-START
    what a model may write anew
    # EVOLVE-BLOCK-END

A marker stands alone on its line, in a comment of any style. An x without markers may change
everywhere. Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest

from ...errors import UsageError
from ...records import X
from ...text import lines_of

_MARKER = re.compile(
    r"""(?:[^\w"'`]*|\s*(?:["']|(?i:rem|dnl)\s)\s*)  # what begins a comment, if anything
    EVOLVE-BLOCK-(START|END)(?![-\w"'`])""",
    re.X,
)
_BEHIND_CODE = re.compile(
    r"""(?:\#|//|--|/\*|<!--|%|;)\s*EVOLVE-BLOCK-(?:START|END)[^\w"'`]*$"""
)
_MAX_LINE_CHARS = 200  # of a line that is quoted


def has_protected(x: str) -> bool:
    """Return whether x has marker lines, so that only what stands between them may change.

    >>> has_protected("// EVOLVE-BLOCK-START"), has_protected('print("EVOLVE-BLOCK-START")')
    (True, False)
    """
    return any(map(_marker, lines_of(x)))


def check_markers(x: str) -> None:
    """Check that the markers of x, if there are any, come in pairs, each alone on its line.

    Raises UsageError when a block is not closed, was never opened, or holds another, or when a
    marker stands behind code.
    """
    problem = _misplaced(x) or _behind_code(x)
    if problem:
        raise UsageError(f"the EVOLVE-BLOCK markers of x are wrong: {problem}")


def check_regions(x: X) -> None:
    """Check the markers of a text, or of each text of a dict; parameters have none.

    Raises UsageError; for a text of a dict it names that, too.
    """
    if isinstance(x, str):
        check_markers(x)
        return
    for name, text in x.items():
        if isinstance(text, str):
            try:
                check_markers(text)
            except UsageError as error:
                raise UsageError(f"in the part {name!r}, {error}") from None


def check_protected(before: str, after: str) -> str | None:
    """Return None when all outside the blocks of `before` came back in `after`, byte for byte.

    The marker lines are outside. Else return a sentence for the model, with the first line that
    differs. Raises UsageError as `check_markers(before)` does.

    >>> x = "import os\\n# EVOLVE-BLOCK-START\\nx = 1\\n# EVOLVE-BLOCK-END\\n"
    >>> check_protected(x, x.replace("1", "2"))
    >>> print(check_protected(x, x.replace("os", "sys")))
    what stands outside the EVOLVE-BLOCK regions must come back byte for byte: \
line 1 is 'import os\\n', it came back as 'import sys\\n'
    """
    check_markers(before)
    if not has_protected(before):
        return None
    problem = _misplaced(after)
    if problem:
        return f"the EVOLVE-BLOCK marker lines must come back as they were: {problem}"
    for had, got in zip_longest(_outside(before), _outside(after)):
        if had is None or got is None or had[1] != got[1]:
            differ = _differ(had, got)
            return (
                "what stands outside the EVOLVE-BLOCK regions must come back byte for byte: "
                f"{differ}"
            )
    return None


def regions(x: str) -> list[tuple[int, int]]:
    """Return where the blocks of x begin and end, in characters, without their marker lines.

    An x without markers is one region as a whole. Raises UsageError as `check_markers` does.

    >>> x = "a\\n# EVOLVE-BLOCK-START\\nb = 1\\n# EVOLVE-BLOCK-END\\n"
    >>> [x[begin:end] for begin, end in regions(x)]
    ['b = 1\\n']
    """
    check_markers(x)
    if not has_protected(x):
        return [(0, len(x))]
    found: list[tuple[int, int]] = []
    place = begin = 0
    for line in lines_of(x):
        marker = _marker(line)
        if marker == "END":
            found.append((begin, place))
        place += len(line)
        if marker == "START":
            begin = place
    return found


def check_change(before: X, after: X) -> str | None:
    """Return None when a candidate kept what its parent protects; else what changed.

    Texts are compared as `check_protected` does, and so is each text of a dict. Parameters protect
    nothing. Raises UsageError as `check_regions(before)` does.

    >>> x = "# EVOLVE-BLOCK-START\\nx = 1\\n# EVOLVE-BLOCK-END\\nprint(x)\\n"
    >>> check_change({"a.py": x}, {"b.py": x})
    "the part 'a.py' holds EVOLVE-BLOCK regions and must come back"
    """
    if isinstance(before, str):
        if isinstance(after, str):
            return check_protected(before, after)
        if has_protected(before):
            return "x must stay one text: it holds EVOLVE-BLOCK regions"
        return None
    for name, text in before.items():
        if not isinstance(text, str) or not has_protected(text):
            continue
        other = after.get(name) if isinstance(after, dict) else None
        if not isinstance(other, str):
            return f"the part {name!r} holds EVOLVE-BLOCK regions and must come back"
        problem = check_protected(text, other)
        if problem is not None:
            return f"in the part {name!r}, {problem}"
    return None


def in_only_region(x: str, parent: str) -> str | None:
    """Return the parent with its only region written anew, where x is that region alone.

    A model may leave out what it must not change. x then holds no line of what the parent
    protects, or nothing of it but the markers at its ends. Returns None for any other x.

    >>> parent = "import os\\n# EVOLVE-BLOCK-START\\nx = 1\\n# EVOLVE-BLOCK-END\\n"
    >>> in_only_region("x = 2", parent) == parent.replace("1", "2")
    True
    """
    if not has_protected(parent) or _misplaced(parent):
        return None
    blocks = regions(parent)
    if len(blocks) != 1:
        return None
    lines = lines_of(x.strip("\r\n"))
    if len(lines) > 1 and _marker(lines[0]) == "START" and _marker(lines[-1]) == "END":
        lines = lines[1:-1]
    outside = {line.strip() for _, line in _outside(parent)}
    if any(line.strip() in outside for line in lines if line.strip()):
        return None
    text = "".join(lines)
    if text and not text.endswith("\n"):
        text += "\n"
    [(begin, end)] = blocks
    return parent[:begin] + text + parent[end:]


def _marker(line: str) -> str:
    """Return START or END for a marker line, else nothing."""
    match = _MARKER.match(line)
    return match[1] if match else ""


def _misplaced(x: str) -> str:
    """Return what is wrong with the order of the markers, or nothing."""
    opened = 0  # the line of the block that is open
    for number, line in enumerate(lines_of(x), 1):
        marker = _marker(line)
        if marker == "START" and opened:
            return f"line {number} starts a block inside the one that line {opened} started"
        if marker == "END" and not opened:
            return f"line {number} ends a block that no line started"
        opened = {"START": number, "END": 0}.get(marker, opened)
    return f"the block that line {opened} starts is never ended" if opened else ""


def _behind_code(x: str) -> str:
    """Return which line holds a marker that is none, since code stands before it, or nothing."""
    for number, line in enumerate(lines_of(x), 1):
        if _BEHIND_CODE.search(line) and not _marker(line):
            return (
                f"line {number} holds a marker behind code; give it a line of its own"
            )
    return ""


def _outside(x: str) -> Iterator[tuple[int, str]]:
    """Yield the lines outside of the blocks, marker lines as well, with their numbers."""
    inside = False
    for number, line in enumerate(lines_of(x), 1):
        marker = _marker(line)
        if not inside or marker:
            yield number, line
        inside = marker == "START" or (inside and not marker)


def _differ(had: tuple[int, str] | None, got: tuple[int, str] | None) -> str:
    if got is None:
        return f"line {had[0]}, {_quoted(had[1])}, is missing" if had else ""
    if had is None:
        return f"{_quoted(got[1])} was added at the end, as line {got[0]}"
    expected, found = _quoted(had[1]), _quoted(got[1])
    return f"line {had[0]} is {expected}, it came back as {found}"


def _quoted(line: str) -> str:
    if len(line) > _MAX_LINE_CHARS:
        line = line[:_MAX_LINE_CHARS] + "…"
    return repr(line)
