"""Wrong addresses, keys and models: each ends soon, with one sentence that says what to change."""

import asyncio
import contextlib
import socket
import sys
import time

import pytest

from llm_optimize.errors import ModelRefused, ModelUnavailable, UsageError
from llm_optimize.llm import Chat
from server import KEY, Raw, error

HTML = "<html><body>please <b>log in</b></body></html>"
NO_MONEY = error(
    429, "You exceeded your current quota, please check your plan", "insufficient_quota"
)


def answer(model):
    async def main():
        try:
            return await model.reply([{"role": "user", "content": "hello"}])
        finally:
            await model.aclose()

    return asyncio.run(main())


@contextlib.contextmanager
def within(secs):
    begun = time.monotonic()
    try:
        yield
    finally:
        assert time.monotonic() - begun < secs


@pytest.fixture
def unused_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (error(401, "bad key"), "look at OPENAI_API_KEY"),
        (error(403, "no"), "choose another model"),
        (error(404, "no such model"), "look at model and OPENAI_BASE_URL"),
        (NO_MONEY, "look at the plan and billing"),
        (Raw(body=HTML), "should the base URL end in /v1"),
    ],
)
def test_what_must_be_changed_is_said_within_five_seconds(server, reply, words):
    server.replies(reply, for_ever=True)
    with pytest.raises(ModelRefused, match=words), within(5):
        answer(Chat("m", base_url=server.url, api_key=KEY))


def test_an_address_where_nobody_is_is_named_within_five_seconds(unused_port):
    for host in (f"127.0.0.1:{unused_port}", "no-such-host.invalid"):
        with (
            pytest.raises(
                ModelRefused,
                match=f"no connection to http://{host}/v1.*is the address right",
            ),
            within(5),
        ):
            answer(Chat("m", base_url=f"http://{host}/v1", api_key=KEY))


@pytest.mark.skipif(
    sys.platform != "linux", reason="others refuse what does not fit into the queue"
)
def test_an_address_that_takes_no_connection_is_named_and_nothing_is_billed():
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        contextlib.ExitStack() as clients,
    ):
        for _ in range(3):  # more than wait in its queue
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        address = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        with (
            pytest.raises(
                ModelRefused, match=r"timed out.*is the address right"
            ) as caught,
            within(5),
        ):
            answer(Chat("m", base_url=address, deadline_secs=3))
        assert caught.value.uncertain_calls == 0


def test_an_endpoint_that_goes_after_it_has_answered_may_come_back(server):
    server.replies("hi")
    model = Chat("m", base_url=server.url, api_key=KEY, max_wait_secs=0.02)
    assert answer(model).text == "hi"
    server.stop()
    with pytest.raises(ModelUnavailable, match="in 5 attempts: no connection"):
        answer(model)


@pytest.mark.parametrize(
    "url",
    ["localhost:8000/v1", "ftp://x/v1", "http://", "http://[bad", "http://x:port/v1"],
)
def test_an_address_that_is_none_is_refused_at_once(url):
    with pytest.raises(UsageError, match="give the full URL"):
        Chat("m", base_url=url)


def test_a_key_with_a_line_end_is_taken_and_one_that_no_header_carries_is_not(server):
    server.replies("hi")
    assert answer(Chat("m", base_url=server.url, api_key=KEY + "\n")).text == "hi"
    assert server.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    with pytest.raises(UsageError, match="copy it again") as caught:
        Chat("m", api_key="sk-töst")
    assert "töst" not in str(caught.value)
