"""The model door, against a real server that answers, refuses, stalls, drips, drops and lies."""

import asyncio
import logging
import pickle
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from llm_optimize import llm
from llm_optimize.errors import (
    MissingKey,
    ModelRefused,
    ModelUnavailable,
    UnknownName,
    UsageError,
)
from llm_optimize.llm import Chat, Command, Ensemble, as_model, get_default_llm
from server import KEY, Raw, completion, error

HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture
def ask(server):
    """Return a function that asks the scripted server once, with quick waits."""

    def ask(*replies, for_ever=False, messages=HELLO, **options):
        server.replies(*replies, for_ever=for_ever)
        return answer(make(server, **options), messages)

    return ask


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


def test_a_reply_carries_text_usage_and_time(ask, server):
    reply = ask("hi", temperature=0.5, max_tokens=9)
    assert (reply.text, reply.model, reply.finish_reason) == ("hi", "m", "stop")
    assert (
        reply.usage.calls,
        reply.usage.prompt_tokens,
        reply.usage.completion_tokens,
    ) == (1, 11, 7)
    assert reply.usage.cost_usd is None  # unknown, not 0
    assert reply.seconds > 0
    (request,) = server.requests
    assert (request["path"], request["model"], request["messages"]) == (
        "/v1/chat/completions",
        "m",
        HELLO,
    )
    assert (request["temperature"], request["max_tokens"]) == (0.5, 9)
    assert request["headers"]["authorization"] == f"Bearer {KEY}"


def test_cached_and_reasoning_tokens_are_counted(ask):
    body = completion("hi")
    body["usage"]["prompt_tokens_details"] = {"cached_tokens": 5}
    body["usage"]["completion_tokens_details"] = {"reasoning_tokens": 3}
    usage = ask(body).usage
    assert (usage.cached_tokens, usage.reasoning_tokens) == (5, 3)


def test_missing_usage_is_estimated(ask):
    usage = ask(completion("x" * 40, usage=False)).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.estimated) == (
        1,
        10,
        True,
    )


@pytest.mark.parametrize(
    ("body", "text", "reasoning"),
    [
        (completion("<think>hm\nhm</think>\n\nhi"), "hi", "hm\nhm"),
        (completion("hi", reasoning_content="hm"), "hi", "hm"),
        (completion("use <think> tags"), "use <think> tags", ""),
        (completion("<think>never closed"), "", "never closed"),
    ],
)
def test_thinking_is_kept_apart(ask, body, text, reasoning):
    reply = ask(body)
    assert (reply.text, reply.reasoning) == (text, reasoning)


@pytest.mark.parametrize(
    "fault",
    [
        error(429, "slow down"),
        error(429, "slow down", Retry_After="0"),
        error(500, "oops"),
        error(503, "busy"),
        error(408, "late"),
        error(409, "conflict"),
        Raw(503, "<html>busy</html>"),
        Raw(200, "{not json"),
        Raw(200, b'{"choices": "\xff\xfe"}'),
        Raw(200, "<html>please log in</html>"),
        Raw(200, {"choices": None}),
        Raw(
            200,
            {"choices": [{"finish_reason": "error", "message": {"content": "half"}}]},
        ),
        Raw(200, "[]"),
        Raw(200, {"error": {"message": "overloaded", "code": 503}}),
        Raw(
            200,
            {
                "choices": [
                    {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
                ]
            },
        ),
        Raw(200, b'{"choices"', drop=True),
    ],
)
def test_a_passing_fault_is_asked_again(ask, server, fault):
    assert ask(fault, "hi").text == "hi"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (error(401, "bad key"), "look at OPENAI_API_KEY"),
        (error(403, "no"), "may not use this model"),
        (error(404, "no such model"), "there is no model 'm'"),
        (error(400, "context length exceeded"), "context length exceeded"),
        (
            error(429, "you exceeded your current quota", "insufficient_quota"),
            "the quota is exhausted",
        ),
        (error(422, "what?"), "what?"),
    ],
)
def test_a_final_no_is_one_request_and_one_sentence(ask, server, fault, words):
    with pytest.raises(ModelRefused, match=words) as caught:
        ask(fault, "hi")
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "requests", "words"),
    [
        (error(500, "oops"), 3, "in 3 attempts: .*500: oops"),
        (error(429, "slow down"), 3, "429"),
        (Raw(200, "{"), 3, "no JSON"),
    ],
)
def test_a_lasting_fault_ends_after_a_bounded_number_of_attempts(
    ask, server, fault, requests, words
):
    with pytest.raises(ModelUnavailable, match=words):
        ask(fault, for_ever=True, max_attempts=3)
    assert len(server.requests) == requests


def test_one_deadline_holds_for_a_server_that_drips(ask):
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match="did not answer within 0"):
        ask(Raw(body=completion("hi" * 500), drip_secs=0.05), deadline_secs=0.5)
    assert time.monotonic() - begun < 5


def test_one_deadline_holds_over_all_attempts(ask, server):
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match="did not answer within 2 s"):
        ask(
            error(503, "busy"),
            for_ever=True,
            deadline_secs=2.0,
            max_attempts=10_000,
            max_wait_secs=0.1,
        )
    assert time.monotonic() - begun < 5
    assert len(server.requests) > 2


