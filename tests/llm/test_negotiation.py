"""What endpoints refuse, in their own words: changed, remembered for all calls, said once, bounded.

Sentences are those that endpoints were reported to write.
"""

import asyncio
import json
import logging
import pickle
import threading
import time

import pytest
from refusal_rows import EVERYTHING, LEFT_OUT, WORDINGS, body

from llm_optimize import optimize
from llm_optimize.errors import ModelRefused, ModelUnavailable, UnknownName, UsageError
from llm_optimize.llm import Chat, Ensemble, Price, Seen, expected_usage
from llm_optimize.records import Noticed
from server import KEY, Raw, completion, error

SYSTEM = {"role": "system", "content": "Be brief."}
USER = {"role": "user", "content": "hello"}
HELLO = [SYSTEM, USER]
CALLS = 256


def make(server, **options):
    options = {"model_name": "m", "api_key": KEY, "max_wait_secs": 0.02, **options}
    return Chat(base_url=server.url, **options)


def gather(model, calls, schema=None, messages=HELLO):
    async def main():
        try:
            asked = [model.reply(messages, schema) for _ in range(calls)]
            return await asyncio.gather(*asked)
        finally:
            await model.aclose()

    return asyncio.run(main())


def answer(model, schema=None, messages=HELLO):
    return gather(model, 1, schema, messages)[0]


# Every wording is about one option, and only that one is changed.


@pytest.mark.parametrize(
    ("status", "refusal", "option", "then"),
    WORDINGS,
    ids=[f"{place}-{row[2]}" for place, row in enumerate(WORDINGS)],
)
def test_a_refusal_changes_the_option_that_it_names_and_no_other(
    server, status, refusal, option, then
):
    server.replies(Raw(status, json.dumps(refusal)), "hi", "again")
    model = make(server, **EVERYTHING)
    assert answer(model).text == "hi"
    assert answer(model).text == "again"
    assert len(server.requests) == 3
    expected = dict(EVERYTHING)
    if then is LEFT_OUT:
        del expected[option]
    else:
        expected[option] = then
    for request in server.requests[1:]:
        assert {
            name: request[name] for name in EVERYTHING if name in request
        } == expected
    (change,) = model.changes
    assert option in change
    assert KEY not in change


@pytest.mark.parametrize("first", ["max_tokens", "max_completion_tokens"])
def test_a_limit_of_replies_is_kept_under_the_other_name(server, first):
    (other,) = {"max_tokens", "max_completion_tokens"} - {first}
    server.answer = lambda request: (
        error(400, f"Unsupported parameter: '{first}'. Use '{other}' instead.")
        if first in request
        else "hi"
    )
    model = make(server, **{first: 7})
    answer(model)
    assert server.requests[-1][other] == 7
    assert model.max_tokens == 7


def test_a_limit_that_is_taken_under_no_name_is_no_longer_counted_on(server, caplog):
    server.answer = lambda request: next(
        (
            error(400, f"Unknown parameter: '{name}'.")
            for name in ("max_tokens", "max_completion_tokens")
            if name in request
        ),
        "hi",
    )
    model = make(server, max_tokens=5, price=Price(1e6, 1e6))
    before = expected_usage(model, HELLO, Seen(100)).completion_tokens
    with caplog.at_level(logging.WARNING):
        answer(model)
    after = expected_usage(model, HELLO, Seen(100)).completion_tokens
    assert (before, after) == (5, 200)
    assert model.max_tokens is None
    assert "its replies have no limit of 5 tokens any more" in caplog.text


# Roles.


@pytest.mark.parametrize(
    ("refusal", "roles"),
    [
        (
            error(
                400,
                "Unsupported value: 'messages[0].role' does not support 'system'.",
                "unsupported_value",
            ),
            ["developer", "user"],
        ),
        (error(500, "Jinja Exception: System role not supported"), ["user"]),
        (
            error(
                400, "Developer instruction is not enabled for models/gemma-3-27b-it"
            ),
            ["user"],
        ),
        (
            error(
                400,
                "Conversation roles must alternate user/assistant/user/assistant/...",
            ),
            ["user"],
        ),
        (
            error(
                400,
                'messages: Unexpected role "system". Use a top-level `system`',
            ),
            ["user"],
        ),
    ],
    ids=["developer", "template", "gemma", "alternate", "unexpected"],
)
def test_a_system_message_that_is_refused_reaches_the_model_otherwise(
    server, refusal, roles
):
    server.replies(refusal, "hi", "again")
    model = make(server)
    assert [answer(model).text, answer(model).text] == ["hi", "again"]
    for request in server.requests[1:]:
        assert [one["role"] for one in request["messages"]] == roles
        words = [one["content"] for one in request["messages"]]
        assert "\n\n".join(words) == "Be brief.\n\nhello"


