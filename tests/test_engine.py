"""The pipeline, its caps and its ends: many candidates at a time, nothing paid twice, nothing lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from llm_optimize import optimize, stop
from llm_optimize.errors import UsageError
from llm_optimize.llm import Chat, Ensemble, Price
from llm_optimize.records import (
    Budget,
    CallFailed,
    ChampionFound,
    Limits,
    Reply,
    ScoredAgain,
    Status,
    TrialFinished,
    TrialProposed,
    Usage,
)
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat
from server import error

LONG_SECS = 60.0  # what is waited for ends far earlier


def block(x):
    return f"```\n{x}\n```"


def f(x):
    return float(x), "fine"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def go(url):
    def go(model, func=f, **options):
        defaults = {"x0": "1", "verbose": False, "sandbox": "inline", "store": url, "seed": 1, "max_steps": 10}
        return optimize.run("Raise f.", "A better x?", func, model=model, **{**defaults, **options})

    return go


class Counting:
    """A model that answers 2, 3, 4, ..., and knows how many calls it has at a time."""

    name = "counting"
    price = None

    def __init__(self, tokens=(10, 10), hold=None, price=None):
        self.asked = []
        self.now = self.most = 0
        self.tokens, self.hold, self.price = tokens, hold, price

    async def reply(self, messages):
        self.asked.append(messages)
        number = len(self.asked)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await (self.hold(number) if self.hold else asyncio.sleep(0))
        finally:
            self.now -= 1
        usage = Usage(1, *(self.tokens(number) if callable(self.tokens) else self.tokens))
        cost = self.price.cost(usage) if self.price else None
        usage = Usage(1, usage.prompt_tokens, usage.completion_tokens, cost_usd=cost)
        return Reply(block(number + 1), usage, self.name)

    async def aclose(self):
        pass


# The pipeline.


def test_asking_and_scoring_overlap(go):
    """A reply is waited for until a scoring has begun that was begun later than it, and the other way round."""
    scoring = threading.Event()

    async def hold(number):
        if number == 3:
            assert await asyncio.to_thread(scoring.wait, LONG_SECS)

    def slow(x):
        if x in ("2", "3"):
            scoring.set()
        return float(x)

    model = Counting(hold=hold)
    assert go(model, slow, workers=2, model_slots=2, max_steps=4).best_score == 5.0
    assert model.most == 2


def test_a_slow_trial_holds_no_other_up(go):
    released = threading.Event()
    finished = []

    def note(event):
        if isinstance(event, TrialFinished):
            finished.append(event.trial.x)
            if len(finished) == 8:
                released.set()

    def slow(x):
        if x == "2":
            assert released.wait(LONG_SECS)
        return float(x)

    result = go(Counting(), slow, workers=2, max_steps=8, callbacks=[note])
    assert finished[-1] == "2"
    assert len(result.trials) == 9


def test_one_worker_asks_for_nothing_before_the_last_score_is_known(go):
    model = Counting()
    go(model, max_steps=5)
    assert model.most == 1
    shown = [str(messages) for messages in model.asked]
    assert all(f"\\n{n + 1}\\n" in text for n, text in enumerate(shown))


def test_model_slots_are_a_bound(go):
    gathered = []

    async def hold(number):
        gathered.append(number)
        deadline = time.monotonic() + LONG_SECS
        while len(gathered) < 3 and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    model = Counting(hold=hold)
    go(model, model_slots=3, workers=1, max_steps=9)
    assert model.most == 3


def test_slots_adapt_to_slow_replies(go):
    """Replies take much longer than scorings: more than one a worker are waited for."""

    async def hold(number):
        await asyncio.sleep(0.05)

    model = Counting(hold=hold)
    go(model, workers=2, max_steps=40)
    assert 4 <= model.most <= 8


# Caps.


def test_a_cap_of_dollars_with_an_unknown_price_is_refused_before_anything_runs(go, url):
    with pytest.raises(UsageError, match=r"price of the model 'counting' is unknown: pass llm.Chat\(..., price="):
        go(Counting(), budget=Budget(usd=1.0))
    assert Store(url).names() == []


@pytest.mark.parametrize("seed", range(50))
def test_spend_exceeds_its_cap_by_at_most_the_call_that_crosses_it(go, seed):
    dice = random.Random(seed)
    tokens = {n: (dice.randint(50, 400), dice.randint(100, 190)) for n in range(1, 300)}

    async def hold(number):
        await asyncio.sleep(dice.random() / 500)

    price = Price(1e3, 2e3)
    model = Counting(lambda number: tokens[number], hold, price)
    cap = dice.uniform(2, 12)
    result = go(model, budget=Budget(usd=cap), workers=16, model_slots=16, max_steps=200)
    costs = [price.cost(Usage(1, *tokens[n])) for n in range(1, len(model.asked) + 1)]
    assert result.usage.cost_usd == pytest.approx(sum(costs))
    assert result.usage.cost_usd < cap + max(costs)
    assert result.usage.cost_usd >= cap
    assert result.stop_reason == "budget: usd"


def test_calls_in_flight_count_under_a_cap_of_tokens(go):
    model = Counting(tokens=(500, 500))
    result = go(model, budget=Budget(tokens=5_000), workers=8, model_slots=8, max_steps=50)
    assert 5_000 <= result.usage.tokens <= 6_000


def test_a_cap_of_calls_is_exact_with_many_at_a_time(go):
    model = Counting()
    result = go(model, budget=Budget(calls=7), workers=8, model_slots=8, max_steps=50)
    assert (len(model.asked), result.stop_reason) == (7, "budget: calls")


# Rules.


@pytest.mark.parametrize(
    ("rule", "reason", "trials"),
    [
        (stop.score(4), "stop: score(4)", 4),
        (stop.trials(3) | stop.score(9), "stop: trials(3)", 3),
        (stop.score(3) & stop.trials(5), "stop: score(3) & trials(5)", 5),
        ((stop.score(99) | stop.calls(2)) & stop.scorings(1), "stop: (score(99) | calls(2)) & scorings(1)", 3),
        (stop.tokens(40), "stop: tokens(40)", 3),
    ],
)
def test_rules_combine_and_the_reason_says_which_one_fired(go, rule, reason, trials):
    result = go(Counting(), stop=rule)
    assert (result.stop_reason, len(result.trials)) == (reason, trials)


def test_any_callable_is_a_rule(go):
    def enough(progress):
        return progress.best is not None and progress.best.score >= 3

    assert go(Counting(), stop=enough).stop_reason == "stop: enough"


def test_stale_steps_and_seconds_are_rules(go):
    assert go(lambda messages: block(random.random()), stop=stop.stale(3)).stop_reason == "stop: stale(3)"
    rule = stop.seconds(0.001) | stop.usd(1)
    assert go(Counting(), stop=rule).stop_reason == "stop: seconds(0.001)"


@pytest.mark.parametrize("wrong", [lambda: stop.stale(0), lambda: stop.seconds(-1), lambda: stop.usd(0)])
def test_a_rule_that_would_end_at_once_is_refused(wrong):
    with pytest.raises(UsageError, match="would end the run before it begins"):
        wrong()


def test_a_rule_that_is_none_is_refused(go):
    with pytest.raises(UsageError, match=r"stop is 7: give a rule such as stop.stale\(20\)"):
        go(Counting(), stop=7)


# Scores that are known, and scores that are noisy.


def test_a_version_of_f_is_asked_once_for_an_x_over_all_runs_of_a_store(go):
    scored = []

    def counting(x):
        scored.append(x)
        return float(x), "counted"

    first = go(Counting(), counting, func_version="v1", max_steps=3)
    again = go(Counting(), counting, func_version="v1", max_steps=4)
    assert scored == ["1", "2", "3", "4", "5"]
    assert again.scores == [*first.scores, 5.0]
    assert [trial.scorings for trial in again.trials] == [0, 0, 0, 0, 1]
    assert again.trials[1].feedback == "counted"
    go(Counting(), counting, func_version="v2", max_steps=1)
    assert scored[5:] == ["1", "2"]


def test_a_lucky_champion_is_scored_again_with_its_challenger_before_that_is_crowned(go):
    """x0 is worth 1, and once by luck 9; each other x is worth what it says."""
    calls = []

    def noisy(x):
        calls.append(x)
        return 9.0 if x == "1" and calls.count("1") == 1 else float(x)

    events = []
    result = go(
        lambda messages: block(10 + len(calls)),
        noisy,
        repeats=optimize.Repeats(n=3),
        max_steps=1,
        callbacks=[events.append],
    )
    assert calls.count("1") == 3
    x0, challenger = result.trials
    assert x0.score == pytest.approx(11 / 3)
    assert (x0.scorings, challenger.scorings) == (3, 3)
    assert x0.standard_error > 0
    assert [event.trial.number for event in events if isinstance(event, ScoredAgain)] == [0]
    assert [event.trial.number for event in events if isinstance(event, ChampionFound)] == [0, 1]


def test_a_lucky_challenger_is_not_crowned(go):
    calls = []

    def noisy(x):
        calls.append(x)
        return 9.0 if x == "0.5" and calls.count("0.5") == 1 else float(x)

    result = go(ScriptedChat(block(0.5), block(0.7)), noisy, repeats=4, max_steps=2)
    assert result.best_x == "1" or result.best.scorings == 4
    assert result.trials[1].score == pytest.approx((9 + 3 * 0.5) / 4)
    assert result.trials[2].scorings == 1  # it beats nobody


def test_a_mean_survives_a_resume(go, url):
    result = go(ScriptedChat(block(2)), lambda x: float(x) + random.random() / 9, repeats=3, max_steps=1, name="amber")
    again = optimize.resume("amber", f, model=ScriptedChat(), store=url, max_steps=1, verbose=False)
    assert again.trials == result.trials
    assert again.best.scorings == 3


# Lessons.


def test_a_lesson_follows_a_trial_that_was_no_better_and_is_shown_and_kept(go, url):
    asked = []

    def model(messages):
        asked.append(messages)
        return (
            "Smaller numbers score less."
            if "lesson" in str(messages).lower() and len(asked) == 2
            else block(-len(asked))
        )

    result = go(model, reflect=True, max_steps=1, name="amber")
    assert result.trials[1].lesson == "Smaller numbers score less."
    assert result.usage.calls == result.trials[1].usage.calls == 2
    assert Store(url).run("amber").trials()[1].lesson == "Smaller numbers score less."


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
    assert result.stop_reason == "stopped by a watcher"
    assert len(result.trials) < 10
    assert "Do not change the loader." in seen[-1]
    planned = Store(url).run("amber")
    assert planned.steers()[0].text == "Do not change the loader."
    assert optimize.resume("amber", f, model=model, store=url, max_steps=6, verbose=False).stop_reason == "max_steps"


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


def test_a_store_that_can_no_longer_be_written_ends_the_run_with_its_best(go, url, tmp_path):
    def break_it(event):
        if isinstance(event, TrialFinished) and event.trial.number == 2:
            with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
                connection.execute(
                    "create trigger full before insert on trial begin select raise(abort, 'disk full'); end"
                )

    result = go(Counting(), callbacks=[break_it], name="amber")
    assert result.stop_reason.startswith("error: ")
    assert "disk full" in result.stop_reason
    assert result.best_score == 3.0
    assert [trial.number for trial in Store(url).run("amber").trials()] == [0, 1, 2]


CTRL_C = """
import sys, threading, time
from llm_optimize import optimize

