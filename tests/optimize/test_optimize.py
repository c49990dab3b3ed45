"""The hall: run, arun, resume, Optimizer; with scripted models and real scorings."""

import asyncio
import logging
import math
import threading
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.errors import (
    FunctionUnusable,
    ModelRefused,
    ModelUnavailable,
    UnknownName,
    UsageError,
)
from llm_optimize.records import (
    Budget,
    BudgetUsed,
    ChampionFound,
    Plan,
    Proposal,
    RunEnded,
    RunStarted,
    Status,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
)
from llm_optimize.space import Float, Int
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat


def block(x):
    return f"I think this is better.\n```\n{x}\n```"


def f(x):
    value = float(x)
    if value < 0:
        raise ValueError(f"{value} is below zero")
    return value, f"f is {value}"


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'runs.db'}"


@pytest.fixture
def go(url):
    def go(model, **options):
        words = {
            "task_description": "Raise f.",
            "task_question": "A better x?",
            "func": f,
            "x0": "1",
        }
        return optimize.run(
            **{
                **words,
                "model": model,
                "verbose": False,
                "sandbox": "inline",
                "store": url,
                **options,
            }
        )

    return go


def chat(*xs):
    return ScriptedChat(*(block(x) for x in xs))


def test_it_unpacks_as_in_2023(go):
    best_score, scores, best_x = result = go(chat(3, 2), max_steps=2)
    assert (best_score, scores, best_x) == (3.0, [1.0, 3.0, 2.0], "3")
    assert result[0] == 3.0
    assert result[-1] == "3"
    assert result.best.source.startswith("model:")
    assert result.stop_reason == "max_steps"


def test_it_works_through_the_process_sandbox(go):
    assert go(chat(3, -1), max_steps=2, sandbox="process").best_score == 3.0


def test_a_failed_trial_stands_as_nan_and_is_remembered(go):
    model = chat(-5, 4)
    result = go(model, max_steps=2)
    assert math.isnan(result.scores[1])
    assert result.best_score == 4.0
    assert result.trials[1].status is Status.FAILED
    assert "-5.0 is below zero" in str(model.asked[1])


def test_a_nan_from_x0_is_beaten(go):
    assert (
        go(
            chat(0.5), func=lambda x: math.nan if x == "1" else float(x), max_steps=1
        ).best_score
        == 0.5
    )


def test_a_reply_without_a_block_is_asked_again_and_then_given_up(go):
    model = ScriptedChat(
        "no idea", block(2), "none", "nothing", "still nothing", block(3)
    )
    result = go(model, max_steps=3)
    assert [trial.status for trial in result.trials] == [
        Status.COMPLETE,
        Status.COMPLETE,
        Status.INVALID,
        Status.COMPLETE,
    ]
    assert result.usage.calls == 6
    assert result.best_score == 3.0


def test_it_stops_at_the_goal(go):
    result = go(chat(2, 9, 10), stop_score=9, max_steps=50)
    assert result.stop_reason == "stop_score"
    assert len(result.trials) == 3
    assert go(chat(), stop_score=1).stop_reason == "stop_score"


@pytest.mark.parametrize(
    ("budget", "trials", "reason"),
    [
        (Budget(scorings=3), 3, "budget: scorings"),
        (Budget(calls=2), 3, "budget: calls"),
        (Budget(stale_steps=3), 4, "budget: stale_steps"),
        (Budget(tokens=1), 2, "budget: tokens"),
    ],
)
def test_a_budget_ends_it(go, budget, trials, reason):
    result = go(chat(*[1 / n for n in range(2, 20)]), budget=budget, max_steps=15)
    assert result.stop_reason == reason
    assert len(result.trials) == trials


def test_a_budget_of_seconds_ends_what_is_in_flight(go):
    result = go(
        chat("2"),
        func=wait_for_ever,
        x0="1",
        sandbox="process",
        budget=Budget(seconds=1.0),
    )
    assert result.stop_reason == "budget: seconds"
    assert result.trials == ()


def wait_for_ever(x):
    threading.Event().wait()


def test_no_cap_is_overrun_by_many_workers(go):
    model = chat(*[1 / n for n in range(2, 60)])
    result = go(model, budget=Budget(scorings=7), workers=4, max_steps=50)
    assert len(result.trials) == 7


