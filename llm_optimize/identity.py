"""Identity: what makes two candidates the same."""

from __future__ import annotations

import ast
import hashlib
import json
import uuid
import warnings
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, TypeAlias

X: TypeAlias = str | dict[str, Any]

_MAX_PYTHON_CHARS = 100_000  # of a text that is parsed: a quarter of a second at most
_NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}  # fields of a syntax tree


def key_of(x: X) -> str:
    r"""Return what two candidates share if, and only if, they are the same for f as far as can be told.

    Python is compared by its syntax tree: comments, layout and quotes are one, docstrings count. A text is taken for
    Python only where it holds a statement that prose and data do not hold by chance (see `is_python`). Other texts are
    compared line by line, without trailing white space and empty lines at either end. In a dict the order of the names
    does not count, 1 is 1.0, and a text whose name is a file's is compared as a text. No text raises, and texts too
    long or too deep to parse are compared as texts.

    The key of Python is a digest of the tree's classes and of those of their fields that hold something; neither the
    hashes of this process nor fields that newer versions of Python add empty are in it, so that it may be stored.

    >>> key_of("x=1 # one") == key_of("x = 1\n")
    True
    >>> key_of("Take it. # one") == key_of("Take it.")
    False
    >>> key_of({"a": 1, "b": 2.0}) == key_of({"b": 2, "a": 1.0})
    True
    """
    if isinstance(x, str):
        return _key_of_text(x)
    try:
        return json.dumps(_comparable(x), sort_keys=True, default=repr)
    except (RecursionError, TypeError, ValueError):
        return f"like no other: {uuid.uuid4().hex}"  # no plain data: never taken for one that is known


def is_python(text: str) -> bool:
    """Return whether a text is a Python module with a statement that is no bare expression or annotation.

    Almost any word is an expression to Python, and "note: this" an annotation; such texts are taken for prose.

    >>> is_python("x = 1"), is_python("hello"), is_python("note: this"), is_python("two words")
    (True, False, False, False)
    """
    return _tree_of(text) is not None


def _key_of_text(text: str) -> str:
    tree = _tree_of(text)
    if tree is not None:
        digest = hashlib.blake2b(digest_size=16)
        for token in _tokens(tree):
            digest.update(token.encode("ascii", "backslashreplace") + b"\0")
        return f"python \n{digest.hexdigest()}"  # no line of another key ends in white space
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    key = "\n".join(line.rstrip() for line in lines).strip("\n")
    return (
        text if key == text else key
    )  # the same object: whoever keeps the key of such a text needs no memory for it


def _tree_of(text: str) -> ast.Module | None:
    """Return the syntax tree of a text that `is_python`, else None."""
    if len(text) > _MAX_PYTHON_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of the candidate's code, for the candidate
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    return tree if any(map(_is_statement, tree.body)) else None


def _is_statement(node: ast.stmt) -> bool:
    return not (
        isinstance(node, ast.Expr)
        or (isinstance(node, ast.AnnAssign) and node.value is None)
    )


def _tokens(tree: ast.AST) -> Iterator[str]:
    """Yield what a tree is made of, in order, without calling itself: a tree may be deep."""
    left: list[tuple[str, Any]] = [
        ("", tree)
    ]  # a token, or what is still to be taken apart
    while left:
        token, part = left.pop()
        if token:
            yield token
        elif isinstance(part, ast.AST):
            yield f"({type(part).__name__}"
            left.append((")", None))
            for name in sorted(set(part._fields) - _NO_MEANING, reverse=True):
                value = getattr(part, name, None)
                if value is not None and value != []:
                    left += [("", value), (f".{name}", None)]
        elif isinstance(part, list):
            yield "["
            left += [("]", None), *(("", one) for one in reversed(part))]
        else:
            yield _leaf(part)


def _leaf(value: Any) -> str:
    """Return a name or a constant as ASCII that no setting and no version of Python changes."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bytes):
        return f"b{value.hex()}"
    if type(value) is int:
        return hex(value)  # of any length: there is a cap on decimal digits
    if isinstance(value, float):
        return value.hex()
    return (
        f"{value.real.hex()} {value.imag.hex()}j"
        if isinstance(value, complex)
        else repr(value)
    )


def _comparable(value: Any, name: str = "") -> Any:
    """Return data of which equal JSON means equal to f."""
    if isinstance(value, dict):
        return {str(key): _comparable(part, str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and PurePosixPath(name).suffix and value.strip():
        return _key_of_text(value)
    return value
