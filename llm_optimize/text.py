"""Fences, clipping, numbers and differences: pure functions on text."""

from __future__ import annotations

import difflib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, Protocol, TypeGuard, runtime_checkable

from .identity import X as X
from .identity import is_python as is_python
from .identity import key_of as key_of

_OPEN = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_CLOSE = re.compile(r"^ {0,3}(`+|~+)[ \t]*$")
_THINKING = re.compile(r"\A\ufeff?\s*<think>.*?(</think>|\Z)", re.S)

NOT_CLOSED = "the last fenced block of the reply is not closed (around a text that holds fences, write longer ones)"

_MAX_BRACES = 2_000  # that begin no object, before a reply is taken for hostile


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
    return (
        Reading(blocks[-1])
        if blocks
        else Reading(None, "the reply holds no fenced block")
    )


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
            return (
                block.removesuffix("\r") if lines[at].endswith("\r") else block
            ), end + 1  # the CR of a CRLF
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
    return "".join(
        char if char.isprintable() or char in "\n\t" else _escaped(char)
        for char in text
    )


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode()


def one_line(text: str, max_chars: int = 120) -> str:
    """Return text in one line, its white space folded, cut at the end.

    >>> one_line("a\\n  b", 10)
    'a b'
    """
    folded = " ".join(visible(text).split())
    return folded if len(folded) <= max_chars else folded[: max(0, max_chars - 1)] + "…"


def storable(text: str) -> str:
    r"""Return text that UTF-8 can hold: a lone surrogate, which a hostile output may contain, is written as an escape.

    >>> storable("a\ud800")
    'a\\ud800'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@runtime_checkable
class HasFacts(Protocol):
    """A record that is shown by other facts than its fields."""

    def facts(self) -> dict[str, Any]:
        """Return them by their names."""


def plain(
    value: Any, of_infinite: Callable[[float], str | None] = lambda _: None
) -> Any:
    """Return records, mappings and sequences as plain data for JSON, and other objects as what `repr` says of them.

    JSON has neither NaN nor infinity: `of_infinite` says what stands for them.

    >>> plain({"a": (1, float("nan"))}), plain({"a": (1, float("nan"))}, str)
    ({'a': [1, None]}, {'a': [1, 'nan']})
    """
    if isinstance(value, HasFacts) and not isinstance(value, type):
        value = value.facts()
    elif is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): plain(part, of_infinite) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part, of_infinite) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return of_infinite(value)
    return value if isinstance(value, str | int | float | bool | None) else repr(value)


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
        value: show_number(value, ordered[max(0, place - 1) : place + 2], least)
        for place, value in enumerate(ordered)
    }
    return [shown[value or 0.0] for value in values]


def is_parts(x: object) -> TypeGuard[dict[str, str]]:
    """Return whether x is a dict of named texts, each with a name that can stand on a line.

    >>> is_parts({"a.py": "x = 1"}), is_parts({"lr": 0.1}), is_parts("x = 1")
    (True, False, False)
    """
    return (
        isinstance(x, dict)
        and bool(x)
        and all(_can_stand(name) and isinstance(x[name], str) for name in x)
    )


def _can_stand(name: object) -> bool:
    return (
        isinstance(name, str)
        and bool(name)
        and name == name.strip()
        and "\n" not in name
    )


def show_x(x: X) -> str:
    """Return x as text: itself, the JSON of parameters, or named texts one after the other."""
    if isinstance(x, str):
        return x
    if x and all(isinstance(part, str) and "\n" in part for part in x.values()):
        return "\n".join(f"=== {name}\n{part}" for name, part in x.items())
    return json.dumps(x, indent=1, default=repr)


def unified_diff(
    old: str, new: str, old_name: str = "parent", new_name: str = "child"
) -> str:
    """Return the difference of two texts, as `diff -u` shows it; empty when they are equal."""
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), old_name, new_name, lineterm=""
    )
    return "\n".join(lines)