def test_a_duplicate_is_not_scored_again(go):
    scored = []

    def counting(x):
        scored.append(x)
        return f(x)

    result = go(chat(2, " 2", 3), func=counting, max_steps=3, x0="1")
    assert scored.count("2") == 1
    assert result.trials[0].status is Status.COMPLETE
    again = go(chat(2, 2), func=counting, max_steps=2, x0="1").trials[2]
    assert (again.status, again.score) == (Status.DUPLICATE, 2.0)
    assert "same x as trial 1" in again.feedback


def test_several_x0_are_all_scored_before_any_model_call(go):
    model = chat(9)
    result = go(model, x0=["1", "5", "3"], max_steps=1, workers=3)
    assert [trial.source for trial in result.trials][:3] == ["x0"] * 3
    assert "5" in str(model.asked[0])
    assert result.best_score == 9


def test_without_x0_the_model_writes_the_first(go):
    result = go(chat(4, 5), x0=None, max_steps=2)
    assert result.scores == [4.0, 5.0]


def test_max_steps_0_scores_x0_only(go):
    assert go(chat(), max_steps=0).scores == [1.0]


def test_workers_score_at_the_same_time(go):
    together = threading.Barrier(3, timeout=20)

    def meet(x):
        if x != "1":
            together.wait()
        return float(x)

    result = go(chat(2, 3, 4), func=meet, workers=3, max_steps=3)
    assert sorted(result.scores) == [1.0, 2.0, 3.0, 4.0]


def test_a_refusing_model_ends_the_run_with_its_best_and_resume_goes_on(go, url):
    result = go(
        ScriptedChat(block(5), ModelRefused("401: the key is wrong")), max_steps=3
    )
    assert result.stop_reason == "error: 401: the key is wrong"
    assert result.best_score == 5.0
    more = optimize.resume(result.name, f, store=url, model=chat(6, 7), verbose=False)
    assert more.scores == [1.0, 5.0, 6.0, 7.0]


def test_a_silent_model_is_asked_again_and_in_the_end_given_up(go):
    gone = ModelUnavailable("no answer in 300 s")
    assert go(ScriptedChat(gone, block(5)), max_steps=1).best_score == 5.0
    assert (
        go(ScriptedChat(gone, gone, gone), max_steps=1).stop_reason
        == "error: no answer in 300 s"
    )


class RefusesTheFourth:
    """A model that refuses its fourth call, and then falls silent on the three before."""

    name = "refuses"

    def __init__(self):
        self.asked = 0
        self.refused = asyncio.Event()

    async def reply(self, messages):
        self.asked += 1
        if self.asked == 4:
            self.refused.set()
            raise ModelRefused("400: the prompt is too long")
        await self.refused.wait()
        raise ModelUnavailable("no answer in 300 s")

    async def aclose(self):
        """Hold nothing."""


def test_the_reason_for_the_end_is_the_first_not_what_follows_from_it(go):
    assert (
        go(RefusesTheFourth(), workers=4).stop_reason
        == "error: 400: the prompt is too long"
    )


def test_events_come_in_order_and_a_broken_callback_is_switched_off(go, caplog):
    events, calls = [], []

    def broken(event):
        calls.append(event)
        raise RuntimeError("oops")

    with caplog.at_level(logging.ERROR):
        go(chat(3), max_steps=1, callbacks=[broken, events.append])
    assert [type(event) for event in events] == [
        RunStarted,
        *[TrialStarted, TrialProposed, TrialFinished, ChampionFound, BudgetUsed] * 2,
        RunEnded,
    ]
    assert events[-4].champion
    assert (events[-3].trial.number, events[-3].before.number) == (1, 0)
    assert {cap.name: cap.used for cap in events[-2].caps}["calls"] == 1
    assert len(calls) == 1
    assert "broken" in caplog.text


def test_the_same_seed_repeats_and_another_differs(go):
    def xs(seed):
        return [
            trial.x
            for trial in go(
                "mutation", seed=seed, x0="a = 1.5, b = 20", func=len, max_steps=6
            ).trials
        ]

    assert xs(1) == xs(1)
    assert xs(1) != xs(2)


