"""Syntax colors of a text, by Pygments, as runs of characters; no markup is made of the text.

The browser colors the lines itself from these runs, so that no text of a candidate becomes HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ...text import lines_of
from ..language import language_of

if TYPE_CHECKING:
    from pygments.lexer import Lexer

_KINDS = {  # the beginning of a token's kind, and its letter; the longest beginning counts
    "Token.Comment": "c",
    "Token.Keyword": "k",
    "Token.Keyword.Constant": "n",
    "Token.Literal.Number": "n",
    "Token.Literal.String": "s",
    "Token.Name.Attribute": "f",
    "Token.Name.Builtin": "b",
    "Token.Name.Class": "f",
    "Token.Name.Decorator": "d",
    "Token.Name.Exception": "b",
    "Token.Name.Function": "f",
    "Token.Name.Tag": "k",
    "Token.Operator.Word": "k",
}
_PLAIN = "."  # the letter of every other token
# What may begin a token of several lines.
_MANY_LINES = re.compile(r"\"\"\"|'''|/\*|<!--|`")
_MAX_CHARS = 200_000  # of one text

Run = tuple[str, int]  # a letter, and a length in UTF-16 units, as browsers count


class Colors:
    """Colors texts that are much alike, such as the trials of a run: a known line is cached.

    A text with tokens of several lines must be read as a whole, which is slow.

    Args:
        whole_chars: how many characters are read so; beyond, each line is read on its own.
    """

    def __init__(self, whole_chars: int = 400_000) -> None:
        self._left = whole_chars
        self._lexers: dict[str, Lexer | None] = {}
        self._lines: dict[tuple[str, str], str] = {}

    def of(self, name: str, text: str) -> str:
        r"""Return the runs of each line of a text; "" for a text without colors.

        A run is a letter and a length in UTF-16 units.

        >>> Colors().of("", "import a\nx = 'b'")
        'k6.2\n.4s3'
        """
        language = language_of(text, name)
        if language not in self._lexers:
            self._lexers[language] = _find(language)
        lexer = self._lexers[language]
        if lexer is None or len(text) > _MAX_CHARS:
            return ""
        if _MANY_LINES.search(text) and len(text) <= self._left:
            self._left -= len(text)
            return "\n".join(_runs(lexer, text))
        runs = [self._line(language, lexer, line) for line in lines_of(text)]
        return "\n".join(runs)

    def _line(self, language: str, lexer: Lexer, line: str) -> str:
        key = (language, line)
        if key not in self._lines:
            self._lines[key] = next(_runs(lexer, line), "")
        return self._lines[key]


def _find(language: str) -> Lexer | None:
    from pygments.lexers import get_lexer_by_name
    from pygments.util import ClassNotFound

    if language == "text":
        return None
    try:
        return get_lexer_by_name(language, stripnl=False, ensurenl=False)
    except ClassNotFound:
        return None


def _runs(lexer: Any, text: str) -> Iterator[str]:
    """Yield the runs of each line."""
    line: list[Run] = []
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        letter = _letter(str(kind))
        first, *others = value.split("\n")
        if first:
            line.append((letter, _units(first)))
        for piece in others:  # each begins a new line
            yield _joined(line)
            line = [(letter, _units(piece))] if piece else []
    if line:
        yield _joined(line)


def _joined(line: list[Run]) -> str:
    """Return the runs of a line as text, neighbors of one letter joined; "" for a plain line."""
    if all(letter == _PLAIN for letter, _ in line):
        return ""
    joined: list[Run] = []
    for letter, length in line:
        if joined and joined[-1][0] == letter:
            length += joined.pop()[1]
        joined.append((letter, length))
    return "".join(f"{letter}{length}" for letter, length in joined)


def _letter(kind: str) -> str:
    """Return the letter of the longest known beginning of a kind such as "Token.Name.Class"."""
    while kind:
        if kind in _KINDS:
            return _KINDS[kind]
        kind = kind.rpartition(".")[0]
    return _PLAIN


def _units(text: str) -> int:
    """Return the length of a text as browsers count it: in UTF-16 units."""
    if text.isascii():
        return len(text)
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