def f(x):
    print("scoring", x, file=sys.__stderr__, flush=True)
    time.sleep(1.0 if x == "2" else 60.0 if x == "3" else 0.0)
    return float(x)

n = 1
def model(messages):
    global n
    n += 1
    return f"```\\n{n}\\n```"

def tell(event):
    print(type(event).__name__, getattr(getattr(event, "trial", None), "number", ""), flush=True)

optimize.run("d", "q", f, "1", 9, model, False, store=sys.argv[1], name="amber", sandbox="inline", workers=2,
             model_slots=2, callbacks=[tell])
"""


def interrupted(url, times):
    """Interrupt a run while 2 and 3 are being scored; return the seconds until its end, and its exit code."""
    process = subprocess.Popen([sys.executable, "-c", CTRL_C, url], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
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
        assert "3" in {pending.proposal.x for pending in store.run("amber").pending() if pending.proposal}
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
        name, f, model=Counting(tokens=(50, 50)), store=url, max_steps=5, budget=Budget(tokens=200), verbose=False
    )
    assert forked.trials[:3] == origin.trials[:3]
    assert forked.stop_reason == "budget: tokens"
    assert len(forked.trials) == 5
    assert forked.usage.tokens == 400  # half of it the origin's


def test_a_replay_repeats_a_run_for_no_money_and_shows_what_another_f_makes_of_it(go, url):
    origin = go(Counting(), name="amber", max_steps=4)
    same = optimize.replay("amber", f, store=url, verbose=False)
    assert same.name == "amber-replay"
    assert (same.scores, same.usage.calls, same.usage.tokens) == (origin.scores, 0, 0)
    assert [trial.source for trial in same.trials] == [trial.source for trial in origin.trials]
    other = optimize.replay("amber", lambda x: (-float(x), ""), store=url, verbose=False, sandbox="inline")
    assert other.scores == [-score for score in origin.scores]
    longer = optimize.replay("amber", f, store=url, verbose=False, max_steps=6, new_name="longer")
    assert [trial.status for trial in longer.trials[5:]] == [Status.INVALID, Status.INVALID]
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
