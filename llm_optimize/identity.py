"""Identity of candidates: a key that is equal for two x which are the same for f.

Pure functions of x. Keys are stored, so they depend on no hash of this process and hardly on the
version of Python.
"""

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
    r"""Return a key that two candidates share if they are the same for f, as far as is known.

    Python is compared by its syntax tree: comments, layout and quotes do not count, docstrings
    do. A text counts as Python only if `is_python` says so. Other texts are compared line by
    line, without trailing white space and without empty lines at either end. In a dict the order
    of the names does not count, 1 is 1.0, and a text with the name of a file is compared as a
    text. No text raises; one that is too long or too deep to parse is compared as a text.

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
        # x is not plain data: its key is unique, so it is never taken for a known x.
        return f"like no other: {uuid.uuid4().hex}"


def is_python(text: str) -> bool:
    """Return whether a text is Python with more than bare expressions and annotations.

    Almost any word is an expression to Python, and "note: this" an annotation: such texts count
    as prose.

    >>> is_python("x = 1"), is_python("hello"), is_python("note: this"), is_python("two words")
    (True, False, False, False)
    """
    return _tree_of(text) is not None


def _key_of_text(text: str) -> str:
    tree = _tree_of(text)
    if tree is not None:
        # No other key has a line that ends in white space.
        return f"python \n{_digest(tree)}"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    key = "\n".join(line.rstrip() for line in lines).strip("\n")
    # Return the same object where the two are equal, so that to keep the key costs no memory.
    return text if key == text else key


def _tree_of(text: str) -> ast.Module | None:
    """Return the syntax tree of a text that `is_python`, else None."""
    if len(text) > _MAX_PYTHON_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the candidate's code
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    for node in tree.body:
        # Prose parses at times: as expressions, and as annotations without a value ("Note: this").
        is_bare = isinstance(node, ast.AnnAssign) and node.value is None
        if not is_bare and not isinstance(node, ast.Expr):
            return tree
    return None


# The digest of a syntax tree. `ast.dump` would not do: it calls itself, so a deep tree ends it,
# and its text changes when a version of Python adds a field. Here only the classes of the nodes
# and those of their fields that hold something are hashed.


def _digest(tree: ast.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for token in _tokens(tree):
        digest.update(token.encode("ascii", "backslashreplace") + b"\0")
    return digest.hexdigest()


def _tokens(tree: ast.AST) -> Iterator[str]:
    """Yield what a tree is made of, depth first, with a stack of its own.

    An entry of the stack is a token, or no token and a part that is yet to be taken apart.
    """
    stack: list[tuple[str, Any]] = [("", tree)]
    while stack:
        token, part = stack.pop()
        if token:
            yield token
        elif isinstance(part, ast.AST):
            yield f"({type(part).__name__}"
            stack.append((")", None))
            for name in sorted(set(part._fields) - _NO_MEANING, reverse=True):
                value = getattr(part, name, None)
                if value is not None and value != []:
                    stack.append(("", value))
                    stack.append((f".{name}", None))
        elif isinstance(part, list):
            yield "["
            stack.append(("]", None))
            stack.extend(("", item) for item in reversed(part))
        else:
            yield _leaf(part)


def _leaf(value: Any) -> str:
    """Return a name or a constant as ASCII that no setting and no version of Python changes."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, bytes):
        return f"b{value.hex()}"
    if type(value) is int:
        return hex(value)  # of any length: Python limits decimal digits
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, complex):
        return f"{value.real.hex()} {value.imag.hex()}j"
    return repr(value)


def _comparable(value: Any, name: str = "") -> Any:
    """Return data whose JSON is equal where the values are the same for f."""
    if isinstance(value, dict):
        return {str(key): _comparable(part, str(key)) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_comparable(part) for part in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and PurePosixPath(name).suffix and value.strip():
        return _key_of_text(value)
    return value
