"""Text for display: clipped, on one line, without control characters; numbers and differences.

Pure functions. What they are given may be hostile (a candidate, an output, a reply): they never
raise on a text, and `visible` makes every control character harmless.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

from .identity import X as X
from .identity import is_python as is_python
from .identity import key_of as key_of


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their line ends; joined, they are the text again.

    >>> lines_of("a\\r\\n\\nb")
    ['a\\r\\n', '\\n', 'b']
    """
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def clip(text: str, max_chars: int) -> str:
    """Keep the head and the tail of a long text, and say how much is left out.

    The result, with its note, is never longer than `max_chars`.

    >>> clip("a" * 50 + "b" * 50, 40)
    'aaaaaaa\\n[... 86 characters ...]\\nbbbbbbb'
    """
    if len(text) <= max_chars:
        return text
    longest_note = _left_out(len(text))
    head = max(0, max_chars - len(longest_note)) // 2
    tail = len(text) - head
    note = _left_out(tail - head)
    return (text[:head] + note + text[tail:])[:max_chars]


def _left_out(chars: int) -> str:
    return f"\n[... {chars} characters ...]\n"


def visible(text: str) -> str:
    r"""Return text whose control characters can be seen and do nothing; lines and tabs stay.

    >>> visible("red \x1b[31m")
    'red \\x1b[31m'
    """
    if text.isprintable():
        return text
    shown = []
    for char in text:
        if not char.isprintable() and char not in "\n\t":
            char = char.encode("unicode_escape", "surrogatepass").decode()
        shown.append(char)
    return "".join(shown)


def one_line(text: str, max_chars: int = 120) -> str:
    """Return text on one line, its white space folded, cut at the end.

    >>> one_line("a\\n  b", 10)
    'a b'
    """
    folded = " ".join(visible(text).split())
    if len(folded) <= max_chars:
        return folded
    return folded[: max(0, max_chars - 1)] + "…"


def counted(number: int, thing: str) -> str:
    """Return how many there are of a thing.

    >>> counted(1, "trial"), counted(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def storable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a lone surrogate, as hostile output has, is escaped.

    >>> storable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@runtime_checkable
class HasFacts(Protocol):
    """A record that is shown by other facts than its fields."""

    def facts(self) -> dict[str, Any]:
        """Return them by their names."""


def plain(
    value: Any, of_infinite: Callable[[float], str | None] = lambda _: None
) -> Any:
    """Return plain data for JSON, made of records, mappings and sequences.

    Other objects become their `repr`. JSON has neither NaN nor infinity: `of_infinite` returns
    what replaces them.

    >>> plain({"a": (1, float("nan"))}), plain({"a": (1, float("nan"))}, str)
    ({'a': [1, None]}, {'a': [1, 'nan']})
    """
    if isinstance(value, HasFacts) and not isinstance(value, type):
        value = value.facts()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        named = {}
        for key, part in value.items():
            named[str(key)] = plain(part, of_infinite)
        return named
    if isinstance(value, list | tuple):
        return [plain(part, of_infinite) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return of_infinite(value)
    if isinstance(value, str | int | float | bool | None):
        return value
    return repr(value)


def show_number(value: float, others: Iterable[float] = (), least: int = 4) -> str:
    """Format a number with enough digits to tell it from the others, and at least `least`.

    >>> show_number(0.96111111), show_number(0.96111111, [0.96111119])
    ('0.9611', '0.9611111')
    """
    value = value or 0.0  # -0.0 is shown as 0
    different = [other for other in others if other != value]
    for digits in range(least, 17):
        shown = f"{value:.{digits}g}"
        others_shown = [f"{other:.{digits}g}" for other in different]
        if shown not in others_shown:
            return shown
    return repr(value)


def show_numbers(values: Sequence[float], least: int = 4) -> list[str]:
    """Format each finite number as `show_number` does among all of them, in O(n log n).

    Rounding keeps the order, so that a number which differs from its two neighbors in that order
    differs from all.

    >>> show_numbers([0.96111111, 0.5, 0.96111119])
    ['0.9611111', '0.5', '0.9611112']
    """
    ordered = sorted({value or 0.0 for value in values})
    shown: dict[float, str] = {}
    for place, value in enumerate(ordered):
        first = max(0, place - 1)
        neighbors = ordered[first : place + 2]
        shown[value] = show_number(value, neighbors, least)
    return [shown[value or 0.0] for value in values]


def is_parts(x: object) -> TypeGuard[dict[str, str]]:
    """Return whether x is a dict of named texts, each with a name that can stand on a line.

    >>> is_parts({"a.py": "x = 1"}), is_parts({"lr": 0.1}), is_parts("x = 1")
    (True, False, False)
    """
    if not isinstance(x, dict) or not x:
        return False
    for name, text in x.items():
        if not isinstance(name, str) or not isinstance(text, str):
            return False
        if not name or name != name.strip() or "\n" in name:
            return False
    return True


def show_x(x: X) -> str:
    """Return x as text: itself, the JSON of parameters, or named texts one after the other."""
    if isinstance(x, str):
        return x
    has_lines = [isinstance(part, str) and "\n" in part for part in x.values()]
    if not x or not all(has_lines):
        return json.dumps(x, indent=1, default=repr)
    titled = [f"=== {name}\n{part}" for name, part in x.items()]
    return "\n".join(titled)


def unified_diff(
    old: str, new: str, old_name: str = "parent", new_name: str = "child"
) -> str:
    """Return the difference of two texts, as `diff -u` shows it; empty when they are equal."""
    before, after = old.splitlines(), new.splitlines()
    lines = difflib.unified_diff(before, after, old_name, new_name, lineterm="")
    return "\n".join(lines)
