"""From the bytes of an answer to a reply: whole, or saying why it is not. Nothing in it is trusted to have a shape."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..records import Message, Reply, Usage
from ..text import one_line
from ._faults import BUSY, GARBAGE, PAGE, Again
from ._refusal import raise_refusal, status_of, withheld

_THINKING = re.compile(r"\A\s*<think>(.*?)(?:(</think>)\s*|\Z)", re.S)
_THOUGHT = re.compile(
    r"\A((?:(?!```|~~~|<think>).)*?)</think>\s*", re.S
)  # opened by the model's own template
_CHARS_PER_TOKEN = 4  # where the endpoint reports no usage
_MAX_TOKENS = (
    100_000_000  # of one call that are believed: more than any model reads or writes
)
_MAX_READ_CHARS = 10_000  # of an answer that is none, to tell how it begins
_MAX_NAME_CHARS = 80  # of the reason why an answer ended
# JSON of many small values takes twenty times its length when it is read, so a long answer must be mostly text.
_SHORT_BYTES = 2**20
_MAX_VALUES = 100_000
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.S)
_INCOMPLETE = {
    "length": "the reply was cut off at the token limit",
    "content_filter": "the reply was withheld (content_filter)",
    "refusal": "the reply was withheld (refusal)",
}


def read_answer(
    body: bytes, request: Mapping[str, Any], endpoint: str, hide: Callable[[str], str]
) -> Reply:
    """Return the reply in a body that came with status 200; `hide` takes what is secret out of a text.

    Raises Again for what is no chat completion, and what an error in it means.
    """
    try:
        return _read(_decoded(body, endpoint, hide), request, endpoint, hide)
    except RecursionError:
        raise Again(GARBAGE, f"{endpoint} answered with too deep a nesting") from None


def _read(
    answer: Mapping[str, Any],
    request: Mapping[str, Any],
    endpoint: str,
    hide: Callable[[str], str],
) -> Reply:
    choices = answer.get("choices")
    choice = _dict(choices[0] if isinstance(choices, list) and choices else None)
    for error in (answer.get("error"), choice.get("error")):
        if error and not choice.get("message"):
            return _error(error, request, endpoint, hide)
    if not isinstance(choices, list):
        raise Again(
            GARBAGE,
            f"{endpoint} answered with no chat completion ({_beginning(json.dumps(answer), hide)})",
        )
    reason = one_line(hide(str(choice.get("finish_reason") or "stop")), _MAX_NAME_CHARS)
    if reason == "error":
        raise Again(BUSY, f"{endpoint} broke off its answer")
    return _reply(_dict(choice.get("message")), reason, answer.get("usage"), request)


def _error(
    error: Any, request: Mapping[str, Any], endpoint: str, hide: Callable[[str], str]
) -> Reply:
    status, body = (
        status_of(error),
        hide(json.dumps({"error": error}, ensure_ascii=False)).encode(
            "utf-8", "replace"
        ),
    )
    return withheld(status, body, request) or raise_refusal(
        status, {}, body, request, endpoint
    )


def _decoded(body: bytes, endpoint: str, hide: Callable[[str], str]) -> dict[str, Any]:
    if (
        len(body) > _SHORT_BYTES
        and sum(1 for _ in islice(_VALUE.finditer(body), _MAX_VALUES)) == _MAX_VALUES
    ):
        raise Again(
            GARBAGE,
            f"{endpoint} answered with more than {_MAX_VALUES} values in one answer",
        )
    try:
        answer = json.loads(body)
    except ValueError:
        if body.lstrip()[:1] == b"<":
            beginning = _beginning(body.decode("utf-8", "replace"), hide)
            said = f"{endpoint} answered with a web page, no JSON ({beginning}); should the base URL end in /v1?"
            raise Again(PAGE, said) from None
        beginning = _beginning(body.decode("utf-8", "replace"), hide)
        raise Again(
            GARBAGE, f"{endpoint} answered with no JSON ({beginning})"
        ) from None
    if not isinstance(answer, dict):
        beginning = _beginning(body.decode("utf-8", "replace"), hide)
        raise Again(
            GARBAGE, f"{endpoint} answered with no chat completion ({beginning})"
        )
    return answer


def _beginning(said: str, hide: Callable[[str], str]) -> str:
    """Return how a text begins; what is secret goes first, as half of it would not be found."""
    return repr(one_line(hide(said[:_MAX_READ_CHARS])[:200], 80))


def _reply(
    message: Mapping[str, Any], reason: str, reported: Any, request: Mapping[str, Any]
) -> Reply:
    text, reasoning = _parts(message.get("content"))
    reasoning = (
        reasoning
        or _text(message.get("reasoning_content"))
        or _text(message.get("reasoning"))
    )
    if message.get("refusal"):
        text, reason = _text(message["refusal"]) or text, "refusal"
    said = text + reasoning
    text, thought, unended = _apart(text)
    incomplete = _INCOMPLETE.get(reason, "")
    if not incomplete and unended:
        incomplete = "the reply ends inside its thinking"
    if not incomplete and not text.strip():
        incomplete = "the reply is empty"
    usage = read_usage(reported, request["messages"], said)
    model, reasoning = str(request["model"]), reasoning or thought
    return Reply(
        text,
        usage,
        model,
        reasoning=reasoning,
        finish_reason=reason,
        incomplete=incomplete,
    )


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning of a content, which some endpoints write in parts."""
    if not isinstance(content, list):
        return _text(content), ""
    text = "".join(_text(part.get("text")) for part in map(_dict, content))
    thinking = [
        part["thinking"] for part in map(_dict, content) if part.get("thinking")
    ]
    return text, "".join(_parts(one)[0] for one in thinking)


def _apart(text: str) -> tuple[str, str, bool]:
    """Return a text without the thinking that it begins with, that thinking, and whether that never ended."""
    found = _THINKING.match(text)
    if found:
        return text[found.end() :], found[1].strip(), not found[2]
    found = _THOUGHT.match(text)
    return (
        (text[found.end() :], found[1].strip(), False) if found else (text, "", False)
    )


def read_usage(reported: Any, messages: Sequence[Message], said: str) -> Usage:
    """Return what one call used, as far as the numbers that the endpoint reports can be; the others are estimated."""
    guess = estimated(messages, said)
    if not isinstance(reported, dict):
        return guess
    prompt, completion = (
        _count(reported, "prompt_tokens"),
        _count(reported, "completion_tokens"),
    )
    prompt_tokens = guess.prompt_tokens if prompt is None else prompt
    cached = _count(reported.get("prompt_tokens_details"), "cached_tokens") or 0
    return Usage(
        calls=1,
        prompt_tokens=prompt_tokens,
        completion_tokens=guess.completion_tokens if completion is None else completion,
        cached_tokens=min(cached, prompt_tokens),
        reasoning_tokens=_count(
            reported.get("completion_tokens_details"), "reasoning_tokens"
        )
        or 0,
        estimated=prompt is None or completion is None,
    )


def estimated(messages: Sequence[Message], text: str) -> Usage:
    """Return what one call used, guessed from its length."""
    prompt = sum(len(message["content"]) for message in messages)
    return Usage(
        1, prompt // _CHARS_PER_TOKEN, len(text) // _CHARS_PER_TOKEN, estimated=True
    )


def _count(counts: Any, name: str) -> int | None:
    """Return a count of tokens; None for what can be none: of another type, negative, a fraction, or far too many."""
    value = counts.get(name) if isinstance(counts, dict) else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value <= _MAX_TOKENS else None


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
