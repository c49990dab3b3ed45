"""Whole texts: which block of a reply is x, and which texts cannot be one.

Pure functions. A reply may hold commands, output and examples beside x, and a block may hold only
a piece of x. Where the parent is Python, its syntax tree tells them apart; otherwise the last
block counts, as prompts ask for.
"""

from __future__ import annotations

import ast
import html
import re
import warnings
from collections.abc import Sequence

from ...errors import EditFailed
from ...identity import is_python
from ...text import one_line
from .blocks import NO_BLOCK, PROSE, Block
from .fences import holds_fence, opening_fence

_BOM = "\ufeff"
_MAX_PYTHON_CHARS = 100_000  # of a text that is parsed: a quarter of a second at most
_MAX_QUOTED_CHARS = 80  # of a line in a message

_ASIDES = {  # languages of commands, of output and of changes, which are rarely x
    *("bash", "sh", "shell", "zsh", "console", "terminal", "powershell", "cmd", "bat"),
    *("output", "stdout", "diff", "patch"),
}
_PYTHON_WORDS = ("python", "python3", "py")
_FOREIGN_EDIT = re.compile(
    r"^(?:@@ -\d+(?:,\d+)? \+\d+|\*\*\* (?:Begin Patch|Update File)|diff --git "
    r"|<{5,} ?HEAD|>{5,} ?UPDATED)",
    re.M | re.I,
)
_CODE = (
    r"(?:code|class|function|method|implementation|program|script|module|file|logic)s?"
)
_SAME = r"(?:unchanged|the same|as before|as is|omitted|not shown)"
_DOTS = r"(?:\.\.\.|…)"
_ELIDED = re.compile(
    rf"""^\s*(?:\#|//|--|/\*|<!--|%|;)\W*(?:
    (?:the\s+)?(?:rest|remainder)\s+of\s+(?:the\s+|your\s+|this\s+)?(?:\w+\s+)?{_CODE}\b
    | .*\b{_CODE}\b.*\b(?:remains?|stays?|is|are)\s+{_SAME}
    | {_DOTS}?\s*(?:existing|previous|remaining|other|original|same)\s+(?:\w+\s+)?{_CODE}\b.*
      (?:{_DOTS}|{_SAME}|here)
    )""",
    re.I | re.X | re.M,
)


def is_aside(block: Block) -> bool:
    """Return whether a block is in a language of commands, output or changes."""
    return block.fence is not None and block.fence.language in _ASIDES


def read_whole(blocks: Sequence[Block], parent: str | None) -> str:
    """Return the text among the blocks that is x, as it is written.

    Raises EditFailed, with a message for the model, where none is or where the one that is cannot
    be a whole x.
    """
    candidates = [block for block in blocks if not block.edits]
    if not candidates:
        raise EditFailed(NO_BLOCK)
    block = _choose(candidates, parent)
    refuse_inner_fence(block, parent)
    text = _mended(block, parent)
    refuse_whole(block, text, parent)
    return text


def _choose(blocks: Sequence[Block], parent: str | None) -> Block:
    """Return the block that is x: the last that is not blank, nor an aside, nor a mere piece."""
    filled = [block for block in blocks if block.text.strip()]
    likely = [block for block in filled if not is_aside(block)]
    candidates = likely or filled or list(blocks)
    last = candidates[-1]
    if len(candidates) == 1 or parent is None or not is_python(parent):
        return last
    names = _names(_parsed(parent))
    best, most = None, 0
    for block in candidates:
        shared = len(names & _names(_parsed(block.text)))
        if shared and shared >= most and block.text.strip() != parent.strip():
            best, most = block, shared
    if best is not None:
        return best
    for block in reversed(candidates):
        if is_python(block.text) and not _fragment(block.text, parent):
            return block
    return last


def _mended(block: Block, parent: str | None) -> str:
    """Return the text of a block; of Python, without what some models do to its signs."""
    text = block.text
    if parent is None or not is_python(parent):
        return text
    first, _, rest = text.partition("\n")
    if (
        block.fence is not None
        and not block.fence.info
        and first.strip() in _PYTHON_WORDS
    ):
        text = rest  # the language, which belongs behind the bar
    if isinstance(_parsed(text), SyntaxError):
        for better in (text.replace("\u00a0", " "), html.unescape(text)):
            if isinstance(_parsed(better), ast.Module):
                return better
    return text


