"""What an error of an endpoint means, and the sentence that says what to change."""

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
from ._faults import BUSY, LIMITED, Again, Unsupported

_MAX_MESSAGE_CHARS = 300
_MAX_DIGITS = 9  # of a number of tokens in a sentence
RESPONSE_FORMAT = "response_format"
_NO_MONEY = re.compile(
    r"insufficient_quota|billing_hard_limit_reached|insufficient.balance|insufficient.credits",
    re.I,
)
_NO_QUOTA = "exceeded your current quota"  # some endpoints say it of a minute's quota as well, and when to come back
_COME_BACK = re.compile(
    r'"retryDelay":\s*"([\d.]+)s"'
)  # in the body, where there is no Retry-After
_REFUSES = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not allowed|deprecated",
    re.I,
)
_NO_SCHEMA = re.compile(
    r"response.?format|json.?schema|structured.output|guided|grammar", re.I
)  # named in a refusal of it
_WITHHELD = re.compile(
    r"content_filter|content_policy|content management policy|invalid_prompt", re.I
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context (?:length|window|size)|string too long|request too large"
    r"|(?:prompt|input|request) is too (?:long|large)|reduce the length of the"
    r"|exceeds the maximum number of (?:input )?tokens|max_new_tokens.{0,3} must be <=",
    re.I,
)
_LIMIT = re.compile(
    r"context (?:length|window|size)(?: is| of|:)? \(?(\d+)|(\d+) maximum|with (\d+) maximum context"
    r"|tokens allowed \((\d+)|must be <= (\d+)|limit (\d+)",
    re.I,
)
_PROMPT = re.compile(
    r"resulted in (\d+)|requested (?:about )?(\d+)|too long: (\d+)|token count \((\d+)|contains (\d+) tokens"
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
    if isinstance(code, str):
        code = (
            int(code) if re.fullmatch(r"[45]\d\d", code) else _STATUS_OF_CODE.get(code)
        )
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def withheld(status: int, body: bytes, request: Mapping[str, Any]) -> Reply | None:
    """Return an empty reply where an error means that this prompt is not answered; None where it means another thing.

    It is the prompt's fault, not the run's: the next prompt may pass.
    """
    said = body.decode("utf-8", "replace")
    if (
        status != 400
        or not _WITHHELD.search(said)
        or _refused_option(status, said, request)
    ):
        return None
    incomplete = (
        f"the reply was withheld (content_filter: {one_line(_message(said), 120)})"
    )
    return Reply(
        "",
        Usage(1),
        str(request["model"]),
        finish_reason="content_filter",
        incomplete=incomplete,
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
    said, after_secs = _message(text), _retry_after(headers, text)
    option = _refused_option(status, said, request)
    if option:
        raise Unsupported(option)
    if status in (400, 413, 422, 429) and _TOO_LONG.search(text):
        _raise_too_long(said, str(request["model"]))
    if (status in (408, 409, 429) or status >= 500) and not _quota_is_spent(
        text, after_secs
    ):
        raise Again(
            LIMITED if status == 429 else BUSY,
            f"{endpoint} answered {status}: {said}",
            after_secs,
        )
    repair = _repair(status, request)
    raise ModelRefused(
        f"{endpoint} answered {status} for the model {request['model']!r}: {repair} ({said})"
    )


def _repair(status: int, request: Mapping[str, Any]) -> str:
    return {
        401: "the key is wrong or has expired: look at OPENAI_API_KEY or api_key",
        402: "the account has no money left: look at the plan and billing of this key",
        403: "the key may not use this model: choose another model, or ask for access",
        404: f"there is no model {request['model']!r}, or the base URL is wrong: look at model and OPENAI_BASE_URL",
        405: "this is no chat endpoint: look at OPENAI_BASE_URL; should it end in /v1?",
        429: "the quota is exhausted: look at the plan and billing of this key",
    }.get(
        status,
        "the request is wrong for this endpoint: look at the options of llm.Chat",
    )


def _raise_too_long(said: str, model: str) -> NoReturn:
    numbers = said.replace(",", "")
    limit, prompt = _number(_LIMIT, numbers), _number(_PROMPT, numbers)
    raise ContextTooLong(
        f"the prompt is too long for the model {model!r}: make it smaller, or take a model that reads more ({said})",
        limit_tokens=limit,
        prompt_tokens=prompt,
    )


def _number(pattern: re.Pattern[str], said: str) -> int | None:
    found = pattern.search(said)
    return (
        next(
            (
                int(group)
                for group in found.groups()
                if group and len(group) <= _MAX_DIGITS
            ),
            None,
        )
        if found
        else None
    )


def _quota_is_spent(body: str, after_secs: float | None) -> bool:
    return bool(_NO_MONEY.search(body)) or (_NO_QUOTA in body and after_secs is None)


def _refused_option(status: int, said: str, request: Mapping[str, Any]) -> str | None:
    if (
        status in (400, 422, 500, 501)
        and RESPONSE_FORMAT in request
        and _NO_SCHEMA.search(said)
    ):
        return RESPONSE_FORMAT
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
        said = re.sub(r"<[^<>]*>", " ", body)
    return one_line(str(said), _MAX_MESSAGE_CHARS) or "without a reason"


def _retry_after(headers: Mapping[str, str], body: str) -> float | None:
    """Return the wait that is asked for: Retry-After in seconds or as a date (RFC 9110, 10.2.3), or in the body."""
    value = headers.get("retry-after")
    if value is None:
        delay = _COME_BACK.search(body)
        return _seconds(delay[1]) if delay else None
    seconds = _seconds(value)
    return _until(value, headers.get("date")) if seconds is None else seconds


def _seconds(value: str) -> float | None:
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _until(date: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the endpoint's own clock where it tells that."""
    then, here = _date(date), _date(now or "") or datetime.now(UTC)
    return max(0.0, (then - here).total_seconds()) if then else None


def _date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC)
