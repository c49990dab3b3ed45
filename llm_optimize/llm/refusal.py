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

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, NoReturn

from ..errors import ContextTooLong, ModelRefused
from ..records import Reply, Usage
from ..text import one_line
from .dialect import API, CHAT, RESPONSES, SCHEMA, SYSTEM, Request
from .faults import BUSY, LIMITED, Again, Unsupported
from .problem import Problem

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
    r"unsupported|n[o']t support|unrecogni[sz]ed|unknown|unexpected|not allowed|deprecated"
    r"|not permitted|extra.(?:inputs|forbidden)|cannot (?:both|find)|not (?:available|enabled)"
    r"|unavailable|invalid|too large|above maximum|below minimum|range|must be|may only"
    r"|should be|at most|maximum",
    re.I,
)
_NOT_BOTH = re.compile(r"cannot both|not both|at the same time|only one", re.I)
# Named in a refusal of a schema.
_NO_SCHEMA = re.compile(
    r"response.?(?:format|schema)|json.?(?:schema|mode)|structured.output|guided|grammar"
    r"|text\.format",
    re.I,
)
_NO_SYSTEM = re.compile(
    r"\b(?:system|developer)\W{1,3}(?:roles?|messages?|instructions?|prompts?)\b.{0,40}"
    r"(?:not|n't|un)[ -]?(?:be )?(?:support|allow|enable|permit|accept)"
    r"|(?:not|n't) support.{0,40}\b(?:system|developer)\W{1,3}(?:role|message|prompt)"
    r"|roles? must alternate|(?:unexpected|unsupported|unknown|invalid) role"
    r"|role\W.{0,80}\b(?:system|developer)\b",
    re.I | re.S,
)
# That a model is found there and only there.
_OTHER_API = re.compile(
    r"v1/responses|\bresponses api|chatcompletion operation does not work", re.I
)
_NO_CHAT_MODEL = re.compile(r"not a chat model", re.I)
# What endpoints call an option besides its own name.
_OTHER_NAMES = {
    "max_completion_tokens": ("max_output_tokens", "maxOutputTokens"),
    "max_tokens": ("max_output_tokens", "maxOutputTokens"),
    "reasoning_effort": (
        "reasoning.effort",
        "reasoningEffort",
        "reasoning",
        "thinking",
        "think value",
    ),
    "frequency_penalty": ("frequencyPenalty",),
    "presence_penalty": ("presencePenalty",),
}
_TELLING = ("temperature", "thinking", "think value")  # in a refusal, without a mark
# Before the name of an option that is an ordinary word.
_MARK = (
    r"(?:argument|field|keyword|name|option|param|parameter|property)s?(?: supplied)?:?"
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
    "invalid_prompt": 400,
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


def withheld(problem: Problem, request: Request) -> Reply | None:
    """Return an empty reply if an error means that this prompt is not answered, else None.

    That is the prompt's fault, not the run's: the next prompt may pass.
    """
    if problem.status != 400 or not _WITHHELD.search(problem.text):
        return None
    if _refused_part(problem, request):
        return None
    message = one_line(problem.message, 120)
    return Reply(
        "",
        Usage(1),
        request.model,
        finish_reason="content_filter",
        incomplete=f"the reply was withheld (content_filter: {message})",
    )


def raise_refusal(
    problem: Problem, headers: Mapping[str, str], request: Request, endpoint: str
) -> NoReturn:
    """Raise what an error status means: Again, Unsupported, ContextTooLong or ModelRefused."""
    status, text, message = problem.status, problem.text, problem.shown
    after_secs = _retry_after(headers, text)
    if status in (400, 413, 422, 429) and _TOO_LONG.search(text):
        _raise_too_long(message, request.model)
    repair = _repair(status, request.model)
    refused = ModelRefused(
        f"{endpoint} answered {status} for the model {request.model!r}: {repair} ({message})"
    )
    part = _refused_part(problem, request)
    if part:
        raise Unsupported(part, problem.message, refused)
    if request.api == CHAT and _may_be_other_api(problem):
        is_guess = not _OTHER_API.search(problem.message)
        raise Unsupported(API, problem.message, refused, is_guess)
    may_pass = status in (408, 409, 429) or status >= 500
    # A spent quota is a 429, too, but waiting does not help. Some endpoints use the same words for
    # the quota of a minute; then they say when to come back.
    is_spent = _NO_QUOTA in text and after_secs is None
    if may_pass and not is_spent and not _NO_MONEY.search(text):
        fault = LIMITED if status == 429 else BUSY
        raise Again(fault, f"{endpoint} answered {status}: {message}", after_secs)
    raise refused


def _may_be_other_api(problem: Problem) -> bool:
    """Whether a model may be found in the Responses API, after an answer to a chat completion."""
    if problem.status not in (400, 404, 405):
        return False
    if _OTHER_API.search(problem.message):
        return True
    if problem.status == 400 or problem.is_page:
        return False
    # An address that is not there; a model that is not there would be named.
    names_model = "model" in f"{problem.message} {problem.code}".lower()
    return not names_model or bool(_NO_CHAT_MODEL.search(problem.message))


def _repair(status: int, model: str) -> str:
    if status == 401:
        return "the key is wrong or has expired: look at OPENAI_API_KEY or api_key"
    if status == 402:
        return "the account has no money left: look at the plan and billing of this key"
    if status == 403:
        return "the key may not use this model: choose another model, or ask for access"
    if status == 404:
        return (
            f"there is no model {model!r}, or the base URL is wrong: "
            "look at model and OPENAI_BASE_URL"
        )
    if status == 405:
        return "this is not a chat endpoint: look at OPENAI_BASE_URL; should it end in /v1?"
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


def _refused_part(problem: Problem, request: Request) -> str | None:
    """Return the part of the request that an error names as unsupported; None for none."""
    status, message = problem.status, problem.message
    if problem.param == "model" or problem.code == "model_not_found":
        return None
    if SCHEMA in request.parts and status in (400, 422, 500, 501):
        if _NO_SCHEMA.search(problem.text):
            return SCHEMA
    role_is_named = problem.param.startswith("messages") and "role" in problem.param
    if status in (400, 422, 500):
        if role_is_named or _NO_SYSTEM.search(message):
            return SYSTEM
    if status not in (400, 422):
        return None
    for part in request.parts:
        if problem.param in _names_of(part):
            return part
    if not _REFUSES.search(message):
        return None
    named: list[tuple[int, str]] = []
    for part in request.parts:
        found = _pattern_of(part).search(message)
        if found:
            named.append((found.start(), part))
    if not named:
        return None
    parts = {part for _, part in named}
    if _NOT_BOTH.search(message) and parts >= {"temperature", "top_p"}:
        return "top_p"
    return min(named)[1]


def _names_of(part: str) -> tuple[str, ...]:
    """Return the names that endpoints have for an option; none for another part."""
    if part in (SYSTEM, API, CHAT, RESPONSES):
        return ()
    return (part, *_OTHER_NAMES.get(part, ()))


@cache
def _pattern_of(part: str) -> re.Pattern[str]:
    """Return what finds an option in a sentence; one that is an ordinary word must be marked."""
    found = [r"(?!)"]
    for name in _names_of(part):
        word = re.escape(name)
        if not name.isalpha() or not name.islower() or name in _TELLING:
            found.append(rf"\b{word}\b")
        else:
            found.append(rf"['\"`]{word}['\"`]|{_MARK} \[?['\"]?{word}\b")
            found.append(rf"^{word}:|: {word}\Z")
    return re.compile("|".join(found), re.I | re.M)


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
