"""Each benchmark at a tiny size: it ends, and measures what it names; the endpoint."""

import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks import engine, prompt_cache, sandbox, store
from benchmarks.bars import Bar, measure, report, zero
from benchmarks.server import start_server

ROOT = Path(__file__).parents[2]
linux = pytest.mark.skipif(
    sys.platform != "linux", reason="processes are counted as Linux shows them"
)


# The table.


def test_a_bar_knows_whether_it_is_held():
    assert [Bar("a", value, 2).verdict for value in (2, 2.1, None)] == [
        "held",
        "missed",
        "skipped",
    ]
    assert [Bar("a", value, 2, at_least=True).verdict for value in (2, 1.9)] == [
        "held",
        "missed",
    ]
    assert [zero("a", count).verdict for count in (0, 1)] == ["held", "missed"]


def test_a_missed_bar_is_an_exit_code_and_a_line(tmp_path, capsys):
    held, missed = (
        Bar("quick", 1.5, 2, "ms", note="why"),
        Bar("many", 1, 2, at_least=True),
    )
    assert report([held, Bar("odd", None, 0, note="not here")]) == 0
    assert report([held, missed], str(tmp_path / "bars.json")) == 1
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "quick  <= 2 ms  1.5 ms    held    why",
        "many   >= 2     1         missed",
    ]
    assert [
        bar["verdict"] for bar in json.loads((tmp_path / "bars.json").read_text())
    ] == ["held", "missed"]


def test_only_known_benchmarks_are_measured(capsys):
    assert measure(
        {"a": lambda: [zero("one", 0)], "b": lambda: [zero("two", 0)]}, ["b"]
    ) == [zero("two", 0)]
    with pytest.raises(SystemExit, match="no benchmark is named c"):
        measure({"a": list}, ["c"])


# The endpoint.


class Client:
    """One connection to an endpoint, without any help of a library's retries."""

    def __init__(self, server):
        self.connection = http.client.HTTPConnection(
            urlsplit(server.base_url).netloc, timeout=5
        )

    def ask(self, words="hello"):
        """Return status, headers, and body."""
        request = {"model": "m", "messages": [{"role": "user", "content": words}]}
        self.connection.request("POST", "/v1/chat/completions", json.dumps(request))
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def text(self, words="hello"):
        """Return the reply."""
        return json.loads(self.ask(words)[2])["choices"][0]["message"]["content"]


def answers(server, count):
    """Return the answers in the log once there are `count`: a line is written after the answer."""
    end = time.monotonic() + 5
    while len(found := server.log("answer")) < count and time.monotonic() < end:
        time.sleep(0.005)
    assert len(found) == count
    return found


@pytest.fixture
def endpoint():
    """Return a function that starts an endpoint with some settings and returns it with a client."""
    running = []

    def start(**settings):
        context = start_server(**settings)
        server = context.__enter__()
        client = Client(server)
        running.append((context, client))
        return server, client

    yield start
    for context, client in running:
        client.connection.close()
        context.__exit__(None, None, None)


def test_the_endpoint_answers_each_request_differently_and_keeps_books(endpoint):
    server, client = endpoint()
    texts = [client.text("x" * 40) for _ in range(3)]
    assert len(set(texts)) == 3
    requests, sent = server.log("request"), answers(server, 3)
    assert [line["prompt_chars"] for line in requests] == [40, 40, 40]
    assert len({line["key"] for line in requests}) == 1
    assert [line["text"] for line in sent] == texts
    assert {line["usage"]["prompt_tokens"] for line in sent} == {10}
    assert all(
        before["time"] <= after["time"]
        for before, after in zip(requests, sent, strict=True)
    )


def test_the_same_seed_gives_the_same_replies_and_faults_and_another_does_not(endpoint):
    statuses = {}
    for seed in (1, 1, 2):
        server, client = endpoint(seed=seed, rate_500=0.5)
        statuses.setdefault(seed, []).append([client.ask()[0] for _ in range(20)])
        assert Counter(line["fault"] for line in server.log("request")).keys() == {
            "",
            "500",
        }
    assert statuses[1][0] == statuses[1][1] != statuses[2][0]


def test_by_prompt_the_same_words_get_the_same_reply(endpoint):
    _, client = endpoint(by_prompt=True, replies="program", lines=12)
    first, other, again = client.text("a"), client.text("b"), client.text("a")
    assert first == again != other
    program = first.split("```python\n")[1].removesuffix("\n```")
    assert len(program.splitlines()) == 11
    space = {}
    exec(program, space)
    assert space["answer"]()[0] <= 0


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("429", 429, b"rate limit"),
        ("500", 500, b"error"),
        ("context", 400, b"context_length_exceeded"),
    ],
)
def test_a_refusal_is_one(endpoint, fault, status, words):
    server, client = endpoint(**{f"rate_{fault}": 1.0}, retry_after_secs=7)
    code, headers, body = client.ask()
    assert (code, words in body) == (status, True)
    assert headers["Retry-After"] == ("7" if fault == "429" else None)
    assert [line["fault"] for line in server.log("request")] == [fault]
    assert server.log("answer") == []