def test_a_developer_message_that_is_refused_too_is_joined_to_the_users(server):
    server.answer = lambda request: (
        error(
            400,
            f"Unsupported value: 'messages[0].role' does not support '{role}'.",
        )
        if (role := request["messages"][0]["role"]) != "user"
        else "hi"
    )
    assistant = {"role": "assistant", "content": "well"}
    assert answer(make(server), messages=[SYSTEM, USER, assistant, USER]).text == "hi"
    roles = [
        [one["role"] for one in request["messages"]] for request in server.requests
    ]
    assert [role[0] for role in roles] == ["system", "developer", "user"]
    assert roles[-1] == ["user", "assistant", "user"]


# What stays an error.


@pytest.mark.parametrize(
    "refusal",
    [
        error(400, "messages: at least one message is required"),
        error(400, "The model 'temperature-1' does not exist", "model_not_found"),
        error(400, "Your organization must be verified to use this model"),
        error(404, "The model `m` does not exist", "model_not_found"),
        error(400, "please stop sending requests that are not allowed"),
        error(401, "Unsupported parameter: 'temperature'"),
    ],
    ids=["messages", "model", "organization", "no model", "prose", "key"],
)
def test_what_is_not_about_an_option_is_an_error_at_once(server, refusal):
    server.replies(refusal, "hi")
    model = make(server, **EVERYTHING)
    with pytest.raises(ModelRefused):
        answer(model)
    assert len(server.requests) == 1
    assert model.changes == ()


def test_an_answer_that_is_withheld_is_not_about_an_option(server):
    message = (
        "The response was filtered: your prompt on temperature triggered our policy"
    )
    server.replies(Raw(400, body(message, code="content_filter", param="prompt")))
    reply = answer(make(server, seed=1))
    assert "withheld" in reply.incomplete
    assert len(server.requests) == 1


def test_what_extra_body_says_is_left_out_only_where_it_does_no_harm(server):
    server.answer = lambda request: next(
        (
            error(400, f"Unknown parameter: '{name}'.")
            for name in ("top_k", "provider")
            if name in request
        ),
        "hi",
    )
    assert answer(make(server, extra_body={"top_k": 40})).text == "hi"
    assert "top_k" not in server.requests[-1]
    private = make(server, extra_body={"provider": {"data_collection": "deny"}})
    with pytest.raises(ModelRefused, match="Unknown parameter: 'provider'"):
        answer(private)
    assert server.requests[-1]["provider"] == {"data_collection": "deny"}


def test_an_endpoint_that_is_never_content_is_given_up_on(server):
    """It names a value that it then refuses as well."""
    limits = iter(range(10_000, 0, -1))
    server.answer = lambda request: error(
        400, f"temperature must be less than or equal to {next(limits)}"
    )
    model = make(server, temperature=99_999)
    with pytest.raises(ModelRefused, match="temperature"):
        answer(model)
    assert len(server.requests) <= 13


def test_refusals_stay_within_the_deadline_and_beside_retries(server):
    slow = Raw(400, body("Unknown parameter: 'seed'."), drip_secs=0.05)
    server.replies(slow, "hi")
    begun = time.monotonic()
    with pytest.raises(ModelUnavailable, match=r"within 0\.5 s"):
        answer(make(server, seed=1, deadline_secs=0.5))
    assert time.monotonic() - begun < 5
    server.replies(
        error(503, "busy"),
        error(400, "Unknown parameter: 'seed'."),
        error(503, "busy"),
        "hi",
    )
    assert answer(make(server, seed=1, max_attempts=3)).text == "hi"


