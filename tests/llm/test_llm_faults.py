"""Every fault that endpoints were seen to have, against a real server: requests, outcome, time."""

import asyncio
import contextlib
import logging
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random

import pytest
from fault_rows import CONTEXT, HTML, ROWS, WHOLE

from llm_optimize.errors import ContextTooLong, ModelUnavailable
from llm_optimize.llm import Chat
from llm_optimize.records import Reply
from server import KEY, Raw, completion, error

HELLO = [{"role": "user", "content": "hello"}]
SLACK_SECS = 1.0  # that a call may outlive its deadline


def make(server, **options):
    return Chat(
        **{
            "model_name": "m",
            "base_url": server.url,
            "api_key": KEY,
            "max_wait_secs": 0.02,
            **options,
        }
    )


def answer(model, messages=HELLO):
    async def main():
        try:
            return await model.reply(messages)
        finally:
            await model.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.fault)
def test_each_fault_has_its_outcome(server, row):
    server.replies(*row.replies, for_ever=len(row.replies) == 1)
    model = make(server, deadline_secs=row.deadline_secs, **row.options)
    model.check()
    begun = time.monotonic()
    if isinstance(row.outcome, str):
        reply = answer(model)
        assert reply.text == row.outcome
        assert bool(reply.incomplete) == bool(row.words)
        assert re.search(row.words, reply.incomplete)
        assert reply.usage.uncertain_calls == row.uncertain
    else:
        with pytest.raises(row.outcome, match=row.words) as caught:
            answer(model)
        assert type(caught.value) is row.outcome
        assert caught.value.uncertain_calls == row.uncertain
        assert KEY not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - begun < row.deadline_secs + SLACK_SECS
    assert len(server.requests) == row.requests
    assert all("stream" not in request for request in server.requests)


@contextlib.contextmanager
def within(secs):
    begun = time.monotonic()
    try:
        yield
    finally:
        assert time.monotonic() - begun < secs


def test_a_pause_that_the_endpoint_asks_for_is_kept_by_all_calls(server):
    server.replies(error(429, "slow", Retry_After="1"), "hi", for_ever=True)
    model = make(server)

    async def main():
        first = asyncio.create_task(model.reply(HELLO))
        while not model.rest_secs():
            await asyncio.sleep(0.01)
        replies = await asyncio.gather(first, *(model.reply(HELLO) for _ in range(3)))
        await model.aclose()
        return [reply.text for reply in replies]

    assert asyncio.run(main()) == ["hi"] * 4
    refused, *others = (request["at"] for request in server.requests)
    assert len(others) == 4
    assert min(others) - refused > 0.9


def test_a_pause_longer_than_two_minutes_is_waited_for_when_the_deadline_allows(
    server, caplog
):
    server.replies(error(429, "slow", Retry_After="130"), "hi")
    model = make(server, deadline_secs=200)

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await model.reply(HELLO)
        await model.aclose()

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    assert "is asked again in 130.0 s" in caplog.text
    assert 120 < model.rest_secs() <= 130


@pytest.mark.parametrize(
    "header", ["soon", "inf", "nan", "", "-3", "Mon, 99 Foo 2026 00:00:00 GMT", "0.01"]
)
def test_a_pause_that_means_nothing_is_none(server, header):
    server.replies(error(429, "slow", Retry_After=header), "hi")
    with within(3):
        assert answer(make(server)).text == "hi"


def test_a_date_is_read_by_the_clock_of_the_endpoint(server):
    slow_clock = datetime.now(UTC) - timedelta(days=1)
    until = format_datetime(slow_clock + timedelta(seconds=1), usegmt=True)
    server.replies(
        error(
            429,
            "slow",
            Retry_After=until,
            Date=format_datetime(slow_clock, usegmt=True),
        ),
        "hi",
    )
    assert answer(make(server)).text == "hi"
    assert server.requests[1]["at"] - server.requests[0]["at"] > 0.9


def test_a_quota_of_a_minute_is_waited_for(server):
    body = {
        "error": {
            "message": "You exceeded your current quota",
            "details": [{"retryDelay": "0.2s"}],
        }
    }
    server.replies(Raw(429, body), "hi")
    assert answer(make(server)).text == "hi"
    assert server.requests[1]["at"] - server.requests[0]["at"] > 0.19


@pytest.mark.parametrize(
    ("status", "message", "limit", "prompt"),
    [
        (400, CONTEXT, 8192, 9000),
        (400, "prompt is too long: 210,000 tokens > 200,000 maximum", 200_000, 210_000),
        (
            400,
            "request (5000 tokens) exceeds the available context size (4096 tokens)",
            4096,
            5000,
        ),
        (
            400,
            "The input token count (1200000) exceeds "
            "the maximum number of tokens allowed (1048576).",
            1048576,
            1200000,
        ),
        (
            400,
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            32768,
            40000,
        ),
        (
            400,
            "This endpoint's maximum context length is 8192 tokens. "
            "You requested about 9001 tokens",
            8192,
            9001,
        ),
        (
            400,
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. "
            "Given: 9000",
            8193,
            9000,
        ),
        (400, "Your input exceeds the context window of this model.", None, None),
        (
            413,
            "Request too large for model `x` on tokens per minute (TPM): "
            "Limit 6000, Requested 7000",
            6000,
            7000,
        ),
        (
            429,
            "Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 12000.",
            10000,
            12000,
        ),
    ],
)
def test_a_prompt_that_is_too_long_says_by_how_much(
    server, status, message, limit, prompt
):
    server.replies(error(status, message), "hi")
    with pytest.raises(ContextTooLong) as caught:
        answer(make(server, max_tokens=100))
    assert (caught.value.limit_tokens, caught.value.prompt_tokens) == (limit, prompt)
    assert len(server.requests) == 1