def test_a_truncated_answer_says_so_and_counts(endpoint):
    server, client = endpoint(rate_truncated=1.0)
    choice = json.loads(client.ask()[2])["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"].count("```") == 1
    assert [line["text"] for line in answers(server, 1)] == [
        choice["message"]["content"]
    ]


def test_garbage_is_no_completion(endpoint):
    server, client = endpoint(rate_garbage=1.0)
    for _ in range(3):
        status, _, body = client.ask()
        assert status == 200
        with pytest.raises(ValueError):  # noqa: PT011, no JSON, or no text
            json.loads(body)
    assert server.log("answer") == []


def test_a_dropped_connection_ends_before_or_within_the_answer(endpoint):
    server, client = endpoint(rate_drop=1.0)
    for _ in range(2):
        with pytest.raises((http.client.IncompleteRead, OSError)):
            client.ask()
        client.connection.close()
    assert server.log("answer") == []


def test_a_dripping_answer_is_whole_at_the_end(endpoint):
    server, client = endpoint(rate_drip=1.0, drip_secs=0.001)
    assert client.text().startswith("Reply 0")
    assert answers(server, 1)[0]["fault"] == "drip"


# The benchmarks.


def test_writes_are_counted_with_their_commits(tmp_path):
    assert [bar.unit for bar in store.writing(str(tmp_path), trials=20)] == [
        "/s",
        "x",
        "x",
        "x",
    ]
    direct, alone, many = (
        store._cost_of(str(tmp_path), waiting, 20) for waiting in (0, 1, 20)
    )
    assert direct.commits == alone.commits == direct.writes == alone.writes == 100
    assert many.writes == 100
    assert many.commits < 50


def by_name(bars):
    """Return the values by the names of the bars."""
    return {bar.name: bar.value for bar in bars}


def test_own_work():
    (bar,) = engine.own_work(rounds=1, trials=3)
    assert 0.1 < bar.value < 100


@linux
def test_pipeline():
    (bar,) = engine.pipeline(trials=4, slots=2, workers=2, reply_secs=0.1)
    assert 0.2 < bar.value <= 1.01


def test_the_ideal_is_what_nobody_can_beat():
    assert engine._ideal_secs([1.0], 8, 8) == pytest.approx(
        0.3 + 1.0 + 0.3
    )  # x0, the reply, its scoring
    assert engine._ideal_secs([1.0] * 4, 2, 4) == pytest.approx(0.3 + 2.0 + 0.3)
    assert engine._ideal_secs([0.1] * 4, 4, 1) == pytest.approx(0.3 + 0.1 + 4 * 0.3)


def test_in_flight():
    throughput, stall = engine.in_flight(calls=24, width=8, reply_secs=0.05)
    assert "up to 8 in flight" in throughput.note
    assert 0.1 < throughput.value < 2
    assert stall.value < 5


@linux
def test_growth():
    values = by_name(engine.growth(trials=120))
    assert 0.2 < values["trial 120 to trial 30: own time"] < 10
    assert 0.5 < values["trial 120 to trial 30: prompt size"] < 2
    assert values["memory beyond x"] < 1000


def test_cacheable():
    bars = engine.cacheable(trials=12, first=6, lines=5)
    assert [bar.name.split()[-1] for bar in bars] == ["chat", "best"]
    assert all(0 < bar.value <= 1 for bar in bars)
    assert prompt_cache._shared(["abc", "abd", "x", "abcd"]) == [
        (0, 3),
        (2, 3),
        (0, 1),
        (3, 4),
    ]


def test_starting():
    imported, foreign, helped = engine.starting(rounds=1)
    assert foreign.value == 0
    assert imported.value < helped.value


@linux
def test_warm_scorings():
    warm, faster = sandbox.warm(scorings=3, cold_starts=1)
    assert warm.value > 0.5
    assert faster.value > 1


@linux
def test_kills():
    typical, worst, left = sandbox.kill(scorings=3)
    assert 0 <= typical.value <= worst.value
    assert left.value == 0


@linux
def test_soak():
    bars = sandbox.soak(scorings=20)
    assert len(bars) == 6
    assert {bar.verdict for bar in bars} == {"held"}


@linux
def test_sharing():
    (bar,) = sandbox.sharing(size_mb=64, workers=2, hold_secs=0.7)
    assert -0.5 < bar.value < 1  # of the arrays; two more copies would be 2


def test_a_level_that_is_not_there_is_skipped_with_the_reason():
    (bar,) = sandbox.at_level("submarine", sandbox.warm)
    assert bar.verdict == "skipped"
    assert "submarine" in bar.note or sys.platform != "linux"


@pytest.mark.parametrize(
    "program", ["", ".engine", ".store", ".sandbox", ".faults", ".kills"]
)
def test_the_programs_say_what_they_take(program):
    command = [sys.executable, "-m", f"benchmarks{program}", "--help"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert "--output" in done.stdout