# All calls of a model learn from one.


def strict(server):
    """Refuse three things, one after the other; count the refusals."""
    refused = []

    def answer(request):
        for name in ("temperature", "top_p", "seed"):
            if name in request:
                refused.append(name)
                return error(400, f"Unsupported parameter: '{name}'.")
        return "hi"

    server.answer = answer
    return refused


def test_of_many_first_calls_one_finds_out_for_all(server):
    refused = strict(server)
    model = make(server, temperature=0.5, top_p=0.5, seed=1)
    assert [reply.text for reply in gather(model, CALLS)] == ["hi"] * CALLS
    assert refused == ["temperature", "top_p", "seed"]
    assert len(server.requests) == CALLS + 3
    assert len(model.changes) == 3


def test_an_ensemble_and_a_copy_that_was_pickled_know_it_too(server):
    refused = strict(server)
    model = make(server, temperature=0.5)
    both = Ensemble([model, make(server, model_name="other", seed=2)])
    gather(both, 20)
    assert sorted(refused) == ["seed", "temperature"]
    assert len(both.changes) == 2
    answer(pickle.loads(pickle.dumps(model)))
    assert len(refused) == 2


def test_a_slow_first_answer_holds_nobody_up(server):
    """Only a refusal comes quickly: what is not refused is being worked on."""
    first = threading.Event()
    waiting = []

    def respond(request):
        waiting.append(request)
        if len(waiting) == 1:
            return Raw(body=completion("slow"), hold=first)
        if len(waiting) == 8:
            first.set()
        return "hi"

    server.answer = respond
    replies = gather(make(server, temperature=0.5), 8)
    assert sorted(reply.text for reply in replies) == ["hi"] * 7 + ["slow"]


def test_calls_without_options_wait_for_nobody(server):
    meeting = threading.Barrier(8, timeout=30)

    class Meeting:
        def wait(self, _timeout):
            meeting.wait()

    server.answer = lambda request: Raw(body=completion("hi"), hold=Meeting())
    assert len(gather(make(server), 8)) == 8


def test_one_that_goes_first_and_fails_lets_the_next_one_go(server):
    server.replies(error(401, "no"), "hi", for_ever=True)
    model = make(server, temperature=0.5)

    async def main():
        asked = [model.reply(HELLO) for _ in range(4)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        await model.aclose()
        return outcomes

    kinds = [type(outcome).__name__ for outcome in asyncio.run(main())]
    assert sorted(kinds) == ["ModelRefused", "Reply", "Reply", "Reply"]


def test_it_is_said_once_in_a_run(server, tmp_path, capfd):
    server.answer = lambda request: (
        error(400, "Unsupported parameter: 'temperature'.")
        if "temperature" in request
        else f"```\n{len(server.requests)}\n```"
    )
    events = []
    optimize.run(
        "d",
        "q",
        float,
        "0",
        3,
        "m",
        True,
        base_url=server.url,
        temperature=0.5,
        store=str(tmp_path / "runs.db"),
        sandbox="inline",
        callbacks=[events.append],
    )
    said = [one.text for one in events if isinstance(one, Noticed)]
    said = [text for text in said if "takes no" in text]
    assert said == [
        f"the model 'm' at {server.url} takes no temperature: it is asked without"
    ]
    assert capfd.readouterr().out.count("takes no temperature") == 1


# Arguments.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1: give a number, 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"reasoning_effort": 3}, "reasoning_effort is 3: give a text"),
        ({"max_tokens": 0}, "max_tokens is 0: give how many tokens"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "two names of one limit"),
        ({"extra_body": {"model": "other"}}, "extra_body holds 'model'"),
        ({"extra_body": {"seed": 1}}, r"give it as llm.Chat\(..., seed=...\)"),
        ({"extra_headers": {"x": 1}}, "extra_headers: x has a value"),
        ({"api": "responses", "seed": 1}, "the Responses API takes no seed"),
    ],
)
def test_an_argument_that_cannot_be_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        Chat("m", **options)


def test_an_api_that_is_none_is_refused():
    with pytest.raises(UnknownName, match="did you mean 'responses'"):
        Chat("m", api="response")
