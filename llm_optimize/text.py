"""Fences, clipping, numbers and differences: pure functions on text."""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
import uuid
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any, TypeGuard

from .records import X

_OPEN = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_CLOSE = re.compile(r"^ {0,3}(`+|~+)[ \t]*$")
_THINKING = re.compile(r"\A\ufeff?\s*<think>.*?(</think>|\Z)", re.S)

NOT_CLOSED = "the last fenced block of the reply is not closed (around a text that holds fences, write longer ones)"

_MAX_BRACES = 2_000  # that begin no object, before a reply is taken for hostile
_MAX_PYTHON_CHARS = 100_000  # of a text that is parsed: a quarter of a second at most
_NO_MEANING = {"ctx", "kind", "type_comment", "type_ignores"}  # fields of a syntax tree


@dataclass(frozen=True)
class Reading:
    """What was read from a reply: a candidate, or a sentence that says why there is none."""

    x: str | None
    problem: str = ""


def read_x(reply: str, finish_reason: str = "stop") -> Reading:
    """Read the candidate: the last fenced block of a whole reply, after the thinking that it may begin with.

    >>> read_x("Better:\\n```c++\\nint x;\\n```").x
    'int x;'
    >>> read_x("I give up.").problem
    'the reply holds no fenced block'
    """
    problem = why_no_answer(reply, finish_reason)
    if problem:
        return Reading(None, problem)
    blocks, unclosed = _blocks(after_thinking(reply))
    if unclosed:
        return Reading(None, NOT_CLOSED)
    return Reading(blocks[-1]) if blocks else Reading(None, "the reply holds no fenced block")


def why_no_answer(reply: str, finish_reason: str = "stop") -> str:
    """Return why a reply is no whole answer, before its fences are looked at; empty when nothing speaks against it.

    >>> why_no_answer("<think>Hmm")
    'the reply ends inside <think>, before its answer'
    """
    if finish_reason == "length":
        return "the reply was cut off at the token limit"
    if finish_reason in ("content_filter", "refusal"):
        return f"the reply was withheld ({finish_reason})"
    if _thinks_to_the_end(reply):
        return "the reply ends inside <think>, before its answer"
    return "" if after_thinking(reply).strip() else "the reply is empty"


def is_cut_off(reply: str) -> bool:
    """Return whether the reply ends inside a fenced block, or inside the `<think>` that it begins with.

    >>> is_cut_off("```\\nx = 1"), is_cut_off("```\\nx = 1\\n```")
    (True, False)
    """
    return _thinks_to_the_end(reply) or _blocks(after_thinking(reply))[1]


def after_thinking(reply: str) -> str:
    """Return the reply without the `<think>...</think>` that it begins with; nothing where that is never closed.

    >>> after_thinking("<think>2? No, 3.</think>The answer is 3.")
    'The answer is 3.'
    """
    return _THINKING.sub("", reply)


def _thinks_to_the_end(reply: str) -> bool:
    thinking = _THINKING.match(reply)
    return thinking is not None and not thinking[1]


def last_fenced(reply: str) -> str | None:
    """Return the last closed fenced block: the model explains first and answers last. None when there is none."""
    blocks, _ = _blocks(reply)
    return blocks[-1] if blocks else None


def _blocks(reply: str) -> tuple[list[str], bool]:
    """Return the contents of the closed fenced blocks, and whether one is left open, as CommonMark reads fences."""
    lines, at, blocks = reply.removeprefix("\ufeff").split("\n"), 0, list[str]()
    while at < len(lines):
        if not opens_fence(lines[at]):
            at += 1
            continue
        block, at = fenced_at(lines, at)
        if block is None:
            return blocks, True
        blocks.append(block)
    return blocks, False


def fenced_at(lines: Sequence[str], at: int) -> tuple[str | None, int]:
    """Return what stands in the fence that line `at` opens, None when it is never closed, and the place behind it."""
    bar = opens_fence(lines[at])
    for end in range(at + 1, len(lines)):
        if closes_fence(lines[end], bar):
            block = "\n".join(lines[at + 1 : end])
            return (block.removesuffix("\r") if lines[at].endswith("\r") else block), end + 1  # the CR of a CRLF
    return None, len(lines)


def opens_fence(line: str) -> str:
    """Return the bar that opens a fenced block in this line, or nothing."""
    match = _OPEN.match(line.removesuffix("\r"))
    return match[1] if match and not (match[1][0] == "`" and "`" in match[2]) else ""


def closes_fence(line: str, bar: str) -> bool:
    """Return whether this line closes the block that `bar` opened; nothing else may stand in it."""
    match = _CLOSE.match(line.removesuffix("\r"))
    return match is not None and match[1].startswith(bar)