def refuse_inner_fence(block: Block, parent: str | None) -> None:
    """Raise EditFailed where another block seems to begin within one: a bar is missing."""
    if (
        block.fence is None
        or block.fence.language in PROSE
        or holds_fence(parent or "")
    ):
        return
    for line in block.text.split("\n"):
        inner = opening_fence(line)
        if inner is not None and inner.info and inner.bar.startswith(block.fence.bar):
            raise EditFailed(
                f"a line {line.strip()} stands inside of a fenced block: close the block before "
                "it, or write longer bars around x"
            )


def refuse_whole(block: Block, text: str, parent: str | None) -> None:
    """Raise EditFailed for a text that cannot be a whole x; the message is for the model.

    Args:
        block: in which the text stands, with its language.
        text: of the block, mended. It is not blank unless x may be.
        parent: what it takes the place of.
    """
    parent = parent or ""
    if not text.strip() and parent.strip():
        raise EditFailed("the fenced block is empty: write the complete x into it")
    if _FOREIGN_EDIT.search(text) and not _FOREIGN_EDIT.search(parent):
        raise EditFailed(
            "the block holds the markers of a diff or of edits: "
            "write SEARCH/REPLACE edits outside of other text, or the complete x"
        )
    for match in _ELIDED.finditer(text):
        line = match[0].strip()
        if line not in parent:
            quoted = one_line(line, _MAX_QUOTED_CHARS)
            raise EditFailed(f"x leaves out lines, at {quoted!r}: write the complete x")
    problem = ""
    is_program = _is_program(parent)
    if block.fence is not None and block.fence.language in _PYTHON_WORDS:
        is_program = is_program or is_python(parent)
    if is_program:
        problem = _fragment(text, parent)
    if problem:
        raise EditFailed(f"{problem}: write the complete x")


def is_whole_python(text: str, parent: str) -> bool:
    """Return whether a reply without any block is x itself: both are Python programs."""
    return is_python(parent) and _is_program(text) and not _fragment(text, parent)


def _fragment(text: str, parent: str) -> str:
    """Return why a text is a mere piece of the Python that its parent is, or nothing."""
    tree = _parsed(text)
    if isinstance(tree, SyntaxError):
        return f"x is Python, and the block is not (line {tree.lineno}: {tree.msg})"
    wanted = _definitions(_parsed(parent))
    if not wanted or not isinstance(tree, ast.Module) or _definitions(tree):
        return ""
    if wanted & _names(tree):
        return ""
    return "x defines classes or functions, and the block has none"


# Python.


def _parsed(text: str) -> ast.Module | SyntaxError | None:
    """Return the syntax tree, or the error; None where it is unknown."""
    if len(text) > _MAX_PYTHON_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            # Of the candidate's code, for the candidate.
            warnings.simplefilter("ignore")
            return ast.parse(text.removeprefix(_BOM))
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError, OverflowError):
        return None


def _is_program(text: str) -> bool:
    """Return whether a text is certainly Python: lines of `name = value` may be anything."""
    tree = _parsed(text)
    if not isinstance(tree, ast.Module):
        return False
    plain = (ast.Expr, ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Pass)
    return any(not isinstance(node, plain) for node in tree.body)


def _definitions(tree: object) -> set[str]:
    """Return the classes and functions at the top of a module."""
    if not isinstance(tree, ast.Module):
        return set()
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def _names(tree: object) -> set[str]:
    """Return all that a module defines at its top: classes, functions and variables."""
    names = _definitions(tree)
    if isinstance(tree, ast.Module):
        for node in tree.body:
            if not isinstance(node, ast.Assign):
                continue
            for target in node.targets:
                if isinstance(target, ast.Name):
                    names.add(target.id)
    return names


def as_written(x: str, parent: str) -> str:
    r"""Return x with what the parent has and a model neither sees nor writes.

    These are a BOM, Windows line ends, and line ends at the end of the text.

    >>> as_written("a\nb", "\ufeffa\r\n")
    '\ufeffa\r\nb\r\n'
    """
    if "\n" in parent and "\r" not in x and parent.count("\n") == parent.count("\r\n"):
        x = x.replace("\n", "\r\n")
    body = x.rstrip("\r\n")
    tail = parent[len(parent.rstrip("\r\n")) :]
    if body and tail.count("\n") > x[len(body) :].count("\n"):
        x = body + tail
    if parent.startswith(_BOM) and not x.startswith(_BOM):
        return _BOM + x
    return x
