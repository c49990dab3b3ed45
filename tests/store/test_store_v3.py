"""A store of format 3, whose feedback was one complete text: nothing in it is lost or doubled."""

import json
import math
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from test_store_faults import check_integrity

from llm_optimize import optimize
from llm_optimize.evaluate import Repeats
from llm_optimize.propose.language.fences import fence
from llm_optimize.records import Status
from llm_optimize.store import Store

OLD = (
    Path(__file__).parents[1] / "data" / "store_v3.db"
)  # data/make_store_v3.py says how it was made
RUNS = ("amber", "birch", "cedar", "elder", "damson")
FACTS = (
    "score",
    "feedback",
    "parent",
    "output",
    "seconds",
    "seed",
    "scorings",
    "standard_error",
    "stage",
    "lesson",
)


@pytest.fixture
def path(tmp_path):
    return Path(shutil.copy(OLD, tmp_path / "runs.db"))


def rows(table):
    with closing(sqlite3.connect(OLD)) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(
            f"select t.*, run.name from {table} t join run on run.id = t.run_id"
        ).fetchall()


@pytest.mark.parametrize("name", RUNS)
def test_each_trial_holds_what_its_row_holds(path, name):
    """The rows are read without the library: in format 3 they hold the whole feedback."""
    expected = {
        row["number"]: dict(row)
        for row in rows("trial")
        if row["name"] == name and row["finished"]
    }
    for row in rows("scored_again"):
        if row["name"] == name:
            verdict = json.loads(row["verdict"])
            expected[row["trial"]] |= {
                **verdict,
                "metrics": json.dumps(verdict["metrics"]),
            }
    with closing(Store(str(path), create=False)) as store:
        trials = {trial.number: trial for trial in store.run(name).trials()}
    assert trials.keys() == expected.keys()
    for number, trial in trials.items():
        row = expected[number]
        assert {fact: getattr(trial, fact) for fact in FACTS} == {
            fact: row[fact] for fact in FACTS
        }
        assert (trial.status, trial.source, trial.finished_at) == (
            row["status"],
            row["source"],
            row["finished_at"],
        )
        assert [trial.x, trial.metrics, trial.instances] == [
            json.loads(row[column] or "null")
            for column in ("x", "metrics", "instances")
        ]


def test_what_was_learnt_is_read_in_its_order(path):
    with closing(Store(str(path), create=False)) as store:
        history = [
            (trial.number, trial.scorings) for trial in store.run("amber").history()
        ]
        again = store.run("amber").progress().again
        assert [info.name for info in store.runs()] == list(RUNS)
        assert [steer.kind for steer in store.run("amber").steers()] == [
            "hint",
            "pause",
            "go",
        ]
        assert (store.run("birch").origin.run, store.run("amber").func_version) == (
            "amber",
            "v1",
        )
    assert len(set(history)) == len(history) > len({number for number, _ in history})
    assert [entry.scorings for entry in again] == [3]


def test_what_was_not_finished_waits_as_it_was_left(path):
    with closing(Store(str(path), create=False)) as store:
        judged, proposed, *planned = store.run("damson").pending()
        replies = [call.trial for call in store.run("damson").calls() if call.reply]
    assert (judged.number, judged.proposal.x) == (1, "raise")
    assert (proposed.number, proposed.proposal.x) == (2, "8")
    assert [pending.proposal for pending in planned] == [None, None]
    assert planned[-1].number in replies


class Judge:
    """An f that remembers what it was asked; it is as noisy as the one that the runs began with."""

    def __init__(self):
        self.asked = []

    def __call__(self, x):
        self.asked.append(x)
        if isinstance(x, dict):
            return x["layers"] - abs(x["lr"] - 0.1)
        return float(
            x
        ) + random.random(), "errors by fold: a, b\nmean of absolute errors: 0.3"


def model(messages):
    number = sum(map(ord, str(messages))) % 100
    text = (
        f'{{"lr": {number / 100 + 0.001}, "layers": 4}}'
        if '"lr"' in str(messages)
        else f"{number / 10}"
    )
    return fence(text)


