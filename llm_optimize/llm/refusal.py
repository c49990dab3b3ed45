"""Refusal: what an error of an endpoint means, and the sentence that says what to change.

    an option of the request is named as unsupported   -> Unsupported: send again without it
    the prompt is too long                              -> ContextTooLong
    408, 409, 429, 5xx, unless the quota is spent       -> Again: it may pass
    the prompt is not answered (content filter)         -> an empty reply (`withheld`)
    anything else                                       -> ModelRefused, with the repair

Endpoints word these differently, so they are recognized by patterns; tests/llm/test_llm_faults.py
has examples of each.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from ..errors import ContextTooLong, ModelRefused
from ..records import Reply, Usage
from ..text import one_line
from .faults import BUSY, LIMITED, Again, Unsupported

RESPONSE_FORMAT = "response_format"
_MAX_MESSAGE_CHARS = 300
_MAX_DIGITS = 9  # of a number of tokens in a sentence
_NO_MONEY = re.compile(
    r"insufficient_quota|billing_hard_limit_reached"
    r"|insufficient.balance|insufficient.credits",
    re.I,
)
# Some endpoints say this of a minute's quota as well, and when to come back.
_NO_QUOTA = "exceeded your current quota"
# In the body, where there is no Retry-After header.
_RETRY_DELAY = re.compile(r'"retryDelay":\s*"([\d.]+)s"')
_REFUSES = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not allowed|deprecated",
    re.I,
)
# Named in a refusal of a schema.
_NO_SCHEMA = re.compile(
    r"response.?format|json.?schema|structured.output|guided|grammar", re.I
)
_WITHHELD = re.compile(
    r"content_filter|content_policy|content management policy|invalid_prompt", re.I
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)"
    r"|string too long|request too large"
    r"|(?:prompt|input|request) is too (?:long|large)|reduce the length of the"
    r"|exceeds the maximum number of (?:input )?tokens|max_new_tokens.{0,3} must be <=",
    re.I,
)
_LIMIT = re.compile(
    r"context (?:length|window|size)(?: is| of|:)? \(?(\d+)|(\d+) maximum"
    r"|with (\d+) maximum context"
    r"|tokens allowed \((\d+)|must be <= (\d+)|limit (\d+)",
    re.I,
)
_PROMPT = re.compile(
    r"resulted in (\d+)|requested (?:about )?(\d+)|too long: (\d+)|token count \((\d+)"
    r"|contains (\d+) tokens"
    r"|has (\d+) input tokens|given: (\d+)|request \((\d+) tokens",
    re.I,
)
_STATUS_OF_CODE = {  # where an error comes with status 200
    "invalid_api_key": 401,
    "insufficient_quota": 429,
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "content_filter": 400,
    "content_policy_violation": 400,
    "context_length_exceeded": 400,
}


def status_of(error: Any) -> int:
    """Return the status that an error object stands for; 500 when it names none."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and re.fullmatch(r"[45]\d\d", code):
        code = int(code)
    elif isinstance(code, str):
        code = _STATUS_OF_CODE.get(code)
    if isinstance(code, int) and 400 <= code < 600:
        return code
    return 500


def withheld(status: int, body: bytes, request: Mapping[str, Any]) -> Reply | None:
    """Return an empty reply if an error means that this prompt is not answered, else None.

    That is the prompt's fault, not the run's: the next prompt may pass.
    """
    text = body.decode("utf-8", "replace")
    if status != 400 or not _WITHHELD.search(text):
        return None
    if _refused_option(status, text, request):
        return None
    message = one_line(_message(text), 120)
    return Reply(
        "",
        Usage(1),
        str(request["model"]),
        finish_reason="content_filter",
        incomplete=f"the reply was withheld (content_filter: {message})",
    )


