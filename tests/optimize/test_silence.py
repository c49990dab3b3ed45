"""An endpoint that hangs with many calls in flight: one event, not many; and one that is gone ends
the run."""

import threading

import pytest

from llm_optimize import optimize
from llm_optimize.llm import Chat
from llm_optimize.optimize.state import Silence
from server import KEY, Raw

WORKERS = 8
DEADLINE_SECS = 1.0


def test_calls_that_were_in_flight_together_are_one_silence():
    silence = Silence(most=2)
    for call in range(8):
        silence.begun(call, now=call / 10)
    for call in range(8):
        silence.failed(call, now=5 + call)
    assert not silence.lasting
    silence.begun(8, now=12.5)
    silence.failed(8, now=20)
    assert silence.lasting


def test_calls_that_begin_one_after_the_other_in_the_same_silence_count_once_a_deadline():
    silence = Silence(most=3)
    for round_ in range(2):
        for call in range(
            4
        ):  # each begins before the silence of its round is noticed, or after that of the last one
            silence.begun(call, now=10 * round_ + call)
        for call in range(4):
            silence.failed(call, now=10 * round_ + 10 + call)
    assert not silence.lasting
    silence.begun(0, now=24)
    silence.failed(0, now=34)
    assert silence.lasting


def test_calls_of_one_worker_are_silences_of_their_own_and_a_reply_ends_the_row():
    silence = Silence(most=3)
    for now in (0, 2):
        silence.begun("a", now)
        silence.failed("a", now + 1)
    silence.broken()
    for now in (4, 6):
        silence.begun("a", now)
        silence.failed("a", now + 1)
    assert not silence.lasting
    silence.begun("a", 8)
    silence.ended("a")
    silence.begun("a", 8)
    silence.failed("a", 9)
    assert silence.lasting


class Stalling:
    """Holds whole rounds of eight calls until nobody waits for them; answers all others."""

    def __init__(self, server, stalls):
        self.stalls, self.count, self.lock = list(stalls), 0, threading.Lock()
        self.never = threading.Event()
        server.answer = self

    def __call__(self, request):
        self.count += 1
        if any(first <= self.count < first + WORKERS for first in self.stalls):
            return Raw(hold=self.never)
        return f"```\n{self.count}\n```"


def run(server, tmp_path, steps):
    chat = Chat(
        "m",
        base_url=server.url,
        api_key=KEY,
        deadline_secs=DEADLINE_SECS,
        max_attempts=1,
        max_wait_secs=0.1,
    )
    options = {
        "store": f"{tmp_path}/runs.db",
        "sandbox": "inline",
        "workers": WORKERS,
        "model_slots": WORKERS,
        "seed": 1,
    }
    return optimize.run(
        "Raise it.", "Which is higher?", float, "0", steps, chat, False, **options
    )


@pytest.mark.parametrize("stalls", [(10,), (10, 30)], ids=["once", "twice"])
def test_a_run_survives_an_endpoint_that_stalls_all_calls_in_flight(
    server, tmp_path, stalls
):
    stalling = Stalling(server, stalls)
    try:
        result = run(server, tmp_path, 40)
    finally:
        stalling.never.set()
    assert result.stop_reason == "max_steps"
    assert len(result.trials) == 41
    assert stalling.count >= 40 + WORKERS * len(stalls)


def test_a_run_ends_with_its_best_when_the_endpoint_is_gone(server, tmp_path):
    stalling = Stalling(server, range(10, 1000))
    try:
        result = run(server, tmp_path, 40)
    finally:
        stalling.never.set()
    assert result.best_score == 9
    assert result.stop_reason.startswith("error: the model 'm' at ")
    assert (
        stalling.count <= 9 + 4 * WORKERS
    )  # three rounds, and what was begun while they failed
