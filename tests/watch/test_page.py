"""The server of the page over HTTP: what it answers, what it refuses, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from llm_optimize.cli import main
from llm_optimize.errors import UsageError
from llm_optimize.records import Plan
from llm_optimize.store import Store
from llm_optimize.testing import changed
from llm_optimize.watch.page import Page
from pages import CODE, HOSTILE, TASK, fill, hostile_run, scores_of, write

ROOT = Path(__file__).parents[2]
TOKEN = "x-llm-optimize-token"


@pytest.fixture
def store(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as opened:
        yield opened


@contextmanager
def serving(store, **options):
    """Yield a page that answers, and a client of it without a token."""
    page = Page(store, port=0, **options)
    thread = threading.Thread(target=page.run)
    thread.start()
    try:
        with httpx.Client(
            base_url=page.address.replace("0.0.0.0", "127.0.0.1"), timeout=10
        ) as client:
            yield page, client
    finally:
        page.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def served(store):
    with serving(store) as pair:
        yield pair


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Yield a page of one run, its client and the run: for requests that must change nothing."""
    with closing(Store(str(tmp_path_factory.mktemp("quiet") / "runs.db"))) as store:
        run = store.create_run("amber", {"task": TASK})
        fill(run, [0.5])
        with serving(store) as (page, client):
            yield page, client, run


def token_of(page):
    return page.url.partition("token=")[2]


def steer(client, token, body, run="amber", **headers):
    return client.post(
        f"/api/steer?run={run}", json=body, headers={TOKEN: token, **headers}
    )


class Stream:
    """The events of a live stream."""

    def __init__(self, response):
        self.lines = response.iter_lines()

    def next(self):
        """Return the data of the next event."""
        return json.loads(
            next(line[6:] for line in self.lines if line.startswith("data: "))
        )


# What is answered.


def test_runs_facts_and_trials(store, served):
    run = store.create_run("a/b c", {"task": TASK, "model": "small"})
    fill(run, [0.1, 0.5, None])
    run.plan(3, Plan(run.trials()[1]))
    _, client = served
    (listed,) = client.get("/api/runs").json()["runs"]
    assert (listed["name"], listed["trials"], listed["best"], listed["model"]) == (
        "a/b c",
        3,
        0.5,
        "small",
    )
    facts = client.get("/api/facts", params={"run": "a/b c"}).json()
    assert facts["columns"]["score"] == [0.1, 0.5, None]
    assert facts["state"]["begun"] == [{"number": 3, "parent": 1, "source": ""}]
    assert facts["cursor"] == "3.0"
    detail = client.get("/api/trial", params={"run": "a/b c", "number": 1}).json()
    assert detail["parts"][0]["text"] == CODE.replace("{number}", "1")
    assert detail["calls"][0]["reply"]["text"].startswith("Better")
    assert any(sign == "~" for sign, *_ in detail["change"][""])
    assert client.get(
        "/api/search", params={"run": "a/b c", "q": "AREA(1)"}
    ).json() == [1]
    assert [
        step["number"] for step in client.get("/api/story?run=a/b c").json()["steps"]
    ] == [0, 1]
    assert client.get("/api/parameters?run=a/b c").json() is None
    assert client.get("/api/curves?run=a/b c").json()["runs"][0]["curve"]["best"] == [
        0.1,
        0.5,
        0.5,
    ]


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("facts?run=ambre", 404, "did you mean 'amber'"),
        ("facts", 404, "no run named ''"),
        ("trial?run=amber&number=x", 400, "'x' is not the number"),
        ("trial?run=amber&number=9", 400, "no finished trial 9"),
        ("curves", 400, "choose 1 to 60"),
        ("curves?run=nobody", 404, "no run named 'nobody'"),
    ],
)
def test_what_is_not_there_is_a_sentence(quiet, path, status, said):
    answer = quiet[1].get(f"/api/{path}")
    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_hostile_texts_go_through_json_and_into_no_markup(store, served):
    hostile_run(store, "amber")
    _, client = served
    assert (
        client.get("/api/trial?run=amber&number=16").json()["parts"][0]["text"]
        == HOSTILE[16]
    )
    for path in (
        "/",
        "/run/amber",
        "/run/" + HOSTILE[0].replace("/", "%2F"),
        "/compare?run=" + HOSTILE[0],
    ):
        shell = client.get(path).text
        assert "pwned" not in shell
        assert "Raise" not in shell


# A live run.