@pytest.mark.parametrize(
    "written", [lambda when: "1", lambda when: format_datetime(when, usegmt=True)]
)
def test_retry_after_is_obeyed_in_seconds_and_as_a_date(ask, written):
    begun = time.monotonic()
    when = datetime.now(UTC) + timedelta(seconds=2)
    assert ask(error(429, "wait", Retry_After=written(when)), "hi").text == "hi"
    assert time.monotonic() - begun > 0.7


def test_a_wait_beyond_the_deadline_is_not_begun(ask, server):
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match="429"):
        ask(error(429, "wait", Retry_After="500"), "hi", deadline_secs=20)
    assert time.monotonic() - begun < 10
    assert len(server.requests) == 1


def test_an_option_that_is_refused_is_left_out_from_then_on(server, caplog):
    server.replies(
        error(
            400,
            "Unsupported parameter: 'max_tokens' is not supported, "
            "use 'max_completion_tokens' instead.",
        ),
        error(
            400,
            "Unsupported value: 'temperature' does not support 0.1 with this model.",
        ),
        "hi",
        "again",
    )
    model = make(server, max_tokens=5, temperature=0.1)
    with caplog.at_level(logging.INFO):
        assert answer(model).text == "hi"
    assert answer(model).text == "again"
    assert "temperature" not in server.requests[-1]
    assert server.requests[-1]["max_completion_tokens"] == 5
    assert "takes no temperature" in caplog.text


def test_many_calls_at_once_do_not_wait_for_each_other(server):
    import threading

    everybody = threading.Barrier(64, timeout=30)

    server.answer = lambda request: Raw(body=completion("hi"), hold=Meeting(everybody))
    model = make(server)

    async def main():
        try:
            return await asyncio.gather(*(model.reply(HELLO) for _ in range(64)))
        finally:
            await model.aclose()

    assert len(asyncio.run(main())) == 64


class Meeting:
    """Waits until all calls are there: none would come if they stood in line."""

    def __init__(self, barrier):
        self._barrier = barrier

    def wait(self, _timeout):
        self._barrier.wait()


def test_no_key_is_one_sentence_and_a_server_of_ones_own_needs_none(
    server, monkeypatch
):
    with pytest.raises(MissingKey, match="export OPENAI_API_KEY"):
        answer(Chat("m"))
    server.replies("hi")
    assert answer(Chat("m", base_url=server.url)).text == "hi"


def test_the_environment_names_model_address_and_key(server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-env")
    monkeypatch.setenv("LLM_OPTIMIZE_MODEL", "from-env")
    server.replies("hi", for_ever=True)
    answer(as_model(None))
    assert server.requests[-1]["model"] == "from-env"
    assert server.requests[-1]["headers"]["authorization"] == "Bearer sk-env"
    monkeypatch.setitem(llm.default_llm_options, "model_name", "chosen")
    answer(get_default_llm())
    assert server.requests[-1]["model"] == "chosen"  # the names in the program count


def test_a_chat_can_be_pickled_and_used_on_several_loops(server):
    server.replies("hi", for_ever=True)
    model = make(server)
    assert (
        answer(model).text
        == answer(model).text
        == answer(pickle.loads(pickle.dumps(model))).text
        == "hi"
    )
    assert KEY not in repr(model)


def test_wrong_options_are_refused():
    with pytest.raises(UnknownName, match="did you mean 'temperature'"):
        Chat("m", temprature=1)
    with pytest.raises(UsageError, match="max_attempts 0"):
        Chat("m", max_attempts=0)
    with pytest.raises(UsageError, match="weights above 0"):
        Ensemble([])
    with pytest.raises(UsageError, match="model is 5"):
        as_model(5)


def test_any_callable_is_a_model():
    async def later(messages):
        return messages[-1]["content"].upper()

    def now(messages):
        return messages[-1]["content"] + "!"

    assert answer(as_model(later)).text == "HELLO"
    reply = answer(as_model(now))
    assert (reply.text, reply.model, reply.usage.calls) == ("hello!", "now", 1)
    with pytest.raises(ModelRefused, match="returned None: return the reply as text"):
        answer(as_model(lambda messages: None))


def test_any_program_is_a_model():
    upper = "import sys; print(sys.stdin.read().upper())"
    assert answer(Command([sys.executable, "-c", upper])).text.strip() == "HELLO"
    with pytest.raises(ModelRefused, match="exit code 3: sorry"):
        answer(
            Command(
                [
                    sys.executable,
                    "-c",
                    "import sys; sys.exit((sys.stderr.write('sorry'), 3)[1])",
                ]
            )
        )
    with pytest.raises(ModelRefused, match="cannot be started"):
        answer(Command(["no-such-program-at-all"]))


def test_a_program_that_hangs_is_killed_at_its_deadline():
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match="did not answer"):
        answer(
            Command(
                [sys.executable, "-c", "import time; time.sleep(60)"], deadline_secs=0.5
            )
        )
    assert time.monotonic() - begun < 10
