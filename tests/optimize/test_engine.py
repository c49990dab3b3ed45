"""The pipeline and its caps: many candidates at a time, nothing paid twice."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from llm_optimize import optimize, stop
from llm_optimize.errors import UsageError
from llm_optimize.llm import Price
from llm_optimize.records import (
    Budget,
    ChampionFound,
    ScoredAgain,
    TrialFinished,
    Usage,
)
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat
from simulated import LONG_SECS, Counting, block, runner


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def go(url):
    return runner(url)


# The pipeline.


def test_asking_and_scoring_overlap(go):
    """A reply is waited for until a scoring has begun that was begun later than it, and the other
    way round."""
    scoring, both_asked = threading.Event(), asyncio.Event()

    async def hold(number):
        if number == 2:
            both_asked.set()
        if number <= 2:
            await asyncio.wait_for(both_asked.wait(), LONG_SECS)
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


def test_a_cap_of_dollars_with_an_unknown_price_is_refused_before_anything_runs(
    go, url
):
    with pytest.raises(
        UsageError,
        match=r"price of the model 'counting' is unknown: pass llm.Chat\(..., price=",
    ):
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
    result = go(
        model, budget=Budget(usd=cap), workers=16, model_slots=16, max_steps=200
    )
    costs = [price.cost(Usage(1, *tokens[n])) for n in range(1, len(model.asked) + 1)]
    assert result.usage.cost_usd == pytest.approx(sum(costs))
    assert result.usage.cost_usd < cap + max(costs)
    assert result.usage.cost_usd >= cap
    assert result.stop_reason == "budget: usd"


def test_calls_in_flight_count_under_a_cap_of_tokens(go):
    model = Counting(tokens=(500, 500))
    result = go(
        model, budget=Budget(tokens=5_000), workers=8, model_slots=8, max_steps=50
    )
    assert 5_000 <= result.usage.tokens <= 6_000


def test_a_cap_of_calls_is_exact_with_many_at_a_time(go):
    model = Counting()
    result = go(model, budget=Budget(calls=7), workers=8, model_slots=8, max_steps=50)
    assert (len(model.asked), result.stop_reason) == (7, "budget: calls")


# Rules.


def three_trials(seen):
    return len(seen.trials) >= 3


@pytest.mark.parametrize(
    ("rule", "reason", "trials"),
    [
        (stop.score(4), "stop: score(4)", 4),
        (three_trials | stop.score(9), "stop: three_trials", 3),
        (stop.score(9) | three_trials, "stop: three_trials", 3),
        (stop.score(1) & three_trials, "stop: score(1) & three_trials", 3),
        (
            (stop.score(99) | three_trials) & stop.score(1),
            "stop: (score(99) | three_trials) & score(1)",
            3,
        ),
    ],
)
def test_rules_combine_and_the_reason_says_which_one_fired(go, rule, reason, trials):
    result = go(Counting(), stop=rule)
    assert (result.stop_reason, len(result.trials)) == (reason, trials)


def test_any_callable_is_a_rule(go):
    def enough(progress):
        return progress.best is not None and progress.best.score >= 3

    assert go(Counting(), stop=enough).stop_reason == "stop: enough"


def test_stale_steps_end_a_run(go):
    assert (
        go(lambda messages: block(random.random()), stop=stop.stale(3)).stop_reason
        == "stop: stale(3)"
    )


def test_the_old_rule_of_seconds_still_works_and_names_what_replaces_it(go):
    with pytest.deprecated_call(match=r"goes in 2\.0: use budget=Budget\(seconds="):
        rule = stop.seconds(0.001)
    assert go(Counting(), stop=rule).stop_reason == "stop: seconds(0.001)"


def test_a_rule_that_would_end_at_once_is_refused():
    with pytest.raises(UsageError, match="would end the run before it begins"):
        stop.stale(0)


def test_a_rule_that_is_none_is_refused(go):
    with pytest.raises(
        UsageError, match=r"stop is 7: give a rule such as stop.stale\(20\)"
    ):
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


def test_a_lucky_champion_is_scored_again_with_its_challenger_before_that_is_crowned(
    go,
):
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
    assert [
        event.trial.number for event in events if isinstance(event, ScoredAgain)
    ] == [0]
    assert [
        event.trial.number for event in events if isinstance(event, ChampionFound)
    ] == [0, 1]


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
    def noisy(x):
        return float(x) + random.random() / 9

    result = go(
        ScriptedChat(block(2)),
        noisy,
        repeats=3,
        max_steps=1,
        name="amber",
    )
    again = optimize.resume(
        "amber", noisy, model=ScriptedChat(), store=url, max_steps=1, verbose=False
    )
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
