"""Endless answers, answers that grow when read, redirects: bounded in memory, requests and time."""

import asyncio
import json
import subprocess
import sys
import threading
import time
import zlib
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_optimize import optimize
from llm_optimize.errors import ModelRefused, ModelUnavailable
from llm_optimize.llm import Chat, Price
from llm_optimize.llm.answer import read_usage
from llm_optimize.llm.wire import MAX_ANSWER_BYTES
from llm_optimize.records import Budget, Usage
from llm_optimize.store import Store
from server import KEY, Raw, completion

HELLO = [{"role": "user", "content": "hello"}]
MB = 2**20
GIGABYTE = 1024  # pieces of a megabyte
FILLER = b"x" * MB
HEAD = b'{"choices": [{"message": {"content": "'

# The caller is a process of its own, so that its peak memory is that of one call.
CALLER = """
import asyncio, json, resource, sys, time
from llm_optimize.llm import Chat
import openai
def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, begun = peak_mb(), time.monotonic()
secs = float(sys.argv[2])
options = {"api_key": "sk-test-key", "max_wait_secs": 0.02, "deadline_secs": secs}
chat = Chat("m", base_url=sys.argv[1], **options)
try:
    message = asyncio.run(chat.reply([{"role": "user", "content": "hello"}])).text[:80]
except Exception as error:
    message = f"{type(error).__name__}: {error}"
found = {"message": message, "grown_mb": peak_mb() - before, "secs": time.monotonic() - begun}
print(json.dumps(found))
"""


def plain(handler):
    """Send a gigabyte, as its length says beforehand."""
    start(handler, {"Content-Length": str(GIGABYTE * MB)})
    for _ in range(GIGABYTE):
        handler.wfile.write(FILLER)


def chunked(handler, pieces=None, **headers):
    """Send chunks for as long as somebody reads."""
    start(handler, {"Transfer-Encoding": "chunked", **headers})
    for piece in endless() if pieces is None else pieces:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    handler.wfile.write(b"0\r\n\r\n")


def endless():
    while True:
        yield FILLER


def compressed(wbits):
    """Return how to send a gigabyte as a megabyte.

    A block that is flushed refers to nothing before it, so one megabyte is compressed once and sent
    a thousand times. The checksum at the end is wrong; nothing reads that far.
    """
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    head = packer.compress(HEAD) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(FILLER) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = head + block * GIGABYTE + packer.flush()
    encoding = "gzip" if wbits > zlib.MAX_WBITS else "deflate"
    headers = {"Content-Encoding": encoding, "Content-Length": str(len(packed))}

    def send(handler):
        start(handler, headers)
        handler.wfile.write(packed)

    return send


def failing(handler):
    """Send an error whose text has no end, and whose brackets match nothing."""
    start(handler, {"Transfer-Encoding": "chunked"}, status=500)
    for _ in range(GIGABYTE):
        handler.wfile.write(b"%x\r\n%s\r\n" % (MB, b"<" * MB))


def lists(handler):
    """Send sixty megabytes of JSON that take a gigabyte when they are read."""
    body = b'{"choices": [' + b"[]," * (20 * MB) + b"[]]}"
    start(handler, {"Content-Length": str(len(body))})
    handler.wfile.write(body)