def raise_refusal(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    request: Mapping[str, Any],
    endpoint: str,
) -> NoReturn:
    """Raise what an error status means: Again, Unsupported, ContextTooLong or ModelRefused."""
    text = body.decode("utf-8", "replace")
    message = _message(text)
    after_secs = _retry_after(headers, text)
    option = _refused_option(status, message, request)
    if option:
        raise Unsupported(option)
    if status in (400, 413, 422, 429) and _TOO_LONG.search(text):
        _raise_too_long(message, str(request["model"]))
    may_pass = status in (408, 409, 429) or status >= 500
    # A spent quota is a 429, too, but waiting does not help. Some endpoints use the same words for
    # the quota of a minute; then they say when to come back.
    is_spent = _NO_QUOTA in text and after_secs is None
    if may_pass and not is_spent and not _NO_MONEY.search(text):
        fault = LIMITED if status == 429 else BUSY
        raise Again(fault, f"{endpoint} answered {status}: {message}", after_secs)
    model = request["model"]
    repair = _repair(status, request)
    raise ModelRefused(
        f"{endpoint} answered {status} for the model {model!r}: {repair} ({message})"
    )


def _repair(status: int, request: Mapping[str, Any]) -> str:
    if status == 401:
        return "the key is wrong or has expired: look at OPENAI_API_KEY or api_key"
    if status == 402:
        return "the account has no money left: look at the plan and billing of this key"
    if status == 403:
        return "the key may not use this model: choose another model, or ask for access"
    if status == 404:
        return (
            f"there is no model {request['model']!r}, or the base URL is wrong: "
            "look at model and OPENAI_BASE_URL"
        )
    if status == 405:
        return (
            "this is no chat endpoint: look at OPENAI_BASE_URL; should it end in /v1?"
        )
    if status == 429:
        return "the quota is exhausted: look at the plan and billing of this key"
    return "the request is wrong for this endpoint: look at the options of llm.Chat"


def _raise_too_long(message: str, model: str) -> NoReturn:
    without_commas = message.replace(",", "")
    raise ContextTooLong(
        f"the prompt is too long for the model {model!r}: make it smaller, "
        f"or take a model that reads more ({message})",
        limit_tokens=_number(_LIMIT, without_commas),
        prompt_tokens=_number(_PROMPT, without_commas),
    )


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.search(text)
    if found is None:
        return None
    for group in found.groups():
        if group and len(group) <= _MAX_DIGITS:
            return int(group)
    return None


def _refused_option(status: int, text: str, request: Mapping[str, Any]) -> str | None:
    """Return the option of the request that an error names as unsupported; None for none."""
    may_be_schema = status in (400, 422, 500, 501) and RESPONSE_FORMAT in request
    if may_be_schema and _NO_SCHEMA.search(text):
        return RESPONSE_FORMAT
    if status not in (400, 422) or not _REFUSES.search(text):
        return None
    for name in request:
        if name not in ("model", "messages") and re.search(rf"\b{name}\b", text):
            return name
    return None


def _message(body: str) -> str:
    """Return the sentence in an error body."""
    try:
        error = json.loads(body)["error"]
        message = error["message"] if isinstance(error, dict) else error
    except (ValueError, LookupError, TypeError, RecursionError):
        message = re.sub(r"<[^<>]*>", " ", body)
    return one_line(str(message), _MAX_MESSAGE_CHARS) or "without a reason"


def _retry_after(headers: Mapping[str, str], body: str) -> float | None:
    """Return the wait that is asked for, in seconds; None for none.

    It is in the header Retry-After, in seconds or as a date (RFC 9110, 10.2.3), or in the body.
    """
    value = headers.get("retry-after")
    if value is None:
        delay = _RETRY_DELAY.search(body)
        return _seconds(delay[1]) if delay else None
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    # A date counts by the endpoint's own clock, if it tells the time.
    then = _date(value)
    now = _date(headers.get("date") or "") or datetime.now(UTC)
    if then is None:
        return None
    return max(0.0, (then - now).total_seconds())


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)