def test_a_stream_brings_what_is_new_and_begins_where_it_is_told(store, served):
    run = store.create_run("amber", {"task": TASK})
    trials = fill(run, [0.1, 0.2])
    _, client = served
    with client.stream("GET", "/api/live?run=amber&after=1.0") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        stream = Stream(response)
        first = stream.next()
        assert (first["columns"]["number"], first["cursor"]) == ([1], "2.0")
        write(run, 2, 0.7, trials[1])
        while not (news := stream.next())["columns"]["number"]:
            assert {begun["number"] for begun in news["state"]["begun"]} <= {2}
        assert news["columns"]["score"] == [0.7]
        run.score_again(changed(trials[0], score=0.3, scorings=4), 3)
        assert [again["score"] for again in stream.next()["again"]] == [0.3]
        store.steer("amber", "hint", "Smaller.")
        assert stream.next()["state"]["steers"][0]["text"] == "Smaller."
        run.end("max_steps")
        assert stream.next()["state"]["stop_reason"] == "max_steps"
    assert client.get("/api/facts?run=amber").json()["columns"]["score"] == [
        0.3,
        0.2,
        0.7,
    ]


def test_a_stream_that_was_cut_goes_on_after_the_last_event(store, served):
    fill(store.create_run("amber", {"task": TASK}), [0.1, 0.2, 0.3])
    with served[1].stream(
        "GET", "/api/live?run=amber&after=0.0", headers={"last-event-id": "2.0"}
    ) as response:
        assert Stream(response).next()["columns"]["number"] == [2]


def test_trials_that_finish_out_of_their_order_are_told_once_each(store, served):
    run = store.create_run("amber", {"task": TASK})
    (first,) = fill(run, [0.1])
    _, client = served
    for number in (1, 2, 3):
        run.plan(number, Plan(first))
    with client.stream("GET", "/api/live?run=amber&after=1.0") as response:
        stream = Stream(response)
        assert [begun["number"] for begun in stream.next()["state"]["begun"]] == [
            1,
            2,
            3,
        ]
        for order, number in enumerate((3, 1, 2), start=2):
            run.finish(changed(first, number=number), order)
        told = []
        while len(told) < 3:
            told += stream.next()["columns"]["number"]
    assert told == [3, 1, 2]


def test_what_is_known_is_what_the_store_says_after_any_course(store):
    """Followed from the beginning or read at once: the same."""
    run = store.create_run("amber", {"task": TASK})
    with serving(store) as (_, client):
        cursors = []
        for begin in range(0, 30, 10):
            fill(run, scores_of(10, begin), first=begin)
            cursors.append(client.get("/api/facts?run=amber").json()["cursor"])
        grown = client.get("/api/facts?run=amber").json()["columns"]
    assert cursors == ["10.0", "20.0", "30.0"]
    with serving(store) as (_, client):
        assert client.get("/api/facts?run=amber").json()["columns"] == grown


# Steering.


def test_whoever_has_the_token_steers(store, served):
    run = store.create_run("amber", {"task": TASK})
    page, client = served
    assert (
        steer(client, token_of(page), {"kind": "hint", "text": HOSTILE[0]}).status_code
        == 200
    )
    assert steer(client, token_of(page), {"kind": "pause"}).status_code == 200
    assert [(one.kind, one.text) for one in run.steers()] == [
        ("hint", HOSTILE[0]),
        ("pause", ""),
    ]


@pytest.mark.parametrize("given", ["", "wrong", "é", "x" * 32])
def test_without_the_token_nothing_changes(quiet, given):
    _, client, run = quiet
    answer = client.post(
        "/api/steer?run=amber", json={"kind": "stop"}, headers={TOKEN: given.encode()}
    )
    assert answer.status_code == 403
    assert "open the address that llm-optimize view printed" in answer.json()["error"]
    assert run.steers() == []


def test_a_token_in_the_address_of_a_post_does_not_count(quiet):
    page, client, _ = quiet
    assert (
        client.post(
            f"/api/steer?run=amber&token={token_of(page)}", json={"kind": "stop"}
        ).status_code
        == 403
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"kind": "stopp"}', "did you mean 'stop'"),
        ('{"kind": "hint", "text": " "}', "the hint is empty"),
        ('{"kind": 1}', "both texts"),
        ("[]", "both texts"),
        ("{", "not JSON"),
        ('{"kind": "hint", "text": "%s"}' % ("x" * 70_000), "longer than 64000 bytes"),
    ],
)
def test_a_wish_that_cannot_be_is_a_sentence(quiet, body, said):
    page, client, run = quiet
    headers = {TOKEN: token_of(page), "content-type": "application/json"}
    answer = client.post("/api/steer?run=amber", content=body, headers=headers)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert run.steers() == []


