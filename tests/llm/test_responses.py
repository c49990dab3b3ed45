"""The Responses API: asked where an endpoint has nothing else, or where it is chosen."""

import pytest
from test_negotiation import USER, answer, make

from llm_optimize.errors import ModelRefused
from server import Raw, error


def reply_there(text="hi", **changes):
    item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
    usage = {"input_tokens": 11, "output_tokens": 7}
    return {
        "object": "response",
        "status": "completed",
        "output": [item],
        "usage": usage,
        **changes,
    }


@pytest.mark.parametrize(
    "refusal",
    [
        error(
            404,
            "This model is only supported in v1/responses",
        ),
        error(
            400,
            "The chatCompletion operation does not work with the specified model, m.",
            "OperationNotSupported",
        ),
        error(
            404,
            "This is not a chat model. Did you mean to use v1/completions?",
        ),
        Raw(404, {"detail": "Not Found"}),
        Raw(405, {"detail": "Method Not Allowed"}),
    ],
    ids=["openai", "azure", "no chat model", "no such path", "no such method"],
)
def test_an_endpoint_without_chat_completions_is_asked_by_the_other_api(
    server, refusal
):
    server.replies(refusal, reply_there(), reply_there("again"))
    model = make(server, max_tokens=90, reasoning_effort="low", temperature=0.5)
    assert [answer(model).text, answer(model).text] == ["hi", "again"]
    paths = [request["path"] for request in server.requests]
    assert paths == ["/v1/chat/completions", "/v1/responses", "/v1/responses"]
    last = server.requests[-1]
    assert last["max_output_tokens"] == 90
    assert last["reasoning"] == {"effort": "low"}
    assert last["temperature"] == 0.5
    assert (last["instructions"], last["input"]) == ("Be brief.", [USER])
    assert "messages" not in last


def test_where_neither_is_there_the_first_error_counts_and_is_not_sought_again(server):
    server.answer = lambda request: Raw(404, {"detail": "Not Found"})
    model = make(server)
    for requests in (2, 3):
        with pytest.raises(
            ModelRefused, match="there is no model 'm', or the base URL"
        ):
            answer(model)
        assert len(server.requests) == requests
    assert model.changes == ()


def test_an_api_that_was_chosen_is_not_changed(server):
    server.replies(reply_there())
    assert answer(make(server, api="responses")).text == "hi"
    assert server.requests[0]["path"] == "/v1/responses"
    server.replies(error(404, "This model is only supported in v1/responses"))
    with pytest.raises(ModelRefused, match="only supported in v1/responses"):
        answer(make(server, api="chat"))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("changes", "text", "words"),
    [
        (
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
            },
            "hi",
            "cut off at the token limit",
        ),
        (
            {
                "status": "incomplete",
                "incomplete_details": {"reason": "content_filter"},
            },
            "hi",
            "withheld",
        ),
        (
            {
                "output": [
                    {
                        "type": "message",
                        "content": [{"type": "refusal", "refusal": "No."}],
                    }
                ]
            },
            "No.",
            "withheld",
        ),
        ({"output": []}, "", "empty"),
        (
            {
                "output": [
                    {"type": "reasoning", "summary": []},
                    5,
                    {"content": [None, {"text": 1}]},
                ]
            },
            "",
            "empty",
        ),
    ],
)
def test_an_answer_there_that_is_not_whole_says_so(server, changes, text, words):
    server.replies(reply_there(**changes))
    reply = answer(make(server, api="responses"))
    assert reply.text == text
    assert words in reply.incomplete


def test_an_answer_there_that_failed_is_a_fault(server):
    failed = {"status": "failed", "error": {"code": "server_error", "message": "oops"}}
    server.replies(reply_there(**failed, output=[]), reply_there())
    assert answer(make(server, api="responses")).text == "hi"
    server.replies(reply_there(usage=None))
    assert answer(make(server, api="responses")).usage.estimated


def test_a_reply_is_cut_at_stop_where_the_endpoint_does_not(server):
    server.replies(reply_there("one END two"))
    assert answer(make(server, api="responses", stop="END")).text == "one "
    server.replies(error(400, "Unsupported parameter: 'stop'"), "one END two")
    assert answer(make(server, stop=["END", "---"])).text == "one "