def fence(x: str, tag: str = "") -> str:
    """Return x as a fenced block, with more backticks than x holds; `last_fenced` reads it back to the letter.

    >>> print(fence("a ``` b"))
    ````
    a ``` b
    ````
    """
    longest = max(map(len, re.findall(r"`+", x)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}{tag}\n{x}\n{bar}"


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with the line ends that they have; put together, they are the text again.

    >>> lines_of("a\\r\\n\\nb")
    ['a\\r\\n', '\\n', 'b']
    """
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def last_json_object(reply: str) -> dict[str, object] | None:
    """Return the last complete JSON object of a reply, fenced or bare; None when there is none.

    >>> last_json_object('first {"a": 1}, then {"a": {"b": 2}} as said')
    {'a': {'b': 2}}
    """
    decoder, found, at, failures = json.JSONDecoder(), None, reply.find("{"), 0
    while at >= 0 and failures < _MAX_BRACES:
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            end, failures = at + 1, failures + 1
        else:
            found = value
        at = reply.find("{", end)
    return found


def clip(text: str, max_chars: int) -> str:
    """Keep the head and the tail of a long text, and say how much is left out; never longer than `max_chars`.

    >>> clip("a" * 50 + "b" * 50, 40)
    'aaaaaaa\\n[... 86 characters ...]\\nbbbbbbb'
    """
    if len(text) <= max_chars:
        return text
    for _ in range(3):  # the length of the note depends on what it says
        kept = max(0, max_chars - len(_left_out(len(text))))
        note = _left_out(len(text) - kept // 2 * 2)
    head = kept // 2
    return (text[:head] + note + text[len(text) - head :])[:max_chars]


def _left_out(chars: int) -> str:
    return f"\n[... {chars} characters ...]\n"


def visible(text: str) -> str:
    r"""Return text whose control characters can be seen and do nothing; lines and tabs stay.

    >>> visible("red \x1b[31m")
    'red \\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def one_line(text: str, max_chars: int = 120) -> str:
    """Return text in one line, its white space folded, cut at the end.

    >>> one_line("a\\n  b", 10)
    'a b'
    """
    folded = " ".join(visible(text).split())
    return folded if len(folded) <= max_chars else folded[: max(0, max_chars - 1)] + "…"


def show_number(value: float, others: Iterable[float] = (), least: int = 4) -> str:
    """Write a number with digits enough to tell it from the others, and no less than `least` of them.

    >>> show_number(0.96111111), show_number(0.96111111, [0.96111119])
    ('0.9611', '0.9611111')
    """
    value = value or 0.0  # no one wants to read -0
    different = [other for other in others if other != value]
    for digits in range(least, 17):
        shown = f"{value:.{digits}g}"
        if all(f"{other:.{digits}g}" != shown for other in different):
            return shown
    return repr(value)


def show_numbers(values: Sequence[float], least: int = 4) -> list[str]:
    """Write each finite number as `show_number` does among all of them, in a time that hardly exceeds that of sorting.

    Rounding keeps the order, so that a number which differs from its two neighbors in that order differs from all.

    >>> show_numbers([0.96111111, 0.5, 0.96111119])
    ['0.9611111', '0.5', '0.9611112']
    """
    ordered = sorted({value or 0.0 for value in values})
    shown = {
        value: show_number(value, ordered[max(0, place - 1) : place + 2], least) for place, value in enumerate(ordered)
    }
    return [shown[value or 0.0] for value in values]


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


@lru_cache(maxsize=8)  # search, proposer and loop ask for the key of the same x, one after the other
def _key_of_text(text: str) -> str:
    tree = _tree_of(text)
    if tree is not None:
        digest = hashlib.blake2b(digest_size=16)
        for token in _tokens(tree):
            digest.update(token.encode("ascii", "backslashreplace") + b"\0")
        return f"python \n{digest.hexdigest()}"  # no line of another key ends in white space
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def _tree_of(text: str) -> ast.Module | None:
    """Return the syntax tree of a text that `is_python`, else None."""
    if len(text) > _MAX_PYTHON_CHARS:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the candidate's code, for the candidate
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        return None
    return tree if any(map(_is_statement, tree.body)) else None


def _is_statement(node: ast.stmt) -> bool:
    return not (isinstance(node, ast.Expr) or (isinstance(node, ast.AnnAssign) and node.value is None))


def _tokens(tree: ast.AST) -> Iterator[str]:
    """Yield what a tree is made of, in order, without calling itself: a tree may be deep."""
    left: list[tuple[str, Any]] = [("", tree)]  # a token, or what is still to be taken apart
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
    return f"{value.real.hex()} {value.imag.hex()}j" if isinstance(value, complex) else repr(value)


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


def is_parts(x: object) -> TypeGuard[dict[str, str]]:
    """Return whether x is a dict of named texts, each with a name that can stand on a line.

    >>> is_parts({"a.py": "x = 1"}), is_parts({"lr": 0.1}), is_parts("x = 1")
    (True, False, False)
    """
    return isinstance(x, dict) and bool(x) and all(_can_stand(name) and isinstance(x[name], str) for name in x)


def _can_stand(name: object) -> bool:
    return isinstance(name, str) and bool(name) and name == name.strip() and "\n" not in name


def show_x(x: X) -> str:
    """Return x as text: itself, the JSON of parameters, or named texts one after the other."""
    if isinstance(x, str):
        return x
    if x and all(isinstance(part, str) and "\n" in part for part in x.values()):
        return "\n".join(f"=== {name}\n{part}" for name, part in x.items())
    return json.dumps(x, indent=1, default=repr)


def unified_diff(old: str, new: str, old_name: str = "parent", new_name: str = "child") -> str:
    """Return the difference of two texts, as `diff -u` shows it; empty when they are equal."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), old_name, new_name, lineterm="")
    return "\n".join(lines)
