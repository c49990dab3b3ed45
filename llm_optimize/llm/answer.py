"""Answer of an endpoint: from its bytes to a Reply, whole or saying why it is not.

Nothing in an answer is trusted to have a shape: the type of each part is checked first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..checks import is_whole_number
from ..records import Message, Reply, Usage
from ..text import one_line
from ..token_estimate import CHARS_PER_TOKEN
from .dialect import RESPONSES, Request
from .faults import BUSY, GARBAGE, PAGE, Again
from .problem import read_problem
from .refusal import raise_refusal, status_of, withheld
from .responses import as_completion

_THINKING = re.compile(r"\A\s*<think>(.*?)(?:(</think>)\s*|\Z)", re.S)
# Thinking that the model's own chat template has opened, so that only its end is in the text.
_THOUGHT = re.compile(r"\A((?:(?!```|~~~|<think>).)*?)</think>\s*", re.S)
# Of one call, that are believed: more than any model reads or writes.
_MAX_TOKENS = 100_000_000
_MAX_READ_CHARS = 10_000  # of an answer that is none, to show how it begins
_MAX_NAME_CHARS = 80  # of the reason why an answer ended
# JSON of many small values takes twenty times its length when it is read, so a long answer must be
# mostly text.
_SHORT_BYTES = 2**20
_MAX_VALUES = 100_000
_VALUE = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{,]', re.S)
_INCOMPLETE = {
    "length": "the reply was cut off at the token limit",
    "content_filter": "the reply was withheld (content_filter)",
    "refusal": "the reply was withheld (refusal)",
}


def read_answer(
    body: bytes, request: Request, endpoint: str, hide: Callable[[str], str]
) -> Reply:
    """Return the reply in an answer with status 200.

    Args:
        body: of the answer.
        request: that was sent.
        endpoint: its name, for messages.
        hide: takes secrets out of a text.

    Raises:
        Again: the answer is not a chat completion.
        Unsupported, ModelRefused: as for an error status, which a body may contain, too.
    """
    try:
        answer = _decode(body, endpoint, hide)
        if request.api == RESPONSES:
            answer = as_completion(answer)
        return _read(answer, request, endpoint, hide)
    except RecursionError:
        raise Again(GARBAGE, f"{endpoint} answered with too deep a nesting") from None


def _decode(body: bytes, endpoint: str, hide: Callable[[str], str]) -> dict[str, Any]:
    if len(body) > _SHORT_BYTES:
        first_values = islice(_VALUE.finditer(body), _MAX_VALUES)
        if sum(1 for _ in first_values) == _MAX_VALUES:
            raise Again(
                GARBAGE,
                f"{endpoint} answered with more than {_MAX_VALUES} values in one answer",
            )
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
        is_json = False
    else:
        is_json = True
    if isinstance(answer, dict):
        return answer
    beginning = _beginning(body.decode("utf-8", "replace"), hide)
    if is_json:
        raise Again(
            GARBAGE, f"{endpoint} answered with no chat completion ({beginning})"
        )
    if body.lstrip()[:1] == b"<":
        raise Again(
            PAGE,
            f"{endpoint} answered with a web page, no JSON ({beginning}); "
            "should the base URL end in /v1?",
        )
    raise Again(GARBAGE, f"{endpoint} answered with no JSON ({beginning})")


def _beginning(text: str, hide: Callable[[str], str]) -> str:
    """Return how a text begins; secrets go first, as half of one would not be found."""
    hidden = hide(text[:_MAX_READ_CHARS])
    return repr(one_line(hidden[:200], 80))


def _read(
    answer: Mapping[str, Any],
    request: Request,
    endpoint: str,
    hide: Callable[[str], str],
) -> Reply:
    choices = answer.get("choices")
    choice: dict[str, Any] = {}
    if isinstance(choices, list) and choices:
        choice = _dict(choices[0])
    for error in (answer.get("error"), choice.get("error")):
        if error and not choice.get("message"):
            return _of_error(error, request, endpoint, hide)
    if not isinstance(choices, list):
        beginning = _beginning(json.dumps(answer), hide)
        raise Again(
            GARBAGE, f"{endpoint} answered with no chat completion ({beginning})"
        )
    reason = hide(str(choice.get("finish_reason") or "stop"))
    reason = one_line(reason, _MAX_NAME_CHARS)
    if reason == "error":
        raise Again(BUSY, f"{endpoint} broke off its answer")
    message = _dict(choice.get("message"))
    return _of_message(message, reason, answer.get("usage"), request)


def _of_error(
    error: Any, request: Request, endpoint: str, hide: Callable[[str], str]
) -> Reply:
    """Return the reply that an error means, or raise what it means."""
    status = status_of(error)
    text = hide(json.dumps({"error": error}, ensure_ascii=False))
    problem = read_problem(status, text)
    reply = withheld(problem, request)
    if reply is None:
        raise_refusal(problem, {}, request, endpoint)
    return reply


def _of_message(
    message: Mapping[str, Any], reason: str, reported: Any, request: Request
) -> Reply:
    text, reasoning = _parts(message.get("content"))
    for name in ("reasoning_content", "reasoning"):
        reasoning = reasoning or _text(message.get(name))
    if message.get("refusal"):
        text = _text(message["refusal"]) or text
        reason = "refusal"
    usage = read_usage(reported, request.messages, text + reasoning)
    text, thought, is_unended = _split_thinking(text)
    incomplete = _INCOMPLETE.get(reason, "")
    if not incomplete and is_unended:
        incomplete = "the reply ends inside its thinking"
    if not incomplete and not text.strip():
        incomplete = "the reply is empty"
    return Reply(
        text,
        usage,
        request.model,
        reasoning=reasoning or thought,
        finish_reason=reason,
        incomplete=incomplete,
    )


def _parts(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning of a content, which some endpoints write in parts."""
    if not isinstance(content, list):
        return _text(content), ""
    texts, reasonings = [], []
    for part in map(_dict, content):
        texts.append(_text(part.get("text")))
        if part.get("thinking"):
            reasonings.append(_parts(part["thinking"])[0])
    return "".join(texts), "".join(reasonings)


