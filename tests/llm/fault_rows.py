"""Faults of an endpoint, each with what must come of it."""

import json
import threading
from dataclasses import dataclass, field

from llm_optimize.errors import ContextTooLong, ModelRefused, ModelUnavailable
from server import Raw, completion, error

SILENCE = Raw(hold=threading.Event())
HTML = "<html><body>busy, <b>come back</b></body></html>"


@dataclass
class Row:
    """A fault: what the server says, and what must come of it."""

    fault: str
    replies: list
    requests: int
    outcome: object  # the text of the reply, or the class of the error
    words: str = ""  # in Reply.incomplete, or in the error
    uncertain: int = 0
    deadline_secs: float = 5.0
    options: dict = field(default_factory=dict)


NO_MONEY = error(
    429, "You exceeded your current quota, please check your plan", "insufficient_quota"
)
CONTEXT = (
    "This model's maximum context length is 8192 tokens. "
    "However, your messages resulted in 9000 tokens."
)
WHOLE = json.dumps(completion("hi"))
ROWS = [
    Row("429, Retry-After 1", [error(429, "slow", Retry_After="1"), "hi"], 2, "hi"),
    Row(
        "429, Retry-After 130",
        [error(429, "slow", Retry_After="130"), "hi"],
        1,
        ModelUnavailable,
        "429: slow",
    ),
    Row(
        "429 for ever",
        [error(429, "slow")],
        5,
        ModelUnavailable,
        "in 5 attempts: .*429: slow",
    ),
    Row(
        "429, no money",
        [NO_MONEY, "hi"],
        1,
        ModelRefused,
        "quota is exhausted: look at the plan and billing",
    ),
    Row(
        "402, no money",
        [error(402, "Insufficient Balance"), "hi"],
        1,
        ModelRefused,
        "no money left",
    ),
    Row("500 twice", [error(500, "oops"), error(500, "oops"), "hi"], 3, "hi"),
    Row(
        "503, a page for ever",
        [Raw(503, HTML)],
        5,
        ModelUnavailable,
        "503: busy, come back",
    ),
    Row(
        "500, then a reset",
        [error(500, "oops"), Raw(reset_after=0), "hi"],
        3,
        "hi",
        uncertain=1,
    ),
    Row("409", [error(409, "conflict"), "hi"], 2, "hi"),
    Row("408", [error(408, "late"), "hi"], 2, "hi"),
    Row(
        "401",
        [error(401, "bad key"), "hi"],
        1,
        ModelRefused,
        "the key is wrong or has expired: look at OPENAI_API_KEY",
    ),
    Row(
        "403",
        [error(403, "no"), "hi"],
        1,
        ModelRefused,
        "may not use this model: choose another",
    ),
    Row(
        "404, model",
        [error(404, "no such model"), "hi"],
        1,
        ModelRefused,
        "there is no model 'm', or the base URL",
    ),
    Row(
        "404, a page",
        [Raw(404, HTML), "hi"],
        1,
        ModelRefused,
        "there is no model 'm', or the base URL",
    ),
    Row("405", [Raw(405, HTML), "hi"], 1, ModelRefused, "should it end in /v1"),
    Row("400", [error(400, "messages: bad role"), "hi"], 1, ModelRefused, "bad role"),
    Row(
        "400, context",
        [error(400, CONTEXT, "context_length_exceeded"), "hi"],
        1,
        ContextTooLong,
        "make it smaller",
    ),
    Row(
        "400, policy",
        [error(400, "no such prompts", "content_policy_violation")],
        1,
        "",
        "withheld .*no such prompts",
    ),
    Row(
        "no answer",
        [SILENCE],
        2,
        ModelUnavailable,
        "up to 2 unanswered",
        uncertain=2,
        deadline_secs=1.2,
    ),
    Row("no answer once", [SILENCE, "hi"], 2, "hi", uncertain=1, deadline_secs=2.0),
    Row(
        "reset before the answer",
        [Raw(reset_after=0)],
        2,
        ModelUnavailable,
        "broke",
        uncertain=2,
    ),
    Row("reset before it, once", [Raw(reset_after=0), "hi"], 2, "hi", uncertain=1),
    Row(
        "reset in the body",
        [Raw(body=WHOLE, reset_after=9)],
        2,
        ModelUnavailable,
        "broke",
        uncertain=2,
    ),
    Row(
        "short body",
        [Raw(body=WHOLE[:20], drop=True)],
        2,
        ModelUnavailable,
        "broke",
        uncertain=2,
    ),
    Row(
        "short body once", [Raw(body=WHOLE[:20], drop=True), "hi"], 2, "hi", uncertain=1
    ),
    Row(
        "slow drip",
        [Raw(body=WHOLE, drip_secs=0.05)],
        1,
        ModelUnavailable,
        "within 1 s",
        1,
        1.0,
    ),
    Row(
        "drip, whole in time",
        [Raw(body=WHOLE, drip_secs=0.002)],
        1,
        "hi",
        deadline_secs=20.0,
    ),
    Row(
        "empty choices", [Raw(body={"choices": []}), "hi"], 1, "", "the reply is empty"
    ),
    Row("content null", [completion(None), "hi"], 1, "", "the reply is empty"),
    Row("content blank", [completion(" \n"), "hi"], 1, " \n", "the reply is empty"),
    Row(
        "refusal",
        [completion(None, refusal="I will not"), "hi"],
        1,
        "I will not",
        "refusal",
    ),
    Row(
        "content_filter",
        [completion("", finish_reason="content_filter")],
        1,
        "",
        "content_filter",
    ),
    Row(
        "length",
        [completion("cut of", finish_reason="length")],
        1,
        "cut of",
        "cut off at the token limit",
    ),
    Row(
        "unended thinking", [completion("<think>hm")], 1, "", "ends inside its thinking"
    ),
    Row(
        "malformed JSON", [Raw(body='{"choices": [{"mess'), "hi"], 2, "hi", uncertain=1
    ),
    Row(
        "malformed JSON for ever",
        [Raw(body="{")],
        3,
        ModelUnavailable,
        "with no JSON",
        uncertain=3,
    ),
    Row(
        "invalid UTF-8",
        [Raw(body=b'{"choices": "\xff\xfe"}'), "hi"],
        2,
        "hi",
        uncertain=1,
    ),
    Row("deeply nested JSON", [Raw(body="[" * 100_000), "hi"], 2, "hi", uncertain=1),
    Row(
        "JSON, another thing",
        [Raw(body='{"detail": "Not Found"}')],
        3,
        ModelUnavailable,
        "no chat completion",
        3,
    ),
    Row(
        "200 with HTML",
        [Raw(body=HTML)],
        2,
        ModelRefused,
        "with a web page.*should the base URL end in /v1",
    ),
    Row("200 with HTML once", [Raw(body=HTML), "hi"], 2, "hi"),
    Row(
        "200 with an error",
        [Raw(body={"error": {"message": "overloaded", "code": 502}}), "hi"],
        2,
        "hi",
    ),
    Row(
        "200 with a final error",
        [Raw(body={"error": {"code": "invalid_api_key"}})],
        1,
        ModelRefused,
        "OPENAI_API_KEY",
    ),
    Row(
        "200 with an error of no kind",
        [Raw(body={"error": "what?", "choices": None}), "hi"],
        2,
        "hi",
    ),
    Row("no usage", [completion("hi", usage=False)], 1, "hi"),
    Row(
        "a stream, unasked",
        [Raw(body='data: {"choices": []}\n\ndata: [DONE]\n')],
        3,
        ModelUnavailable,
        "no JSON",
        3,
    ),
]