@pytest.mark.parametrize("name", RUNS)
def test_each_run_is_resumed(path, name):
    judge, url = Judge(), f"sqlite:///{path}"
    with closing(Store(url)) as store:
        before = store.run(name).trials()
        paid = [call.key for call in store.run(name).calls() if call.reply]
    more = {
        "model": model,
        "verbose": False,
        "repeats": Repeats(3),
        "sandbox": "inline",
    }
    result = optimize.resume(name, judge, store=url, max_steps=14, **more)
    assert len(result.trials) == 15
    kept = {
        trial.number: (trial.x, trial.status, trial.lesson) for trial in result.trials
    }
    assert {
        trial.number: (trial.x, trial.status, trial.lesson) for trial in before
    }.items() <= kept.items()
    assert all(
        trial.feedback.count("mean of") - trial.feedback.count("mean of absolute") <= 1
        for trial in result.trials
    )
    with closing(Store(url)) as store:
        assert [call.key for call in store.run(name).calls() if call.reply][
            : len(paid)
        ] == paid
        assert sorted(store.run(name).trials(), key=lambda trial: trial.number) == list(
            result.trials
        )
    check_integrity(path)


def test_what_had_been_paid_for_is_not_asked_again(path):
    judge, asked = Judge(), []

    def counted(messages):
        asked.append(messages)
        return model(messages)

    more = {
        "model": counted,
        "verbose": False,
        "sandbox": "inline",
        "store": f"sqlite:///{path}",
    }
    result = optimize.resume("damson", judge, max_steps=4, **more)
    assert [trial.x for trial in result.trials][:3] == ["1", "raise", "8"]
    assert (result.trials[1].status, result.trials[4].x) == (Status.FAILED, "9")
    assert "raise" not in judge.asked  # it is scored
    assert "ValueError: not a number" in result.trials[1].feedback
    assert judge.asked.count("8") == 1


@pytest.mark.parametrize("name", RUNS)
def test_each_run_is_forked(path, name):
    with closing(Store(str(path))) as store:
        old = store.run(name).trials()
        last = max(trial.number for trial in old)
        assert store.fork(name, last).trials() == old
        first = [trial for trial in old if trial.number == 0]
        assert [trial.x for trial in store.fork(name, 0).trials()] == [
            trial.x for trial in first
        ]


@pytest.mark.parametrize("name", RUNS)
def test_each_run_is_replayed(path, name):
    with closing(Store(str(path))) as store:
        old = store.run(name).trials()
    options = {"store": f"sqlite:///{path}", "verbose": False, "sandbox": "inline"}
    again = optimize.replay(name, Judge(), **options)
    xs = {trial.number: trial.x for trial in old}
    shared = [
        trial for trial in again.trials if trial.number in xs and trial.number <= 1
    ]
    assert [trial.x for trial in shared] == [xs[trial.number] for trial in shared]
    assert again.usage.calls == 0


def test_further_scorings_of_a_mean_come_to_the_same_mean(path):
    """Its single scores are not known: mean, standard error and number are, and that is enough."""
    scores = iter([4.0, 4.5, 5.0, 5.5, 6.0, 6.5] * 3)

    def f(x):
        return next(scores), "again"

    with closing(Store(str(path))) as store:
        old = {trial.number: trial for trial in store.run("elder").trials()}
    best = max(
        (trial for trial in old.values() if trial.scored), key=lambda trial: trial.score
    )
    known = best.scorings - round(best.metrics.get("failed_scorings", 0))
    options = {
        "model": lambda messages: fence("99"),
        "verbose": False,
        "sandbox": "inline",
        "repeats": Repeats(6),
    }

    def judge(x):
        return (9.0, "better") if x == "99" else f(x)

    result = optimize.resume(
        "elder", judge, store=f"sqlite:///{path}", max_steps=5, **options
    )
    again = result.trials[best.number]
    assert again.scorings == 6
    new = [4.0, 4.5]
    mean = (best.score * known + sum(new)) / (known + 2)
    squares = (
        best.standard_error**2 * known * (known - 1) + known * (best.score - mean) ** 2
    )
    error = math.sqrt(
        (squares + sum((score - mean) ** 2 for score in new))
        / (known + 1)
        / (known + 2)
    )
    assert math.isclose(again.score, mean)
    assert math.isclose(again.standard_error, error)
    failed = f", besides {best.scorings - known} without a score"
    assert f"mean of {known + 2} scorings{failed}: " in again.feedback
    assert again.feedback.count("mean of") == 1
