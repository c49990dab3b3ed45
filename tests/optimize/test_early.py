"""Before money and time are spent: a wrong key, address, name or size shows early."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.errors import UsageError
from llm_optimize.llm import Chat
from llm_optimize.records import Noticed
from llm_optimize.store import Store
from server import KEY, Raw, error
from simulated import block

SLOW_SECS = 30.0  # of an f; each test ends far earlier


def slow(x):
    time.sleep(SLOW_SECS)
    return float(x)


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs.db")


@pytest.fixture
def go(url, server):
    """Return a function that makes a run with the scripted server, and its notices."""

    def run(func=slow, **options):
        events = []
        model = Chat("gpt", base_url=server.url, api_key=KEY)
        defaults = {"model": model, "max_steps": 1, "store": url, "name": "amber"}
        result = optimize.run(
            "t", "q", func, **{"x0": "1", **defaults, **options}, verbose=False,
            callbacks=[events.append],
        )  # fmt: skip
        return result, [event.text for event in events if isinstance(event, Noticed)]

    return run


def waits_for(event):
    async def f(x):
        while not event():
            await __import__("asyncio").sleep(0.01)
        return float(x)

    return f


def test_a_wrong_key_costs_no_f(go, server, url):
    server.models = error(401, "Incorrect API key provided")
    begun = time.monotonic()
    result, _ = go()
    assert time.monotonic() - begun < SLOW_SECS / 2
    assert result.stop_reason.startswith("error: ")
    assert "answered 401: the key is wrong or has expired" in result.stop_reason
    assert KEY not in result.stop_reason
    assert (result.trials, server.requests, result.usage.calls) == ((), [], 0)
    with closing(Store(url)) as store:
        assert [step.number for step in store.run("amber").pending()] == [0]


def test_the_scoring_that_is_given_up_is_killed(go, server, tmp_path):
    server.models = error(401, "Incorrect API key provided")
    pid_file = tmp_path / "pid"

    def f(x):
        pid_file.write_text(str(os.getpid()))
        time.sleep(SLOW_SECS)
        return 1.0

    server.models.hold = threading.Event()
    watcher = threading.Thread(
        target=_set_when, args=(pid_file.exists, server.models.hold)
    )
    watcher.start()
    go(f, limits={"writable": [str(tmp_path)]})
    watcher.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def _set_when(is_so, event):
    deadline = time.monotonic() + SLOW_SECS
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.01)
    event.set()


def test_an_address_where_nothing_listens_costs_no_f(go):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = Chat("gpt", base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY)
    begun = time.monotonic()
    result, _ = go(model=model)
    assert time.monotonic() - begun < SLOW_SECS / 2
    assert "no connection to" in result.stop_reason
    assert "is the address right?" in result.stop_reason


@pytest.mark.parametrize(
    "answer",
    [
        error(404, "no such path"),
        error(403, "not for you"),
        error(405, "GET is not allowed"),
        error(401, "You have insufficient permissions: Missing scopes: api.model.read"),
        error(500, "oh"),
        Raw(200, b"<html>a page</html>"),
        Raw(200, {"data": [{"name": 1}]}),
        Raw(drop=True),
    ],
)
def test_no_other_answer_ends_a_run(go, server, answer):
    server.models = answer
    server.replies(block(2))
    result, notices = go(waits_for(lambda: server.listings), sandbox="inline")
    assert (result.stop_reason, result.best_score, notices) == ("max_steps", 2.0, [])
    assert result.usage.calls == 1
    assert server.listings[0]["path"] == "/v1/models"
    assert server.listings[0]["headers"]["authorization"] == f"Bearer {KEY}"


def test_silence_holds_nothing_up(go, server):
    server.models = Raw(hold=threading.Event())
    server.replies(block(2))
    begun = time.monotonic()
    result, _ = go(waits_for(lambda: server.listings), sandbox="inline")
    assert (result.stop_reason, result.best_score) == ("max_steps", 2.0)
    assert time.monotonic() - begun < 4  # the deadline of the check is 5 s
    server.models.hold.set()


def test_a_model_that_is_not_listed_is_a_notice_with_the_nearest(go, server):
    server.models = Raw(200, {"data": [{"id": "gpt-5"}, {"id": "other"}]})
    server.replies(block(2))
    model = Chat("gpt-6", base_url=server.url, api_key=KEY)
    seen = []
    result, notices = go(
        waits_for(lambda: time.monotonic() > seen[0] + 0.3 if seen else
                  server.listings and seen.append(time.monotonic())),
        sandbox="inline", model=model,
    )  # fmt: skip
    assert result.stop_reason == "max_steps"
    assert notices == [
        "the endpoint does not list the model 'gpt-6': did you mean 'gpt-5'?"
    ]


@pytest.mark.parametrize("listed", ["gpt", "models/gpt", "gpt:latest"])
def test_a_model_that_is_listed_in_another_way_is_no_notice(go, server, listed):
    server.models = Raw(200, {"data": [{"id": listed}]})
    server.replies(block(2))
    _, notices = go(waits_for(lambda: server.listings), sandbox="inline")
    assert notices == []


def test_nothing_is_asked_where_no_call_waits_for_x0(go, server, url):
    server.models = error(401, "wrong")
    server.replies(block(2), block(3), block(4))

    def instant(x):
        return float(x)

    assert go(instant, sandbox="inline")[0].stop_reason == "max_steps"  # a quick f
    assert (
        go(waits_for(lambda: True), sandbox="inline", name="b", x0=None)[0].best_score
        == 3.0
    )
    later = time.monotonic() + 0.5
    result, _ = go(waits_for(lambda: time.monotonic() > later), sandbox="inline",
                   name="c", max_steps=0)  # fmt: skip
    assert result.best_score == 1.0
    later = time.monotonic() + 0.5
    go(
        waits_for(lambda: time.monotonic() > later),
        sandbox="inline",
        name="d",
        model="mutation",
    )
    assert server.listings == []


def test_an_unknown_price_with_a_cap_of_dollars_is_refused_before_f_is_called(go, url):
    called = []
    with pytest.raises(
        UsageError, match="usd is 1, but the price of the model 'gpt' is unknown"
    ):
        go(called.append, sandbox="inline", budget={"usd": 1})
    assert called == []


def test_a_long_x0_is_a_notice_and_an_endless_one_is_refused(go, server, url, capsys):
    server.replies(block(2))
    long = "1" + " " * 5_000

    def instant(x):
        return float(x)

    _, notices = go(instant, sandbox="inline", x0=long, max_prompt_tokens=1_000)
    assert notices[0].startswith(
        "x0 has about 1,250 tokens and is sent whole with each call"
    )
    with pytest.raises(
        UsageError, match="x0 has about 200,000 tokens, more than 10 times"
    ):
        go(instant, sandbox="inline", x0="x" * 800_000, name="b")
    with closing(Store(url)) as store:
        assert store.names() == ["amber"]
    # Without a model it costs nothing, and nothing is said.
    assert go("".__len__ and len, sandbox="inline", x0="x = 1\n" * 3_000, name="c",
              model="mutation")[1] == []  # fmt: skip


def test_a_notice_is_shown_in_the_terminal(server, url, capsys):
    server.replies(block(2))
    optimize.run(
        "t", "q", float, "1" + " " * 5_000, 1, Chat("gpt", base_url=server.url, api_key=KEY),
        store=url, sandbox="inline", max_prompt_tokens=1_000,
    )  # fmt: skip
    assert "note: x0 has about 1,250 tokens" in capsys.readouterr().out
