"""Language of a text, by the name of its file or by what it looks like.

The one place that guesses, for the terminal and for the report. Pygments' own `guess_lexer` is no
substitute: it takes prose for code, and the terminal works without Pygments.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache

__all__ = ["language_of"]

_MAX_CHARS = 10_000  # of a text that is looked at, for other languages than JSON
_PYTHON = (
    r"def |async def |class |import |from [\w.]+ import |return\b|for \w.* in "
    r"|if .+:$|while .+:$|@\w|[A-Za-z_]\w*(, ?\w+)* [-+*/]?= \S"
)
_CPP = r"#include|template ?<|using namespace|(static |inline )*(int|void|double) \w+\("
_SIGNS = {  # beginnings of a line that only this language has, in the order of trying
    "html": r"\A\s*<(!DOCTYPE|html|svg)",
    "c++": rf"^({_CPP})",
    "javascript": r"^(export |async )*(function \w|const \w+ =|let \w+ =)",
    "sql": r"^(SELECT|INSERT|CREATE TABLE|WITH) ",
    "python": rf"^[ \t]*({_PYTHON})",
}


def language_of(text: str, name: str = "") -> str:
    """Return the language of a text, by a name that Pygments knows; "text" when none is seen.

    Args:
        text: of a candidate, or of one of its named parts.
        name: of the part; a file extension decides, where Pygments is installed.

    >>> language_of("def f():\\n    return 1"), language_of("To be, or not to be.")
    ('python', 'text')
    >>> language_of('{"lr": 0.1}'), language_of("{a: b}"), language_of("", "style.css")
    ('json', 'text', 'css')
    """
    if re.search(r"\.\w+$", name):
        return _of_file(name)
    if text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return "json"
    head = text[:_MAX_CHARS]
    for language, sign in _SIGNS.items():
        if re.search(sign, head, re.M):
            return language
    return "text"


@lru_cache(maxsize=256)
def _of_file(name: str) -> str:
    try:
        from pygments.lexers import find_lexer_class_for_filename
    except ImportError:
        return "text"
    found = find_lexer_class_for_filename(name.rsplit("/", 1)[-1])
    if found is None or not found.aliases:
        return "text"
    return str(found.aliases[0])


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
