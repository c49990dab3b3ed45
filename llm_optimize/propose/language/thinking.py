"""Thinking that stands in a reply, and what tells that a reply is not an answer at all."""

from __future__ import annotations

import re

_LEADING = re.compile(r"\A\ufeff?\s*<think>.*?(</think>|\Z)", re.S)
_END = re.compile(
    r"</(?:think|thinking|thought|thoughts|reasoning)>|◁/think▷|\[/THINK\]"
    r"|<\|channel\|>final<\|message\|>"
)


def why_no_answer(reply: str, finish_reason: str = "stop") -> str:
    """Return why a reply cannot be a whole answer, or an empty text; fences are not looked at.

    >>> why_no_answer("<think>Hmm")
    'the reply ends inside <think>, before its answer'
    """
    if finish_reason == "length":
        return "the reply was cut off at the token limit"
    if finish_reason in ("content_filter", "refusal"):
        return f"the reply was withheld ({finish_reason})"
    thinking = _LEADING.match(reply)
    if thinking and not thinking[1]:
        return "the reply ends inside <think>, before its answer"
    if not after_thinking(reply).strip():
        return "the reply is empty"
    return ""


def after_thinking(reply: str) -> str:
    """Return the reply without a leading `<think>...</think>`; nothing where that is not closed.

    >>> after_thinking("<think>2? No, 3.</think>The answer is 3.")
    'The answer is 3.'
    """
    return _LEADING.sub("", reply)


def behind_last_thought(reply: str) -> str:
    """Return what follows the last mark of any family of models that ends their thinking.

    Endpoints that take off the opening tag, and models with tags of their own, leave drafts in the
    reply. The caller must check that an answer follows: x itself may hold such a mark.

    >>> behind_last_thought("Try 2. Hm.</thinking>3")
    '3'
    """
    end = 0
    for mark in _END.finditer(reply):
        end = mark.end()
    return reply[end:]
