"""The page under attack: it answers every request with a sentence and a status below 500."""

import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_optimize.store import Store
from pages import TASK, fill

ROOT = Path(__file__).parents[2]
TOKEN = "x-llm-optimize-token"
APIS = [
    "runs",
    "facts",
    "trial",
    "search",
    "story",
    "parameters",
    "curves",
    "live",
    "steer",
    "nothing",
]
HUGE = [
    "9" * 18,
    "9" * 19,
    "9" * 30,
    "9" * 5000,
    "-1",
    "1e9",
    "0x1",
    "٣" * 30,
    "²",
    " 1",
    "1.5",
    "",
    "\0",
]
TEXTS = [
    *HUGE,
    "amber",
    "\ud7ff\u202e",
    "a" * 3000,
    "../..",
    "%",
    "{}",
    "'; drop table run; --",
    "amber\0",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Yield the address and token of a page in its own process, and a function for its log."""
    folder = tmp_path_factory.mktemp("attacked")
    with closing(Store(folder / "runs.db")) as store:
        fill(store.create_run("amber", {"task": TASK}), [0.5, 0.7])
        with serving(folder) as found:
            yield found


class serving:
    """A page in a process of its own, perhaps with few files."""

    def __init__(self, folder, files=None):
        limit = f"ulimit -n {files}; " if files else ""
        line = f'{limit}exec "$0" -u -m llm_optimize view --store runs.db --port 0'
        self.log = folder / "log"
        with self.log.open("w") as log:
            env = {**os.environ, "PYTHONPATH": str(ROOT)}
            self.process = subprocess.Popen(
                ["sh", "-c", line, sys.executable],
                cwd=folder,
                env=env,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self):
        url = re.search(r"http://\S+", self.process.stdout.readline())[0]
        self.address, _, self.token = url.partition("?token=")
        self.port = int(self.address.rsplit(":", 1)[1].strip("/"))
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=20)

    def cpu_secs(self):
        fields = (
            Path(f"/proc/{self.process.pid}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()
        )
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_of(served, method, path, query, body=None, headers=()):
    """Return the status of an answer, and check that it is a sentence; a stream is not read."""
    known = {TOKEN: served.token, "content-type": "application/json", **dict(headers)}
    with (
        httpx.Client(base_url=served.address, timeout=20) as client,
        client.stream(
            method, f"{path}?{urlencode(query)}", content=body, headers=known
        ) as answer,
    ):
        if (
            400 <= answer.status_code < 500
            and path.startswith("/api/")
            and method != "HEAD"
        ):
            said = answer.read().decode()
            assert (
                said in ("Not Found", "Method Not Allowed") or json.loads(said)["error"]
            )
        return answer.status_code


@pytest.mark.parametrize("number", HUGE)
def test_a_number_that_no_trial_has_is_a_sentence(served, number):
    query = {"run": "amber", "number": number}
    assert status_of(served, "GET", "/api/trial", query) == 400


@pytest.mark.parametrize(
    "cursor",
    ["9" * 5000, f"{'9' * 5000}.{'9' * 5000}", "1." + "9" * 30, "\0.1", "٣.٣", "-1.-1"],
)
def test_a_cursor_that_is_none_begins_anew(served, cursor):
    assert (
        status_of(served, "GET", "/api/live", {"run": "amber", "after": cursor}) == 200
    )


DEEP = [
    "[" * 60_000,
    '{"kind":' * 7000,
    "[" * 30_000 + "]" * 30_000,
    '{"kind": ' + "[" * 20_000 + "]" * 20_000 + "}",
]
ODD = [
    "",
    "\xff",
    "null",
    "1" * 60_000,
    '{"kind": "hint", "text": null}',
    "NaN",
    '"' + "\\u0000" * 9 + '"',
    "\0",
]


@pytest.mark.parametrize("body", [*DEEP, *ODD])
def test_a_wish_of_any_shape_is_a_sentence(served, body):
    assert (
        status_of(
            served, "POST", "/api/steer", {"run": "amber"}, body.encode("latin-1")
        )
        == 400
    )


@pytest.mark.parametrize(
    "text", ["\\u0000", "\\ud800", "\\ud83d\\ude00", "\\u202e" * 100]
)
def test_a_hint_of_odd_letters_is_stored(served, text):
    body = b'{"kind": "hint", "text": "see %s"}' % text.encode()
    assert status_of(served, "POST", "/api/steer", {"run": "amber"}, body) == 200
    assert status_of(served, "GET", "/api/facts", {"run": "amber"}) == 200


queries = st.dictionaries(
    st.sampled_from(["run", "number", "after", "q", "token"]),
    st.sampled_from(TEXTS) | st.text(),
)
bodies = (
    st.none()
    | st.binary(max_size=200)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=9),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    ).map(lambda value: json.dumps(value).encode())
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "BREW"]),
    st.sampled_from(APIS),
    queries,
    bodies,
)
def test_no_request_is_a_failure_of_the_server(served, method, api, query, body):
    assert status_of(served, method, f"/api/{api}", query, body) < 500


RAW = [
    b"GET /run/" + b"a" * 60_000 + b" HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /api/facts?run=%ED%A0%80%00%FF HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /static/%00 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n",
    b"GET /run/%2e%2e/%00 HTTP/1.1\r\nhost: [::\r\n\r\n",
    b"GET /api/runs HTTP/1.1\r\nhost: \xff\xfe\r\norigin: \xff\r\n\r\n",
    b"POST /api/steer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: -1\r\n\r\n",
    b"POST /api/steer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: "
    + b"9" * 5000
    + b"\r\n\r\n",
    b"\0" * 1000 + b"\r\n\r\n",
]


@pytest.mark.parametrize("raw", RAW)
def test_raw_bytes_are_answered_below_500(served, raw):
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert not answer.startswith(b"HTTP/1.1 5")


def test_who_goes_away_in_the_midst_of_a_request_leaves_no_trace(served):
    head = f"POST /api/steer?run=amber HTTP/1.1\r\nhost: 127.0.0.1\r\n{TOKEN}: {served.token}\r\n"
    for _ in range(5):
        with socket.create_connection(
            ("127.0.0.1", served.port), timeout=10
        ) as connection:
            connection.sendall(
                f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{{".encode()
            )
    assert status_of(served, "GET", "/api/runs", {}) == 200


def test_nothing_of_all_this_was_logged(served):
    assert set(served.log.read_text().splitlines()) <= {
        "Invalid HTTP request received."
    }


# Too many at a time.


@pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="reads the processor time from /proc"
)
def test_more_watchers_than_files_are_told_and_the_others_are_served(tmp_path):
    with closing(Store(tmp_path / "runs.db")) as store:
        fill(store.create_run("amber", {"task": TASK}), [0.5, 0.7])
    with serving(tmp_path, files=256) as served, ExitStack() as stack:
        answers = []
        for _ in range(300):
            connection = stack.enter_context(
                socket.create_connection(("127.0.0.1", served.port), timeout=20)
            )
            connection.sendall(
                b"GET /api/live?run=amber HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"
            )
            answers.append(connection)
        heads = [connection.recv(500) for connection in answers]
        streams = sum(head.startswith(b"HTTP/1.1 200") for head in heads)
        refused = [head for head in heads if head.startswith(b"HTTP/1.1 503")]
        assert (streams, len(refused)) == (72, 228), {head[:40] for head in heads}
        assert all(b"retry-after: 10" in head for head in refused)
        assert status_of(served, "GET", "/api/runs", {}) == 200
        before, begun = served.cpu_secs(), time.monotonic()
        time.sleep(2)
        assert served.cpu_secs() - before < 0.6 * (time.monotonic() - begun)
        for connection in answers[:150]:
            connection.close()
        deadline = time.monotonic() + 20
        while status_of(served, "GET", "/api/live", {"run": "amber"}) != 200:
            assert time.monotonic() < deadline
    assert "Traceback" not in served.log.read_text()


def test_silent_connections_are_bounded_too(tmp_path):
    Store(tmp_path / "runs.db").close()
    with serving(tmp_path, files=128) as served, ExitStack() as stack:
        silent = [
            stack.enter_context(
                socket.create_connection(("127.0.0.1", served.port), timeout=20)
            )
            for _ in range(150)
        ]
        assert silent[-1].recv(500).startswith(b"HTTP/1.1 503")
        assert served.process.poll() is None
        for connection in silent:
            connection.close()
        deadline = time.monotonic() + 20
        while status_of(served, "GET", "/api/runs", {}) != 200:
            assert time.monotonic() < deadline
    assert served.log.read_text() == ""