def test_parameters_are_proposed_checked_and_scored(go):
    space = {"lr": Float(0.01, 1, log=True), "layers": Int(1, 4)}
    result = go(
        ScriptedChat(
            '```json\n{"lr": 0.5, "layers": 2}\n```',
            '{"lr": 0.5, "layers": 2}',
            '{"lr": 0.5, "layers": 2.0}',  # asked again once, it stays with it
            '{"lr": 1, "layers": 3}',
        ),
        space=space,
        x0={"lr": 0.1, "layers": 1},
        func=lambda x: x["lr"] * x["layers"],
        max_steps=3,
    )
    assert [trial.status for trial in result.trials[1:]] == [
        Status.COMPLETE,
        Status.DUPLICATE,
        Status.COMPLETE,
    ]
    assert result.best_x == {"lr": 1.0, "layers": 3}
    assert (
        go(
            "mutation", space=space, x0=None, func=lambda x: x["lr"], max_steps=5
        ).best_score
        > 0.01
    )


def test_run_works_inside_a_running_loop(url):
    async def notebook():
        return optimize.run(
            "d", "q", f, "1", 1, chat(2), False, store=url, sandbox="inline"
        )

    assert asyncio.run(notebook()).best_score == 2.0


def test_arun_is_the_same_with_await(url):
    async def main():
        return await optimize.arun(
            "d", "q", f, "1", 1, chat(2), False, store=url, sandbox="inline"
        )

    assert asyncio.run(main()).best_score == 2.0


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"search": "bets"}, UnknownName, "did you mean 'best'"),
        ({"proposer": "mutatoin"}, UnknownName, "did you mean 'mutation'"),
        ({"sandbox": "proces"}, UnknownName, "did you mean 'process'"),
        ({"workers": 0}, UsageError, "workers is 0"),
        ({"max_steps": -1}, UsageError, "max_steps is -1"),
        ({"timeout_secs": 0}, UsageError, "timeout_secs is 0"),
        ({"x0": 5}, UsageError, "a int"),
        ({"model": 5}, UsageError, "model"),
        ({"model": "mutation", "x0": None}, UsageError, "give x0"),
        (
            {
                "func": (lambda lock: lambda x: lock)(threading.Lock()),
                "sandbox": "process",
            },
            FunctionUnusable,
            "inline",
        ),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_runs(
    go, url, options, error, words
):
    with pytest.raises(error, match=words):
        go(**{"model": chat(2), **options})
    if Path(url.removeprefix("sqlite:///")).exists():
        store = Store(url)
        assert store.names() == []
        store.close()


def test_a_taken_name_is_refused(go):
    go(chat(2), name="mine", max_steps=1)
    with pytest.raises(UsageError, match="a run named 'mine' exists"):
        go(chat(2), name="mine", max_steps=1)


def test_a_user_s_own_search_and_proposer_are_used(go):
    class Worst:
        def __init__(self):
            self.trials = []

        def ask(self, rng, pending):
            return Plan(min(self.trials, key=lambda trial: trial.score))

        def observe(self, trial):
            self.trials.append(trial)

    class Doubler:
        async def propose(self, plan, ask, rng):
            return Proposal(str(2 * float(plan.parent.x)), "doubler", Usage())

        def observe(self, trial):
            pass

    result = go(None, search=Worst(), proposer=Doubler(), x0=["3", "1"], max_steps=2)
    assert [trial.x for trial in result.trials] == ["3", "1", "2.0", "2.0"]


def test_wrong_markers_of_x0_are_refused_before_anything_is_asked(go):
    with pytest.raises(UsageError, match="line 1 ends a block that no line started"):
        go(chat(2), x0=["1", "# EVOLVE-BLOCK-END"])


def test_ask_and_tell_for_people_who_own_the_loop(url):
    opt = optimize.Optimizer(
        "Raise f.", "A better x?", x0="1", model=chat(3, 5), store=url, name="own"
    )
    trials = [opt.ask() for _ in range(1)]
    opt.tell(trials[0], 1.0, "fine")
    trial = opt.ask()
    assert (trial.number, trial.x, trial.status) == (1, "3", Status.PENDING)
    assert opt.tell(trial, math.nan).status is Status.INVALID
    best = opt.tell(opt.ask(), (5.0, "great"))
    assert best.feedback == "great"
    assert opt.result.scores[0] == 1.0
    assert opt.result.best_x == "5"
    opt.close()
    store = Store(url)
    assert [trial.number for trial in store.run("own").trials()] == [0, 1, 2]
    store.close()


def test_what_an_optimizer_does_not_know_is_refused(url):
    with pytest.raises(UnknownName, match="did you mean 'search'"):
        optimize.Optimizer("d", "q", "1", model=chat(), store=url, serach="best")