def test_calls_at_once_that_learn_the_same_lose_nothing(server):
    together = threading.Barrier(4, timeout=30)

    def respond(request):
        return (
            Raw(
                400,
                error(400, "unknown parameter: temperature").body,
                hold=Meeting(together),
            )
            if ("temperature" in request)
            else "hi"
        )

    server.answer = respond
    model = make(server, temperature=0.3, top_p=0.5)

    async def main():
        replies = await asyncio.gather(*(model.reply(HELLO) for _ in range(4)))
        await model.aclose()
        return [reply.text for reply in replies]

    assert asyncio.run(main()) == ["hi"] * 4
    assert len(server.requests) == 8
    assert all(request["top_p"] == 0.5 for request in server.requests)


class Meeting:
    """Waits until all requests are there."""

    def __init__(self, barrier):
        self._barrier = barrier

    def wait(self, _timeout):
        self._barrier.wait()


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "hm, so\n</think>\n\nhi"}, "hi", "hm, so"),
        ({"content": "```\n</think>\n```"}, "```\n</think>\n```", ""),
        (
            {"content": [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]},
            "hi",
            "",
        ),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"text": "hm"}]},
                    {"text": "hi"},
                ]
            },
            "hi",
            "hm",
        ),
        ({"content": "hi", "reasoning": "hm"}, "hi", "hm"),
        ({"content": "hi", "reasoning": {"text": 1}}, "hi", ""),
    ],
)
def test_the_thinking_is_found_where_endpoints_put_it(server, message, text, reasoning):
    server.replies({"choices": [{"message": message}]})
    reply = answer(make(server))
    assert (reply.text, reply.reasoning, reply.incomplete) == (text, reasoning, "")


def test_text_that_no_request_can_carry_is_written_visibly(server):
    server.replies("hi")
    assert answer(make(server), [{"role": "user", "content": "a\udc80ü"}]).text == "hi"
    assert server.requests[0]["messages"][0]["content"] == "a\\udc80ü"


def test_pages_of_an_endpoint_that_has_answered_before_are_a_hiccup(server):
    server.replies(
        "hi", Raw(body=HTML), Raw(body=HTML), "hi again", Raw(body=HTML), for_ever=True
    )
    model = make(server)
    assert [answer(model).text for _ in range(2)] == ["hi", "hi again"]
    with pytest.raises(ModelUnavailable, match=r"in 3 attempts: .*web page"):
        answer(model)


def test_hostile_numbers_in_the_usage_are_not_believed(server):
    body = completion("hi")
    body["usage"] = {
        "prompt_tokens": -5,
        "completion_tokens": "many",
        "prompt_tokens_details": [],
    }
    server.replies(body)
    usage = answer(make(server)).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens) == (
        1,
        0,
        0,
    )  # of five and two characters
    assert usage.estimated


FAULTS = [
    error(429, "slow"),
    error(500, "oops"),
    Raw(reset_after=0),
    Raw(body=WHOLE, reset_after=9),
    Raw(body=WHOLE, drip_secs=0.05),
    Raw(body="{"),
    Raw(503, HTML),
    completion("cut", finish_reason="length"),
    completion(None),
    error(400, CONTEXT, "context_length_exceeded"),
]


def test_three_hundred_calls_with_faults_mixed_in_have_typed_outcomes_and_exact_totals(
    server,
):
    rng, sent = Random(5), []

    def respond(_request):
        sent.append(rng.choice(FAULTS) if rng.random() < 0.3 else "hi")
        return sent[-1]

    server.answer = respond
    model = make(server, deadline_secs=2.0)

    async def one(places):
        async with places:
            begun = time.monotonic()
            try:
                return await model.reply(HELLO)
            except (ModelUnavailable, ContextTooLong) as error:
                return error
            finally:
                assert time.monotonic() - begun < 2.0 + SLACK_SECS

    async def main():
        places = asyncio.Semaphore(20)
        try:
            return await asyncio.gather(*(one(places) for _ in range(300)))
        finally:
            await model.aclose()

    outcomes = asyncio.run(main())
    usages = [outcome.usage for outcome in outcomes if isinstance(outcome, Reply)]
    paid = [reply for reply in sent if reply == "hi" or isinstance(reply, dict)]
    assert sum(usage.tokens for usage in usages) == 18 * len(
        paid
    )  # each answer is counted once, none is lost
    assert len(usages) > 200
    in_doubt = [
        raw
        for raw in sent
        if isinstance(raw, Raw) and (raw.reset_after is not None or raw.status == 200)
    ]
    assert sum(
        (one.usage if isinstance(one, Reply) else one).uncertain_calls
        for one in outcomes
    ) == len(in_doubt)
