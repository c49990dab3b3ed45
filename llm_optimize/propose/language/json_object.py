"""The JSON object of a reply, also where it is a Python dict or has comments and trailing commas.

Pure functions. An object that is not JSON is read as a whole or not at all: its inner objects are
never taken for the answer.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from ...errors import EditFailed
from .blocks import find_blocks

_MAX_STRAY_BRACES = 2_000  # that begin no object, before a reply is taken for hostile
# Braces that are never closed; each costs a look at the rest of the reply.
_MAX_UNCLOSED = 3
_MAX_LENIENT_CHARS = 20_000  # of an object that is not JSON

_STRING = r'"(?:[^"\\\n]|\\.)*"' + "|" + r"'(?:[^'\\\n]|\\.)*'"
_COMMENT = r"//[^\n]*|\#[^\n]*|/\*[^*]*\*/"
_BRACE = re.compile(rf"{_STRING}|{_COMMENT}|(?P<brace>[{{}}])")
_STRING_OR_COMMENT = re.compile(rf"(?P<string>{_STRING})|{_COMMENT}")
_STRING_OR_WORD = re.compile(rf"(?P<string>{_STRING})|\b(?P<word>true|false|null)\b")
_WORDS = {"true": "True", "false": "False", "null": "None"}
_UNREADABLE = (
    SyntaxError,
    ValueError,
    TypeError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)
_CURLY_QUOTES = str.maketrans("\u201c\u201d\u201e\u2018\u2019", '"""\'\'')


def last_json_object(reply: str) -> dict[str, Any] | None:
    """Return the last whole object of a reply, one in a fence before any in prose; None without.

    >>> last_json_object('first {"a": 1}, then {"a": {"b": 2}} as said')
    {'a': {'b': 2}}
    >>> last_json_object("{'a': True, 'b': 1/4,}  # a Python dict")
    {'a': True, 'b': 0.25}
    """
    try:
        blocks = find_blocks(reply)
    except EditFailed:
        blocks = []  # a fence that is not closed may still hold a whole object
    for block in reversed(blocks):
        found = _last_object(block.text)
        if found is not None:
            return found
    return _last_object(reply)


def _last_object(text: str) -> dict[str, Any] | None:
    """Return the last object that is whole; one that cannot be read is passed over as a whole."""
    decoder = json.JSONDecoder()
    found: dict[str, Any] | None = None
    stray = unclosed = 0
    at = text.find("{")
    while at >= 0 and stray < _MAX_STRAY_BRACES and unclosed < _MAX_UNCLOSED:
        try:
            found, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            stray += 1
            end = _closing_brace(text, at) + 1
            if end:
                lenient = _read_leniently(text[at:end])
                found = found if lenient is None else lenient
            else:
                unclosed += 1
                end = at + 1
        at = text.find("{", end)
    return found


def _closing_brace(text: str, at: int) -> int:
    """Return where the object ends that begins at a place; -1 where it never does."""
    depth = 0
    for token in _BRACE.finditer(text, at):
        if token["brace"] == "{":
            depth += 1
        elif token["brace"] == "}":
            depth -= 1
            if not depth:
                return token.start()
    return -1


def _read_leniently(text: str) -> dict[str, Any] | None:
    """Return an object that is nearly JSON, or a Python dict of plain values; else None."""
    if len(text) > _MAX_LENIENT_CHARS:
        return None
    text = text.translate(_CURLY_QUOTES)
    text = _STRING_OR_COMMENT.sub(lambda match: match["string"] or " ", text)
    text = _STRING_OR_WORD.sub(
        lambda match: match["string"] or _WORDS[match["word"]], text
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the model's code, for the model
            value = _value(ast.parse(text, mode="eval").body)
    except _UNREADABLE:
        return None
    return value if isinstance(value, dict) else None


def _value(node: ast.expr) -> Any:
    """Return what a literal means; numbers may be fractions. Raises ValueError for other code."""
    if isinstance(node, ast.Dict):
        found = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
                raise ValueError("no name")
            found[key.value] = _value(value)
        return found
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(one) for one in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return ast.literal_eval(node.left) / ast.literal_eval(node.right)
    value = ast.literal_eval(node)
    if isinstance(value, str | int | float | bool | None):
        return value
    raise ValueError("no JSON value")
