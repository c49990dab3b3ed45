"""One request to an endpoint, and what came of it: a reply, "again", or "never"."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import LlmOptimizeError, ModelRefused
from ..records import Reply, Usage
from ..text import one_line

if TYPE_CHECKING:
    import openai

_AGAIN_STATUS = (408, 409, 429)  # and 5xx
_QUOTA = ("insufficient_quota", "billing_hard_limit_reached", "exceeded your current quota")
_REFUSES = re.compile(r"unsupported|not support|unrecognized|unknown|unexpected|not allowed|deprecated", re.I)
_THINKING = re.compile(r"\A\s*<think>(.*?)(?:</think>\s*|\Z)", re.S)
MANY = 1_000_000
_CONNECT_ATTEMPTS = 2  # to an address where nobody answers; the run asks again, too
_GARBAGE_ATTEMPTS = 2  # an endpoint that speaks no JSON will not learn it
_CHARS_PER_TOKEN = 4  # where the endpoint reports no usage
_MAX_MESSAGE_CHARS = 300


class Again(LlmOptimizeError):
    """This attempt failed; another may do better."""

    def __init__(self, reason: str, *, after_secs: float | None = None, max_attempts: int = MANY) -> None:
        """Take the reason, how long the endpoint asks to wait, and how many attempts it is worth."""
        self.after_secs = after_secs
        self.max_attempts = max_attempts
        super().__init__(reason)


class Unsupported(LlmOptimizeError):
    """The endpoint does not take an option of the request."""

    def __init__(self, option: str) -> None:
        """Take the name of the option as it was sent."""
        self.option = option
        super().__init__(f"the option {option!r} is not supported")


async def attempt(client: openai.AsyncOpenAI, request: dict[str, Any], endpoint: str, timeout_secs: float) -> Reply:
    """Send one request; `endpoint` is its address as a message names it.

    Raises Again, Unsupported or ModelRefused.
    """
    import openai

    try:
        raw = await client.chat.completions.with_raw_response.create(**request, timeout=timeout_secs)
        body = raw.http_response.content
    except openai.APIStatusError as error:
        _refused(error.status_code, error.response.headers, error.response.text, request, endpoint)
    except openai.APITimeoutError:
        raise Again("no answer in time") from None
    except openai.APIConnectionError as error:
        nobody_there = type(error.__cause__).__name__ == "ConnectError"
        said = f"no connection to {endpoint} ({error.__cause__ or error}): is the address right?"
        raise Again(said, max_attempts=_CONNECT_ATTEMPTS if nobody_there else MANY) from error
    return _read(_decoded(body, endpoint), request, endpoint)


def _decoded(body: bytes, endpoint: str) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        said = one_line(body[:200].decode("utf-8", "replace"), 80)
        hint = "; should the base URL end in /v1?" if body.lstrip()[:1] == b"<" else ""
        raise Again(f"{endpoint} answered with no JSON ({said!r}){hint}", max_attempts=_GARBAGE_ATTEMPTS) from None
    if not isinstance(answer, dict):
        raise Again(f"{endpoint} answered with {type(answer).__name__}, no chat completion", max_attempts=2)
    return answer


def _read(answer: dict[str, Any], request: Mapping[str, Any], endpoint: str) -> Reply:
    """Turn a decoded answer into a reply. Raises Again for an answer with nothing in it."""
    if isinstance(answer.get("error"), dict):
        code = answer["error"].get("code")
        _refused(code if isinstance(code, int) else 500, {}, json.dumps(answer), request, endpoint)
    choices = answer.get("choices")
    choice: dict[str, Any] = _dict(choices[0] if isinstance(choices, list) and choices else None)
    message = _dict(choice.get("message"))
    text, reason = message.get("content") or "", str(choice.get("finish_reason") or "stop")
    if message.get("refusal"):
        text, reason = str(message["refusal"]), "refusal"
    if not isinstance(text, str) or (not text.strip() and reason not in ("length", "content_filter", "refusal")):
        raise Again("the answer is empty", max_attempts=_GARBAGE_ATTEMPTS + 1)
    thinking = _THINKING.match(text)
    reasoning = str(message.get("reasoning_content") or message.get("reasoning") or "")
    if thinking:
        reasoning, text = reasoning or thinking[1].strip(), text[thinking.end() :]
    usage = _usage(answer.get("usage"), request, text + reasoning)
    return Reply(text, usage, str(request["model"]), reasoning=reasoning, finish_reason=reason)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _usage(reported: Any, request: Mapping[str, Any], text: str) -> Usage:
    if not isinstance(reported, dict):
        prompt = sum(len(message["content"]) for message in request["messages"])
        return Usage(1, prompt // _CHARS_PER_TOKEN, len(text) // _CHARS_PER_TOKEN)
    return Usage(
        calls=1,
        prompt_tokens=_count(reported, "prompt_tokens"),
        completion_tokens=_count(reported, "completion_tokens"),
        cached_tokens=_count(reported.get("prompt_tokens_details"), "cached_tokens"),
        reasoning_tokens=_count(reported.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(counts: Any, name: str) -> int:
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if isinstance(value, int) else 0


def _refused(status: int, headers: Mapping[str, str], body: str, request: Mapping[str, Any], endpoint: str) -> NoReturn:
    """Raise what an error status means."""
    said = _message(body)
    option = _refused_option(status, said, request)
    if option:
        raise Unsupported(option)
    quota = any(word in body for word in _QUOTA)
    if (status in _AGAIN_STATUS or status >= 500) and not quota:
        raise Again(f"{endpoint} answered {status}: {said}", after_secs=_retry_after(headers))
    model = request["model"]
    repair = {
        401: "the key is wrong or has expired: look at OPENAI_API_KEY or api_key",
        403: "the key may not use this model: choose another model, or ask for access",
        404: f"there is no model {model!r}, or the base URL is wrong: look at model and OPENAI_BASE_URL",
        429: "the quota is exhausted: look at the plan and billing of this key",
    }.get(status, "the request is wrong for this endpoint")
    raise ModelRefused(f"{endpoint} answered {status} for the model {model!r}: {repair} ({said})")


def _refused_option(status: int, said: str, request: Mapping[str, Any]) -> str | None:
    if status not in (400, 422) or not _REFUSES.search(said):
        return None
    options = (name for name in request if name not in ("model", "messages"))
    return next((name for name in options if re.search(rf"\b{name}\b", said)), None)


def _message(body: str) -> str:
    """Return the sentence in an error body."""
    try:
        error = json.loads(body)["error"]
        said = error["message"] if isinstance(error, dict) else error
    except (ValueError, LookupError, TypeError, RecursionError):
        said = re.sub(r"<[^>]*>", " ", body)
    return one_line(str(said), _MAX_MESSAGE_CHARS) or "without a reason"


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the wait that a Retry-After header asks for, in seconds or as a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after")
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
