"""How runs end: from outside, by Ctrl-C, by a store that fails; and what goes on afterwards."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.llm import Chat, Ensemble, Price
from llm_optimize.records import (
    Budget,
    CallFailed,
    Limits,
    RunEnded,
    Status,
    TrialFinished,
    TrialProposed,
    TrialStarted,
)
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat
from server import error
from simulated import LONG_SECS, Counting, block, f, runner


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def go(url):
    return runner(url)


# Steering from outside.


def test_a_watcher_stops_a_run_and_gives_it_a_hint(go, url):
    store = Store(url)
    seen = []

    def model(messages):
        seen.append(str(messages))
        time.sleep(0.3)  # longer than between two looks at the store
        return block(len(seen) + 1)

    def steer(event):
        if isinstance(event, TrialProposed) and event.number == 0:
            store.steer("amber", "hint", "Do not change the loader.")
        if isinstance(event, TrialFinished) and event.trial.number == 3:
            store.steer("amber", "stop")

    result = go(model, name="amber", max_steps=50, callbacks=[steer])
    store.close()
    assert result.stop_reason == "stopped by you"
    assert len(result.trials) < 10
    assert "Do not change the loader." in seen[-1]
    planned = Store(url).run("amber")
    assert planned.steers()[0].text == "Do not change the loader."
    assert (
        optimize.resume(
            "amber", f, model=model, store=url, max_steps=6, verbose=False
        ).stop_reason
        == "max_steps"
    )


def test_a_paused_run_begins_nothing_until_it_goes_on(go, url):
    store = Store(url)
    begun = []

    def steer(event):
        if isinstance(event, TrialFinished):
            begun.append(event.trial.number)
        if isinstance(event, TrialFinished) and event.trial.number == 1:
            store.steer("amber", "pause")
            time.sleep(0.4)  # longer than between two looks at the store
            threading.Timer(0.8, lambda: store.steer("amber", "go")).start()
            begun.append("paused")

    began_at = time.monotonic()
    result = go(Counting(), name="amber", max_steps=4, callbacks=[steer])
    store.close()
    assert result.stop_reason == "max_steps"
    assert time.monotonic() - began_at >= 1.2
    assert begun == [0, 1, "paused", 2, 3, 4]


# What fails.


def test_a_call_that_fails_is_told(go, server):
    events = []
    server.replies(error(500, "out of order"), for_ever=True)
    chat = Chat("m", base_url=server.url, max_attempts=1, max_wait_secs=0.01)
    result = go(chat, callbacks=[events.append])
    assert result.stop_reason.startswith("error: ")
    failed = [event for event in events if isinstance(event, CallFailed)]
    assert (failed[0].number, failed[0].model) == (1, "m")
    assert "500" in failed[0].error


def test_a_store_that_can_no_longer_be_written_ends_the_run_with_its_best(
    go, url, tmp_path
):
    def break_it(event):
        # Trial 2 may be in the store by then, and trial 3 is not: it is built on the score of 2.
        if isinstance(event, TrialFinished) and event.trial.number == 1:
            with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
                connection.execute(
                    "create trigger full before insert on trial when new.number > 2 "
                    "begin select raise(abort, 'disk full'); end"
                )

    result = go(Counting(), callbacks=[break_it], name="amber")
    assert result.stop_reason.startswith("error: ")
    assert "disk full" in result.stop_reason
    assert result.best_score == 3.0
    assert [trial.number for trial in Store(url).run("amber").trials()] == [0, 1, 2]


def test_nobody_learns_of_a_trial_whose_row_was_refused(go, url, tmp_path):
    events = []

    def break_it(event):
        events.append(event)
        if isinstance(event, TrialFinished) and event.trial.number == 1:
            with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
                connection.execute(
                    "create trigger full before update of finished_at on trial "
                    "when new.number = 3 begin select raise(abort, 'disk full'); end"
                )

    result = go(Counting(), callbacks=[break_it], name="amber")
    assert "disk full" in result.stop_reason
    finished = [
        event.trial.number for event in events if isinstance(event, TrialFinished)
    ]
    assert finished == [trial.number for trial in result.trials] == [0, 1, 2]
    assert isinstance(events[-1], RunEnded)
    assert [trial.number for trial in Store(url).run("amber").trials()] == [0, 1, 2]


def test_events_come_in_the_order_of_the_run(go):
    """The next trial begins while the row of the last one is being written, but is told later."""
    events = []
    go(Counting(), callbacks=[events.append], max_steps=5)
    life = [
        event for event in events if isinstance(event, TrialStarted | TrialFinished)
    ]
    numbers = [
        event.number if isinstance(event, TrialStarted) else event.trial.number
        for event in life
    ]
    assert numbers == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


CTRL_C = """
import sys, threading, time
from llm_optimize import optimize

def f(x):
    sys.__stderr__.write(f"scoring {x}\\n")  # in one piece: two threads write
    sys.__stderr__.flush()
    time.sleep(1.0 if x == "2" else 60.0 if x == "3" else 0.0)
    return float(x)

