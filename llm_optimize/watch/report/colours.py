"""The colours of a text's syntax, by Pygments, as runs of characters; nobody makes markup of the text."""

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
_MANY_LINES = re.compile(
    r"\"\"\"|'''|/\*|<!--|`"
)  # what may begin a token of several lines
_MAX_CHARS = 200_000  # of one text


class Colours:
    """Colours texts that are much alike: a line seen before costs nothing."""

    def __init__(self, whole_chars: int = 400_000) -> None:
        """Take how many characters may be read as whole texts; beyond, each line is read on its own."""
        self._left = whole_chars
        self._lexers: dict[str, Lexer | None] = {}
        self._lines: dict[tuple[str, str], str] = {}

    def of(self, name: str, text: str) -> str:
        r"""Return for each line its runs: a letter and a length in UTF-16 units; "" for a text without colours.

        >>> Colours().of("", "import a\nx = 'b'")
        'k6.2\n.4s3'
        """
        language = language_of(text, name)
        lexer = self._lexer(language)
        if lexer is None or len(text) > _MAX_CHARS:
            return ""
        if _MANY_LINES.search(text) and len(text) <= self._left:
            self._left -= len(text)
            return "\n".join(_runs(lexer, text))
        return "\n".join(self._line(language, lexer, line) for line in lines_of(text))

    def _lexer(self, language: str) -> Lexer | None:
        if language not in self._lexers:
            self._lexers[language] = _find(language)
        return self._lexers[language]

    def _line(self, language: str, lexer: Lexer, line: str) -> str:
        if (language, line) not in self._lines:
            self._lines[language, line] = next(_runs(lexer, line), "")
        return self._lines[language, line]


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
    line: list[tuple[str, int]] = []
    for _, kind, value in lexer.get_tokens_unprocessed(text):
        letter = _letter(str(kind))
        for place, piece in enumerate(value.split("\n")):
            if place:
                yield _written(line)
                line = []
            if piece:
                line.append((letter, _units(piece)))
    if line:
        yield _written(line)


def _written(line: list[tuple[str, int]]) -> str:
    joined: list[tuple[str, int]] = []
    for letter, length in line:
        if joined and joined[-1][0] == letter:
            length += joined.pop()[1]
        joined.append((letter, length))
    return (
        ""
        if {letter for letter, _ in joined} == {"."}
        else "".join(f"{a}{n}" for a, n in joined)
    )


def _letter(kind: str) -> str:
    fitting = [
        beginning
        for beginning in _KINDS
        if kind == beginning or kind.startswith(beginning + ".")
    ]
    return _KINDS[max(fitting, key=len)] if fitting else "."


def _units(text: str) -> int:
    """Return the length of a text as browsers count it."""
    return (
        len(text)
        if text.isascii()
        else len(text.encode("utf-16-le", "surrogatepass")) // 2
    )