def _split_thinking(text: str) -> tuple[str, str, bool]:
    """Return a text without its thinking, the thinking, and whether that never ended."""
    found = _THINKING.match(text)
    if found:
        return text[found.end() :], found[1].strip(), not found[2]
    found = _THOUGHT.match(text)
    if found:
        return text[found.end() :], found[1].strip(), False
    return text, "", False


def read_usage(reported: Any, messages: Sequence[Message], text: str) -> Usage:
    """Return what one call used: reported numbers where they are possible, else estimates.

    Args:
        reported: by the endpoint.
        messages: that were sent.
        text: that came back.
    """
    guess = estimated(messages, text)
    if not isinstance(reported, dict):
        return guess
    prompt = _count(reported, "prompt_tokens")
    completion = _count(reported, "completion_tokens")
    prompt_tokens = guess.prompt_tokens if prompt is None else prompt
    prompt_details = reported.get("prompt_tokens_details")
    completion_details = reported.get("completion_tokens_details")
    cached = _count(prompt_details, "cached_tokens")
    if cached is None:
        cached = _count(reported, "prompt_cache_hit_tokens") or 0  # DeepSeek's name
    return Usage(
        calls=1,
        prompt_tokens=prompt_tokens,
        completion_tokens=guess.completion_tokens if completion is None else completion,
        cached_tokens=min(cached, prompt_tokens),
        reasoning_tokens=_count(completion_details, "reasoning_tokens") or 0,
        estimated=prompt is None or completion is None,
    )


def estimated(messages: Sequence[Message], text: str) -> Usage:
    """Return what one call used, estimated from its length."""
    chars = sum(len(message["content"]) for message in messages)
    prompt_tokens = chars // CHARS_PER_TOKEN
    completion_tokens = len(text) // CHARS_PER_TOKEN
    return Usage(1, prompt_tokens, completion_tokens, estimated=True)


def _count(counts: Any, name: str) -> int | None:
    """Return a count of tokens; None for what cannot be one: a fraction, negative, far too many."""
    if not isinstance(counts, dict):
        return None
    value = counts.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not is_whole_number(value) or not 0 <= value <= _MAX_TOKENS:
        return None
    return value


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