n = 1
def model(messages):
    global n
    n += 1
    return f"```\\n{n}\\n```"

def tell(event):
    print(type(event).__name__, getattr(getattr(event, "trial", None), "number", ""), flush=True)

optimize.run("d", "q", f, "1", 9, model, False, store=sys.argv[1], name="amber",
             sandbox="inline", workers=2,
             model_slots=2, callbacks=[tell])
"""


def interrupted(url, times):
    """Interrupt a run while 2 and 3 are being scored; return the seconds until its end, and its
    exit code."""
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C, url],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    scoring = set()
    for line in process.stderr:
        scoring.add(line.decode().strip())
        if {"scoring 2", "scoring 3"} <= scoring:
            break
    begun = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    process.communicate(timeout=LONG_SECS)
    return time.monotonic() - begun, process.returncode


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_lets_a_scoring_finish(url):
    seconds, code = interrupted(url, 1)
    assert code != 0
    assert 1.0 <= seconds < 30  # 3 would have taken a minute
    with closing(Store(url)) as store:
        assert {trial.x for trial in store.run("amber").trials()} >= {"1", "2"}
        assert "3" in {
            pending.proposal.x
            for pending in store.run("amber").pending()
            if pending.proposal
        }
        assert store.runs()[0].stop_reason == "interrupted"


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_a_second_ctrl_c_ends_at_once(url):
    seconds, code = interrupted(url, 2)
    assert code != 0
    assert seconds < 4
    with closing(Store(url)) as store:
        assert store.run("amber").trials()[0].x == "1"


# Forks and replays.


def test_a_fork_goes_on_from_any_trial_and_counts_only_what_it_pays_itself(go, url):
    origin = go(Counting(tokens=(50, 50)), name="amber", max_steps=4)
    name = optimize.fork("amber", 2, store=url)
    forked = optimize.resume(
        name,
        f,
        model=Counting(tokens=(50, 50)),
        store=url,
        max_steps=5,
        budget=Budget(tokens=200),
        verbose=False,
    )
    assert forked.trials[:3] == origin.trials[:3]
    assert forked.stop_reason == "budget: tokens"
    assert len(forked.trials) == 5
    assert forked.usage.tokens == 400  # half of it the origin's


def test_a_replay_repeats_a_run_for_no_money_and_shows_what_another_f_makes_of_it(
    go, url
):
    origin = go(Counting(), name="amber", max_steps=4)
    same = optimize.replay("amber", f, store=url, verbose=False)
    assert same.name == "amber-replay"
    assert (same.scores, same.usage.calls, same.usage.tokens) == (origin.scores, 0, 0)
    assert [trial.source for trial in same.trials] == [
        trial.source for trial in origin.trials
    ]
    other = optimize.replay(
        "amber", lambda x: (-float(x), ""), store=url, verbose=False, sandbox="inline"
    )
    assert other.scores == [-score for score in origin.scores]
    longer = optimize.replay(
        "amber", f, store=url, verbose=False, max_steps=6, new_name="longer"
    )
    assert [trial.status for trial in longer.trials[5:]] == [
        Status.INVALID,
        Status.INVALID,
    ]
    assert "was not made in the run that is replayed" in longer.trials[5].feedback


def test_an_ensemble_learns_from_the_trials_of_a_run(go):
    good, bad = Counting(), ScriptedChat(*[block(-n) for n in range(1, 30)])
    bad.name = "bad"
    result = go(Ensemble([good, bad], choose="bandit", seed=2), max_steps=24)
    sources = [trial.source for trial in result.trials]
    assert sources.count("model:counting") > 1.5 * sources.count("model:bad")


def test_the_price_of_a_chat_is_counted_in_dollars(go, server):
    server.replies(*[block(n) for n in range(2, 9)])
    chat = Chat("m", base_url=server.url, price=Price(1e6, 1e6))
    result = go(chat, budget=Budget(usd=50.0), limits=Limits())
    assert result.stop_reason == "budget: usd"
    assert result.usage.cost_usd >= 50.0


@pytest.mark.parametrize(
    "refused",
    [
        "INSERT ON trial WHEN NEW.number = 1",
        "UPDATE OF reply ON call WHEN NEW.reply LIKE '%bad%'",
        "UPDATE OF x ON trial WHEN NEW.x LIKE '%bad%'",
    ],
)
def test_nothing_is_done_with_what_is_not_on_disk(tmp_path, refused):
    """A row that the database refuses ends the run before f sees the x that came of it."""
    path, seen = tmp_path / "runs.db", []
    Store(str(path)).close()
    with closing(sqlite3.connect(path)) as database:
        database.execute(
            f"CREATE TRIGGER refuse BEFORE {refused} BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    def f(x):
        seen.append(x)
        return 1.0

    model = ScriptedChat("```\nbad\n```")
    found = optimize.run(
        "t",
        "q",
        f,
        x0="good",
        model=model,
        max_steps=1,
        sandbox="inline",
        store=path,
        verbose=False,
    )
    assert found.stop_reason.startswith("error: "), found.stop_reason
    assert seen == ["good"]
