"""Which language a text is written in, by the name of its file or by what it looks like."""

from __future__ import annotations

import json
import re
from functools import lru_cache

__all__ = ["language_of"]

_MAX_CHARS = 10_000  # of a text that is looked at, for other languages than JSON
_SIGNS = {  # by what only they begin a line with
    "html": r"\A\s*<(!DOCTYPE|html|svg)",
    "c++": r"^(#include|template ?<|using namespace|(static |inline )*(int|void|double) \w+\()",
    "javascript": r"^(export |async )*(function \w|const \w+ =|let \w+ =)",
    "sql": r"^(SELECT|INSERT|CREATE TABLE|WITH) ",
    "python": (
        r"^[ \t]*(def |async def |class |import |from [\w.]+ import |return\b|for \w.* in |if .+:$|while .+:$|@\w"
        r"|[A-Za-z_]\w*(, ?\w+)* [-+*/]?= \S)"
    ),
}


def language_of(text: str, name: str = "") -> str:
    """Return the language of a text, by a name that Pygments knows; "text" when none is seen.

    Args:
        text: of a candidate, or of one of its named parts.
        name: of the part; one that ends like the name of a file decides, where Pygments is installed.

    >>> language_of("def f():\\n    return 1"), language_of("To be, or not to be."), language_of("#include <map>")
    ('python', 'text', 'c++')
    >>> language_of('{"lr": 0.1}'), language_of("{a: b}"), language_of("", "style.css")
    ('json', 'text', 'css')
    """
    if re.search(r"\.\w+$", name):
        return _of_file(name)
    if text.lstrip()[:1] in ("{", "[") and _is_json(text):
        return "json"
    head = text[:_MAX_CHARS]
    return next(
        (language for language, sign in _SIGNS.items() if re.search(sign, head, re.M)),
        "text",
    )


@lru_cache(maxsize=256)
def _of_file(name: str) -> str:
    try:
        from pygments.lexers import find_lexer_class_for_filename
    except ImportError:
        return "text"
    found = find_lexer_class_for_filename(name.rsplit("/", 1)[-1])
    return found.aliases[0] if found is not None and found.aliases else "text"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
