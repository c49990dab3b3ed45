"""Incremental reads: a reader sees what is new once, and what was scored again."""

from __future__ import annotations

from contextlib import closing

import pytest

from builders import complete_trial
from llm_optimize.errors import UsageError
from llm_optimize.records import Plan, Proposal
from llm_optimize.store import Begun, Seen, Store
from llm_optimize.testing import changed


@pytest.fixture
def store(tmp_path):
    with closing(Store(str(tmp_path / "runs.db"))) as opened:
        yield opened


def finish(run, number, score, order):
    trial = complete_trial(number, score)
    run.finish(trial, order)
    return trial


def test_a_reader_sees_what_is_new_in_the_order_of_finishing(store):
    run = store.create_run("amber", {})
    for number in range(4):
        run.plan(number, Plan(None))
    run.propose(3, Proposal("x3", "model:m"))
    last, first = finish(run, 2, 2.0, 1), finish(run, 0, 1.0, 2)
    news = store.run("amber").progress()
    assert news.finished == (last, first)
    assert news.begun == (Begun(1, None, ""), Begun(3, None, "model:m"))
    assert (news.again, news.stop_reason) == ((), None)
    middle = finish(run, 1, 3.0, 3)
    run.end("max_steps")
    news = run.progress(Seen(above=0, finished=2))
    assert (news.finished, news.stop_reason) == ((middle,), "max_steps")
    assert [begun.number for begun in news.begun] == [3]


def test_further_scorings_are_read_once_and_stand_in_the_trial(store):
    run = store.create_run("amber", {})
    run.plan(0, Plan(None))
    trial = finish(run, 0, 1.0, 1)
    for score in (1.5, 1.25):
        run.score_again(changed(trial, score=score, standard_error=0.5, scorings=4), 1)
    first, second = run.progress().again
    assert [
        (again.trial, again.score, again.scorings) for again in (first, second)
    ] == [(0, 1.5, 4), (0, 1.25, 4)]
    assert run.progress(Seen(again=first.key)).again == (second,)
    assert run.trial(0) == changed(trial, score=1.25, standard_error=0.5, scorings=4)
    assert run.progress().finished == (trial,), "as it was scored first"


def test_other_runs_are_not_in_it(store):
    for name in ("amber", "birch"):
        run = store.create_run(name, {})
        run.plan(0, Plan(None))
        finish(run, 0, 1.0, 1)
    assert len(store.run("amber").progress().finished) == 1


def test_a_trial_that_is_not_finished_is_not_read(store):
    run = store.create_run("amber", {})
    run.plan(0, Plan(None))
    for number in (0, 1, -1):
        with pytest.raises(UsageError, match=f"no finished trial {number}"):
            run.trial(number)