def test_a_run_that_ended_is_not_steered(store, served):
    store.create_run("amber", {"task": TASK}).end("max_steps")
    page, client = served
    assert (
        "has finished (max_steps): resume it first"
        in steer(client, token_of(page), {"kind": "stop"}).json()["error"]
    )


# Who may ask.


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:80",
        "127.0.0.1.evil.example",
        "",
        "localhost.evil",
        "[::2]",
    ],
)
def test_another_name_of_this_machine_is_not_answered(quiet, host):
    answer = quiet[1].get("/api/runs", headers={"host": host})
    assert answer.status_code == 421
    assert "runs" not in answer.json()


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "127.0.0.1:99", "[::1]:8765", "127.9.9.9"]
)
def test_its_own_names_are(quiet, host):
    assert quiet[1].get("/api/runs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_page_of_another_site_may_neither_read_nor_write(quiet, headers):
    page, client, run = quiet
    assert client.get("/api/runs", headers=headers).status_code == 403
    assert steer(client, token_of(page), {"kind": "stop"}, **headers).status_code == 403
    assert run.steers() == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_are_refused(quiet, method):
    assert quiet[1].request(method, "/api/runs").status_code == 405


@pytest.mark.parametrize(
    "path", ["/", "/api/runs", "/nothing", "/static/nothing.js", "/api/facts?run=x"]
)
def test_every_answer_carries_the_policy(quiet, path):
    headers = quiet[1].get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith(
        "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-"
    )
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_files_outside_are_not_served(quiet):
    for path in (
        "/static/../_app.py",
        "/static/%2e%2e%2f_app.py",
        "/static/",
        "/static/base.css",
    ):
        assert quiet[1].get(path).status_code == 404


def test_where_others_reach_it_reading_needs_the_token(store):
    store.create_run("amber", {"task": TASK})
    with serving(store, host="0.0.0.0") as (page, client):
        assert client.get("/api/runs").status_code == 403
        assert client.get("/").status_code == 200, "the shell holds no run"
        assert (
            client.get("/api/runs", params={"token": token_of(page)}).status_code == 200
        )
        assert (
            client.get(
                "/api/runs", headers={TOKEN: token_of(page), "host": "192.0.2.7:1"}
            ).status_code
            == 200
        )
        assert (
            client.get(
                "/api/runs", headers={TOKEN: token_of(page), "host": "evil.example"}
            ).status_code
            == 421
        )


# How it begins and ends.


def test_a_port_in_use_and_one_that_is_none_are_sentences(store):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError,
            match=rf"cannot listen at port {port} of 127\.0\.0\.1 .*choose another --port",
        ):
            Page(store, port=port)
    with pytest.raises(UsageError, match="99999 is not a port"):
        Page(store, port=99999)
    with pytest.raises(UsageError, match="cannot listen"):
        Page(store, host="203.0.113.9", port=0)


def test_an_address_of_the_newer_kind_stands_in_brackets(store):
    try:
        page = Page(store, host="::1", port=0)
    except UsageError as error:
        pytest.skip(str(error))
    thread = threading.Thread(target=page.run)
    thread.start()
    try:
        assert re.match(r"http://\[::1\]:\d+/\?token=", page.url)
        assert httpx.get(f"{page.address}api/runs").json()["runs"] == []
    finally:
        page.stop()
        thread.join(10)


def test_a_missing_store_is_a_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["view"])
    assert left.value.code == 2
    assert "there is no store runs.db: start a run first" in capsys.readouterr().err


@pytest.mark.skipif(
    os.name == "nt", reason="Ctrl-C cannot be sent to one process there"
)
def test_ctrl_c_ends_it_at_once_and_cleanly_though_somebody_watches(store, tmp_path):
    fill(store.create_run("amber", {"task": TASK}), [0.5])
    command = [
        sys.executable,
        "-u",
        "-m",
        "llm_optimize",
        "view",
        "--store",
        "runs.db",
        "--port",
        "0",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True
    ) as process:
        url = re.search(r"http://\S+", process.stdout.readline())[0]
        with httpx.stream(
            "GET", url.replace("/?", "/api/live?run=amber&"), timeout=20
        ) as response:
            assert Stream(response).next()["columns"]["score"] == [0.5]
            begun = time.monotonic()
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
            assert time.monotonic() - begun < 5
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1] == "ended"
