"""From the bytes of an answer to a reply: whole, or saying why it is not. Nothing in it is trusted to have a shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Message, Reply, Usage
from ..text import one_line
from ._faults import BUSY, GARBAGE, PAGE, Again
from ._refusal import raise_refusal, status_of, withheld

_THINKING = re.compile(r"\A\s*<think>(.*?)(?:(</think>)\s*|\Z)", re.S)
_THOUGHT = re.compile(r"\A((?:(?!```|~~~|<think>).)*?)</think>\s*", re.S)  # opened by the model's own template
_CHARS_PER_TOKEN = 4  # where the endpoint reports no usage
_INCOMPLETE = {
    "length": "the reply was cut off at the token limit",
    "content_filter": "the reply was withheld (content_filter)",
    "refusal": "the reply was withheld (refusal)",
}


def read_answer(body: bytes, request: Mapping[str, Any], endpoint: str) -> Reply:
    """Return the reply in a body that came with status 200.

    Raises Again for what is no chat completion, and what an error in it means.
    """
    answer = _decoded(body, endpoint)
    choices = answer.get("choices")
    choice = _dict(choices[0] if isinstance(choices, list) and choices else None)
    for error in (answer.get("error"), choice.get("error")):
        if error and not choice.get("message"):
            return _error(error, request, endpoint)
    if not isinstance(choices, list):
        raise Again(GARBAGE, f"{endpoint} answered with no chat completion ({_beginning(body)})")
    reason = str(choice.get("finish_reason") or "stop")
    if reason == "error":
        raise Again(BUSY, f"{endpoint} broke off its answer")
    return _reply(_dict(choice.get("message")), reason, answer.get("usage"), request)


def _error(error: Any, request: Mapping[str, Any], endpoint: str) -> Reply:
    status, body = status_of(error), json.dumps({"error": error}).encode()
    return withheld(status, body, request) or raise_refusal(status, {}, body, request, endpoint)


def _decoded(body: bytes, endpoint: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        if body.lstrip()[:1] == b"<":
            said = f"{endpoint} answered with a web page, no JSON ({_beginning(body)}); should the base URL end in /v1?"
            raise Again(PAGE, said) from None
        raise Again(GARBAGE, f"{endpoint} answered with no JSON ({_beginning(body)})") from None
    if not isinstance(answer, dict):
        raise Again(GARBAGE, f"{endpoint} answered with no chat completion ({_beginning(body)})")
    return answer


def _beginning(body: bytes) -> str:
    return repr(one_line(body[:200].decode("utf-8", "replace"), 80))


def _reply(message: Mapping[str, Any], reason: str, reported: Any, request: Mapping[str, Any]) -> Reply:
    text, reasoning = _parts(message.get("content"))
    reasoning = reasoning or _text(message.get("reasoning_content")) or _text(message.get("reasoning"))
    if message.get("refusal"):
        text, reason = str(message["refusal"]), "refusal"
    said = text + reasoning
    text, thought, unended = _apart(text)
    incomplete = _INCOMPLETE.get(reason, "")
    if not incomplete and unended:
        incomplete = "the reply ends inside its thinking"
    if not incomplete and not text.strip():
        incomplete = "the reply is empty"
    usage = _usage(reported, request["messages"], said)
    model, reasoning = str(request["model"]), reasoning or thought
    return Reply(text, usage, model, reasoning=reasoning, finish_reason=reason, incomplete=incomplete)


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning of a content, which some endpoints write in parts."""
    if not isinstance(content, list):
        return _text(content), ""
    text = "".join(_text(part.get("text")) for part in map(_dict, content))
    thinking = [part["thinking"] for part in map(_dict, content) if part.get("thinking")]
    return text, "".join(_parts(one)[0] for one in thinking)


def _apart(text: str) -> tuple[str, str, bool]:
    """Return a text without the thinking that it begins with, that thinking, and whether that never ended."""
    found = _THINKING.match(text)
    if found:
        return text[found.end() :], found[1].strip(), not found[2]
    found = _THOUGHT.match(text)
    return (text[found.end() :], found[1].strip(), False) if found else (text, "", False)


def _usage(reported: Any, messages: Sequence[Message], said: str) -> Usage:
    if not isinstance(reported, dict):
        return estimated(messages, said)
    return Usage(
        calls=1,
        prompt_tokens=_count(reported, "prompt_tokens"),
        completion_tokens=_count(reported, "completion_tokens"),
        cached_tokens=_count(reported.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(reported.get("completion_tokens_details"), "reasoning_tokens"),
    )


def estimated(messages: Sequence[Message], text: str) -> Usage:
    """Return what one call used, guessed from its length."""
    prompt = sum(len(message["content"]) for message in messages)
    return Usage(1, prompt // _CHARS_PER_TOKEN, len(text) // _CHARS_PER_TOKEN, estimated=True)


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return max(0, value) if isinstance(value, int) else 0


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
