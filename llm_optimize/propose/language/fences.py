r"""Fences: the bars of backticks or tildes around a text in Markdown.

Pure functions on lines. Fences are read as CommonMark defines them: up to three spaces before the
bar, a language or a title behind the opening one, and a closing bar at least as long. How the
blocks of a whole reply are found, with the mistakes that models make, stands in `blocks.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_OPENING = re.compile(r"^( {0,3})(`{3,}|~{3,})(.*)$")
_CLOSING = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*$")
_BACKTICKS = re.compile(r"`+")


@dataclass(frozen=True)
class Fence:
    """An opening line, taken apart."""

    indent: str
    bar: str
    info: str  # language, title or path behind the bar

    @property
    def language(self) -> str:
        """The language in small letters, empty where none is given."""
        words = self.info.lower().replace("{", " ").replace(":", " ").split()
        return words[0].lstrip(".") if words else ""


def opening_fence(line: str) -> Fence | None:
    """Return the fence that a line opens; None for any other line.

    >>> opening_fence("  ```python a.py")
    Fence(indent='  ', bar='```', info='python a.py')
    """
    if "```" not in line and "~~~" not in line:
        return None
    match = _OPENING.match(line.removesuffix("\r"))
    if match is None:
        return None
    indent, bar, info = match.groups()
    if bar[0] == "`" and "`" in info:  # code within a line of prose
        return None
    return Fence(indent, bar, info.strip())


def closes_fence(line: str, bar: str) -> bool:
    """Return whether a line closes the block that `bar` opened."""
    if bar not in line:
        return False
    match = _CLOSING.match(line.removesuffix("\r"))
    return match is not None and match[1].startswith(bar)


def holds_fence(text: str) -> bool:
    """Return whether a line of the text looks like a bar.

    >>> holds_fence("a\\n```\\nb\\n```"), holds_fence("a ``` b")
    (True, False)
    """
    return any(map(opening_fence, text.split("\n")))


def fence(x: str, tag: str = "") -> str:
    """Return x as a fenced block; its bars are longer than any run of backticks in x.

    >>> print(fence("a ``` b"))
    ````
    a ``` b
    ````
    """
    longest = max(map(len, _BACKTICKS.findall(x)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}{tag}\n{x}\n{bar}"
