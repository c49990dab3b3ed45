"""What is written beside trials: further scorings, and what watchers want."""

from __future__ import annotations

from contextlib import closing

import pytest

from builders import complete_trial
from llm_optimize.errors import RunNotFound, UnknownName, UsageError
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.store import Store
from llm_optimize.testing import changed


@pytest.fixture
def store(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as opened:
        yield opened


def finish(run, number, score, order):
    run.plan(number, Plan(None))
    trial = complete_trial(number, score)
    run.finish(trial, order)
    return trial


def test_a_trial_that_is_scored_again_stands_in_the_history_twice_and_once_among_the_trials(
    store,
):
    run = store.create_run("amber", {})
    old, second = finish(run, 0, 1.0, 1), finish(run, 1, 2.0, 2)
    new = changed(old, score=1.5, standard_error=0.25, scorings=3)
    run.score_again(new, after=2)
    third = finish(run, 2, 3.0, 3)
    assert run.history() == [old, second, new, third]
    assert run.trials() == [new, second, third]


def test_a_fork_takes_along_what_was_known_at_its_last_trial(store):
    run = store.create_run("amber", {})
    old, second = finish(run, 0, 1.0, 1), finish(run, 1, 2.0, 2)
    new = changed(old, score=1.5, standard_error=0.25, scorings=3)
    run.score_again(new, after=2)
    finish(run, 2, 3.0, 3)
    assert store.fork("amber", 1).history() == [old, second, new]
    assert store.fork("amber", 0).history() == [old]


def test_a_champion_may_lose_its_score(store):
    run = store.create_run("amber", {})
    old = finish(run, 0, 1.0, 1)
    new = changed(
        old,
        status=Status.FAILED,
        score=None,
        scorings=3,
        feedback="no score \udc80",
        metrics={"failed": 2.0},
    )
    run.score_again(new, after=1)
    assert run.trials() == [new]


def test_named_fields_of_a_trial_come_back(store):
    run = store.create_run("amber", {})
    run.plan(0, Plan(None))
    decided = {"gate": "adaptive", "who": "model", "slope": 0.5}
    trial = Trial.of(
        0,
        "x",
        Status.FAILED,
        "x0",
        stage="minibatch",
        lesson="Smaller.",
        decision=decided,
        scorings=4,
        standard_error=0.5,
    )
    run.finish(trial, 1)
    assert run.trials() == [trial]
    assert run.trials()[0].finished_at > 1e9


def test_steers_are_read_in_their_order_and_from_any_on(store):
    run = store.create_run("amber", {})
    first = store.steer("amber", "hint", "Do not change the loader.")
    second = store.steer("amber", "stop")
    assert [steer.kind for steer in run.steers()] == ["hint", "stop"]
    assert run.steers()[0].text == "Do not change the loader."
    assert run.steers(after=first.key) == [second]


def test_a_wrong_steer_is_refused(store):
    store.create_run("amber", {})
    with pytest.raises(UnknownName, match="stop"):
        store.steer("amber", "stopp")
    with pytest.raises(UsageError, match="empty"):
        store.steer("amber", "hint", " ")
    with pytest.raises(RunNotFound):
        store.steer("ambre", "stop")