def start(handler, headers, status=200):
    handler.send_response_only(status)
    for name, value in {"Content-Type": "application/json", **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()


@contextmanager
def streaming(send):
    """Serve one way to answer; yields the address and the requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            requests.append(dict(self.headers))
            try:
                send(self)
            except OSError:
                self.close_connection = True  # the client has broken off, as it should

        def log_message(self, *_):
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(
        target=httpd.serve_forever, kwargs={"poll_interval": 0.05}
    )
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1", requests
    finally:
        httpd.shutdown()
        httpd.server_close()
        thread.join()


def call(url, deadline_secs=60):
    """Ask from another process; return what it says of the answer, its memory and its time."""
    command = [sys.executable, "-c", CALLER, url, str(deadline_secs)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=True
    )
    return json.loads(done.stdout)


BROKEN_OFF = "more than 64 MB, which was broken off there"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no resource module")
@pytest.mark.parametrize(
    ("send", "requests", "words"),
    [
        (plain, 2, BROKEN_OFF),
        (chunked, 2, BROKEN_OFF),
        (compressed(zlib.MAX_WBITS | 16), 2, BROKEN_OFF),
        (compressed(zlib.MAX_WBITS), 2, BROKEN_OFF),
        (compressed(-zlib.MAX_WBITS), 2, BROKEN_OFF),
        (lists, 3, "more than 100000 values"),
        (failing, 5, "answered 500: <<<<"),
    ],
    ids=["plain", "chunked", "gzip", "zlib", "deflate", "lists", "error"],
)
def test_an_answer_without_end_is_broken_off_at_its_bound(send, requests, words):
    with streaming(send) as (url, seen):
        outcome = call(url)
    assert outcome["message"].startswith("ModelUnavailable: ")
    assert words in outcome["message"]
    assert len(seen) == requests
    assert outcome["grown_mb"] < 4 * MAX_ANSWER_BYTES / MB


def test_a_long_answer_below_the_bound_is_read():
    text = "word " * (2 * MB)
    body = json.dumps(completion(text)).encode()
    pieces = [body[place : place + MB] for place in range(0, len(body), MB)]
    with streaming(lambda handler: chunked(handler, pieces)) as (url, _):
        assert answer(Chat("m", base_url=url, api_key=KEY)).text == text


def test_endless_chunks_of_one_byte_end_at_the_deadline():
    def drip(handler):
        start(handler, {"Transfer-Encoding": "chunked"})
        while True:
            handler.wfile.write(b"1\r\nx\r\n")
            time.sleep(0.01)

    begun = time.monotonic()
    with (
        streaming(drip) as (url, _),
        pytest.raises(ModelUnavailable, match="within 1 s"),
    ):
        answer(Chat("m", base_url=url, api_key=KEY, deadline_secs=1))
    assert time.monotonic() - begun < 10


def answer(model):
    async def main():
        try:
            return await model.reply(HELLO)
        finally:
            await model.aclose()

    return asyncio.run(main())


# Redirects.


def redirect(location, status=307):
    return Raw(status, b"", {"Location": location})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_prompt_is_not_sent_on_to_another_origin(server, status):
    with streaming(lambda handler: None) as (other, seen):
        server.replies(
            redirect(f"{other}/chat/completions?key={KEY}", status), for_ever=True
        )
        with pytest.raises(
            ModelRefused,
            match=r"redirects to another address, http://127\.0\.0\.1:\d+, and",
        ) as caught:
            answer(Chat("m", base_url=server.url, api_key=KEY))
        assert seen == []
    assert len(server.requests) == 1
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "elsewhere",
    ["https://127.0.0.1:{port}/v1", "http://localhost:{port}/v1", "file:///etc/passwd"],
)
def test_scheme_host_and_port_make_an_origin(server, elsewhere):
    port = server.url.rpartition(":")[2].partition("/")[0]
    server.replies(redirect(elsewhere.format(port=port)), for_ever=True)
    with pytest.raises(ModelRefused, match="redirects to another address"):
        answer(Chat("m", base_url=server.url, api_key=KEY))
    assert len(server.requests) == 1


def test_a_redirect_within_the_same_origin_is_followed_with_key_and_prompt(server):
    server.replies(redirect("/v2/chat/completions"), "hi")
    assert answer(Chat("m", base_url=server.url, api_key=KEY)).text == "hi"
    first, second = server.requests
    assert second["path"] == "/v2/chat/completions"
    assert second["messages"] == first["messages"]
    assert second["headers"]["authorization"] == f"Bearer {KEY}"


def test_a_circle_of_redirects_costs_four_requests(server):
    server.replies(redirect("/v1/chat/completions"), for_ever=True)
    with pytest.raises(ModelRefused, match="redirects in a circle"):
        answer(Chat("m", base_url=server.url, api_key=KEY))
    assert len(server.requests) == 4


# Usage.

NUMBERS = st.one_of(
    st.integers(),
    st.integers(min_value=10**399, max_value=10**400),
    st.floats(),
    st.text(max_size=5),
    st.booleans(),
    st.none(),
    st.just([]),
    st.just({"cached_tokens": 5}),
)
DETAILS = st.one_of(
    NUMBERS,
    st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens"]), NUMBERS),
)
REPORTED = st.one_of(
    NUMBERS,
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), NUMBERS
    ),
    st.fixed_dictionaries(
        {"prompt_tokens": NUMBERS, "completion_tokens": NUMBERS},
        optional={
            "prompt_tokens_details": DETAILS,
            "completion_tokens_details": DETAILS,
        },
    ),
)


def is_count(value):
    return (
        not isinstance(value, bool)
        and isinstance(value, int | float)
        and 0 <= value <= 10**8
        and value == int(value)
    )


@settings(deadline=None)
@given(REPORTED)
def test_whatever_an_endpoint_reports_the_usage_is_one_that_can_be_summed(reported):
    usage = read_usage(reported, HELLO, "a reply")
    counts = (
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.cached_tokens,
        usage.reasoning_tokens,
    )
    assert all(type(count) is int and 0 <= count <= 10**8 for count in counts)
    assert usage.cached_tokens <= usage.prompt_tokens
    asked = [
        reported.get(name) if isinstance(reported, dict) else None
        for name in ("prompt_tokens", "completion_tokens")
    ]
    assert usage.estimated == (not all(map(is_count, asked)))
    assert all(
        count == value
        for count, value in zip(counts, asked, strict=False)
        if is_count(value)
    )
    assert sum([usage] * 1000, Usage()).tokens == 1000 * usage.tokens


HOSTILE_NUMBERS = [
    10**399,
    -5,
    1e300,
    0.5,
    "12",
    True,
    None,
    [1],
    {"a": 1},
    2**64,
    10**8 + 1,
]


def test_no_number_of_an_endpoint_hurts_a_run(server, tmp_path):
    count = len(HOSTILE_NUMBERS)
    bodies = [completion(f"```\n{number + 2}\n```") for number in range(count)]
    for body, number in zip(bodies, HOSTILE_NUMBERS, strict=True):
        details = {"cached_tokens": number, "reasoning_tokens": number}
        body["usage"] = dict.fromkeys(
            ("prompt_tokens", "completion_tokens", "total_tokens"), number
        )
        body["usage"] |= {
            "prompt_tokens_details": details,
            "completion_tokens_details": details,
        }
    server.replies(*bodies)
    store = f"{tmp_path}/runs.db"
    chat = Chat("m", base_url=server.url, api_key=KEY, price=Price(1.0, 2.0))
    options = {
        "store": store,
        "name": "amber",
        "sandbox": "inline",
        "budget": Budget(tokens=10**7, usd=100),
    }
    result = optimize.run(
        "Raise it.", "Which is higher?", float, "1", count, chat, False, **options
    )
    assert (result.best_score, result.stop_reason) == (count + 1, "max_steps")
    assert result.usage.calls == count
    assert 0 < result.usage.tokens < 10**6
    assert 0 < result.usage.cost_usd < 10
    assert result.usage.estimated
    with closing(Store(store, create=False)) as opened:
        replies = [call.reply for call in opened.run("amber").calls()]
        assert sum(reply.usage.tokens for reply in replies) == result.usage.tokens
        pytest.importorskip(
            "jinja2", reason='needs the report: pip install "llm_optimize[view]"'
        )
    result.report(str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").stat().st_size > 1000
