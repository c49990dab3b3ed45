"""JSON of a schema: endpoints that take it, endpoints that refuse it, and other models."""

import asyncio
import json
from random import Random

import pytest

from llm_optimize import optimize
from llm_optimize.llm import Chat, Ensemble, reply_of
from llm_optimize.records import Message
from llm_optimize.space import Choice, Float, Int, Space
from llm_optimize.testing import ScriptedChat
from server import KEY, error

HELLO = [Message(role="user", content="hello")]
SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "number"}},
    "required": ["a"],
    "additionalProperties": False,
}
SPACE = Space(
    {
        "lr": Float(0.01, 1, log=True),
        "layers": Int(1, 4),
        "kind": Choice("relu", "tanh"),
    }
)
REFUSALS = [
    error(
        400,
        "Invalid parameter: 'response_format' of type 'json_schema' "
        "is not supported with this model.",
    ),
    error(400, "This response_format type is unavailable now"),
    error(
        400,
        "Invalid schema for response_format 'x': In context=(), 'minimum' is not permitted.",
    ),
    error(422, "response_format.type: Input should be 'text' or 'json_object'"),
    error(400, "This model does not support response format `json_schema`."),
    error(500, "failed to parse grammar"),
]


def make(server, name="m"):
    return Chat(
        name, base_url=server.url, api_key=KEY, max_wait_secs=0.02, temperature=0.5
    )


def answers(model, *schemas):
    async def main():
        try:
            return [(await reply_of(model, HELLO, schema)).text for schema in schemas]
        finally:
            await model.aclose()

    return asyncio.run(main())


def test_an_endpoint_is_told_the_schema_and_only_when_there_is_one(server):
    server.replies('{"a": 1}', "hi", '{"a": 2}')
    assert answers(make(server), SCHEMA, None, SCHEMA | {"required": []}) == [
        '{"a": 1}',
        "hi",
        '{"a": 2}',
    ]
    first, second, third = server.requests
    assert first["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": SCHEMA, "strict": True},
    }
    assert "response_format" not in second
    assert (
        third["response_format"]["json_schema"]["strict"] is False
    )  # it leaves something open
    assert first["temperature"] == 0.5


@pytest.mark.parametrize(
    "refusal", REFUSALS, ids=lambda raw: raw.body["error"]["message"][:40]
)
def test_one_that_refuses_it_is_asked_for_json_from_then_on(server, refusal):
    server.replies(refusal, '{"a": 1}', '{"a": 2}')
    assert answers(make(server), SCHEMA, SCHEMA) == ['{"a": 1}', '{"a": 2}']
    first, second, third = server.requests
    assert first["response_format"]["json_schema"]["strict"]
    if "'minimum' is not permitted" in refusal.body["error"]["message"]:
        assert not second["response_format"]["json_schema"]["strict"]
        assert second["messages"] == HELLO
    else:
        assert second["response_format"] == {"type": "json_object"}
        assert second["messages"][0]["content"].startswith(
            "hello\n\nAnswer with one JSON"
        )
        assert json.dumps(SCHEMA) in second["messages"][0]["content"]
    assert third["response_format"] == second["response_format"]
    assert third["messages"] == second["messages"]
    assert all(request["temperature"] == 0.5 for request in server.requests)


def test_one_that_refuses_json_too_reads_the_schema_in_the_prompt(server):
    server.answer = lambda request: (
        error(400, "Unrecognized request argument supplied: response_format")
        if "response_format" in request
        else '{"a": 1}'
    )
    model = make(server)
    assert answers(model, SCHEMA, None, SCHEMA) == ['{"a": 1}'] * 3
    kinds = [one.get("response_format", {}).get("type") for one in server.requests]
    assert kinds == ["json_schema", "json_object", None, None, None]
    assert json.dumps(SCHEMA) in server.requests[-1]["messages"][0]["content"]
    assert server.requests[-2]["messages"] == HELLO
    assert len(model.changes) == 2


def test_calls_at_the_same_time_find_out_together(server):
    server.answer = lambda request: (
        REFUSALS[0] if "response_format" in request else '{"a": 1}'
    )
    model = make(server)

    async def main():
        try:
            return await asyncio.gather(*(model.reply(HELLO, SCHEMA) for _ in range(8)))
        finally:
            await model.aclose()

    assert [reply.text for reply in asyncio.run(main())] == ['{"a": 1}'] * 8


def test_an_ensemble_passes_it_on_to_those_that_take_it(server):
    server.replies('{"a": 1}', for_ever=True)
    scripted = ScriptedChat(*['{"a": 3}'] * 20)
    both = answers(Ensemble([make(server), scripted], seed=3), *[SCHEMA] * 12)
    assert set(both) == {'{"a": 1}', '{"a": 3}'}
    assert all(
        request["response_format"]["json_schema"]["schema"] == SCHEMA
        for request in server.requests
    )


def test_models_that_know_of_no_schema_are_asked_without(server):
    assert answers(ScriptedChat("hi"), SCHEMA) == ["hi"]


def test_a_run_over_parameters_asks_for_their_schema_and_reads_what_comes(
    server, tmp_path
):
    """The endpoint takes the schema at first, then refuses it and answers with prose."""
    rng = Random(5)

    def answer(request):
        x = SPACE.sample(rng)
        if len(server.requests) <= 2:
            assert request["response_format"]["json_schema"]["schema"] == SPACE.schema()
            return json.dumps(x)
        if "response_format" in request:
            return REFUSALS[0]
        return f"I would try this.\n\n```json\n{json.dumps(x, indent=1)}\n```"

    server.answer = answer
    result = optimize.run(
        "Raise f.",
        "A better x?",
        lambda x: x["lr"] * x["layers"],
        {"lr": 0.1, "layers": 1, "kind": "relu"},
        6,
        make(server),
        False,
        space=SPACE,
        sandbox="inline",
        store=f"sqlite:///{tmp_path}/runs.db",
    )
    assert len(result.trials) == 7
    assert all(trial.scored for trial in result.trials)
    formats = [one.get("response_format", {}).get("type") for one in server.requests]
    assert formats == ["json_schema"] * 3 + ["json_object"] + [None] * 4
    shown = [
        json.loads(line)
        for line in server.requests[-1]["messages"][-1]["content"].splitlines()
        if '"trial"' in line
    ]
    assert [(one["trial"], one["score"]) for one in shown] == [
        (n, result.trials[n].score) for n in range(6)
    ]
