r"""Fenced blocks: how a candidate stands in a prompt and in a model's reply.

Pure functions on text, without a model or a prompt. `fence` and `last_fenced` are inverse to each
other: what is fenced is read back to the letter. Fences are read as CommonMark defines them, with
up to three spaces before the bar, backticks or tildes, and a closing bar at least as long as the
opening one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

_OPEN = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_CLOSE = re.compile(r"^ {0,3}(`+|~+)[ \t]*$")
_THINKING = re.compile(r"\A\ufeff?\s*<think>.*?(</think>|\Z)", re.S)

NOT_CLOSED = (
    "the last fenced block of the reply is not closed "
    "(around a text that holds fences, write longer ones)"
)

_MAX_BRACES = 2_000  # that begin no object, before a reply is taken for hostile


@dataclass(frozen=True)
class Reading:
    """What was read from a reply: a candidate, or a sentence that says why there is none."""

    x: str | None
    problem: str = ""


def read_x(reply: str, finish_reason: str = "stop") -> Reading:
    """Read the candidate: the last fenced block of a whole reply, outside of its thinking.

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
    if not blocks:
        return Reading(None, "the reply holds no fenced block")
    return Reading(blocks[-1])


def why_no_answer(reply: str, finish_reason: str = "stop") -> str:
    """Return why a reply cannot be a whole answer, or an empty text; fences are not looked at.

    >>> why_no_answer("<think>Hmm")
    'the reply ends inside <think>, before its answer'
    """
    if finish_reason == "length":
        return "the reply was cut off at the token limit"
    if finish_reason in ("content_filter", "refusal"):
        return f"the reply was withheld ({finish_reason})"
    if _thinks_to_the_end(reply):
        return "the reply ends inside <think>, before its answer"
    if not after_thinking(reply).strip():
        return "the reply is empty"
    return ""


def is_cut_off(reply: str) -> bool:
    """Return whether the reply ends inside a fenced block, or inside its leading `<think>`.

    >>> is_cut_off("```\\nx = 1"), is_cut_off("```\\nx = 1\\n```")
    (True, False)
    """
    return _thinks_to_the_end(reply) or _blocks(after_thinking(reply))[1]


def after_thinking(reply: str) -> str:
    """Return the reply without its leading `<think>...</think>`; empty where that is not closed.

    >>> after_thinking("<think>2? No, 3.</think>The answer is 3.")
    'The answer is 3.'
    """
    return _THINKING.sub("", reply)


def _thinks_to_the_end(reply: str) -> bool:
    thinking = _THINKING.match(reply)
    return thinking is not None and not thinking[1]


def last_fenced(reply: str) -> str | None:
    """Return the last closed fenced block, or None: a model explains first and answers last."""
    blocks, _ = _blocks(reply)
    return blocks[-1] if blocks else None


def _blocks(reply: str) -> tuple[list[str], bool]:
    """Return the contents of the closed fenced blocks, and whether one is left open."""
    lines = reply.removeprefix("\ufeff").split("\n")
    blocks: list[str] = []
    at = 0
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
    """Read the fenced block that line `at` opens.

    Returns its content and the index of the line after it; the content is None, and the index the
    number of lines, where the block is never closed.
    """
    bar = opens_fence(lines[at])
    for end in range(at + 1, len(lines)):
        if not closes_fence(lines[end], bar):
            continue
        block = "\n".join(lines[at + 1 : end])
        if lines[at].endswith("\r"):  # line ends are CRLF: the last one is not content
            block = block.removesuffix("\r")
        return block, end + 1
    return None, len(lines)


def opens_fence(line: str) -> str:
    """Return the bar that opens a fenced block in this line, or an empty text."""
    match = _OPEN.match(line.removesuffix("\r"))
    if not match:
        return ""
    bar, info = match[1], match[2]
    if bar[0] == "`" and "`" in info:  # code within a line
        return ""
    return bar


def closes_fence(line: str, bar: str) -> bool:
    """Return whether this line closes the block that `bar` opened; nothing else may stand in it."""
    match = _CLOSE.match(line.removesuffix("\r"))
    return match is not None and match[1].startswith(bar)


def fence(x: str, tag: str = "") -> str:
    """Return x as a fenced block, with more backticks than x holds.

    >>> print(fence("a ``` b"))
    ````
    a ``` b
    ````
    """
    longest = max(map(len, re.findall(r"`+", x)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}{tag}\n{x}\n{bar}"


def last_json_object(reply: str) -> dict[str, object] | None:
    """Return the last complete JSON object of a reply, fenced or bare; None when there is none.

    >>> last_json_object('first {"a": 1}, then {"a": {"b": 2}} at last')
    {'a': {'b': 2}}
    """
    decoder = json.JSONDecoder()
    found = None
    failures = 0
    at = reply.find("{")
    while at >= 0 and failures < _MAX_BRACES:
        try:
            value, end = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            failures += 1
            end = at + 1
        else:
            found = value
        at = reply.find("{", end)
    return found
