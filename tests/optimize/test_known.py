"""Warm start: scores that are known before a run are trials of it, and cost nothing."""

from __future__ import annotations

import json
import sys
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.cli import main
from llm_optimize.errors import StoreError, UsageError
from llm_optimize.space import Float
from llm_optimize.store import Store
from simulated import Counting, f, runner


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs.db")


@pytest.fixture
def go(url):
    return runner(url)


def facts(result):
    return [
        (trial.number, trial.source, trial.x, trial.score) for trial in result.trials
    ]


def test_known_scores_are_trials_and_neither_calls_of_f_nor_steps(go, url):
    called = []

    def counted(x):
        called.append(x)
        return float(x)

    model = Counting()
    known = [("40", 40), ["30", 30.5, "too low"]]
    result = go(model, counted, name="amber", known=known, max_steps=2)
    assert facts(result) == [
        (0, "x0", "1", 1.0),
        (1, "known", "40", 40.0),
        (2, "known", "30", 30.5),
        (3, "model:counting", "2", 2.0),
        (4, "model:counting", "3", 3.0),
    ]
    assert called == ["1", "2", "3"]
    assert (result.best_x, result.stop_reason) == ("40", "max_steps")
    assert result.trials[2].feedback == "too low"
    # The model builds on them.
    assert "too low" in str(model.asked[0])
    assert "40" in str(model.asked[0][-1])
    # And they are there once, in every later session.
    again = optimize.resume(
        "amber", counted, model=Counting(), store=url, verbose=False, max_steps=3
    )
    assert facts(again)[:5] == facts(result)
    assert len(again.trials) == 6


def test_without_x0_the_run_begins_with_what_is_known(go):
    model = Counting()
    result = go(model, x0=None, known=[("7", 7)], max_steps=1)
    assert facts(result) == [(0, "known", "7", 7.0), (1, "model:counting", "2", 2.0)]
    assert "score 7" in str(model.asked[0])


def test_mutation_changes_a_known_x_also_after_a_resume(go, url):
    result = go("mutation", x0=None, known=[("7", 7)], max_steps=2, name="amber")
    assert [trial.source for trial in result.trials] == [
        "known",
        "mutation",
        "mutation",
    ]
    more = optimize.resume("amber", f, store=url, verbose=False, max_steps=3)
    assert len(more.trials) == 4


def test_an_x_that_is_known_is_not_scored(go):
    called = []

    def counted(x):
        called.append(x)
        return float(x)

    result = go(Counting(), counted, known=[("1", 5), ("3", 9)], max_steps=2)
    assert called == ["2"]
    assert [
        (t.x, t.status.value, t.score) for t in result.trials if t.source != "known"
    ] == [
        ("1", "duplicate", 5.0),
        ("2", "complete", 2.0),
        ("3", "duplicate", 9.0),
    ]


def test_a_known_champion_of_a_noisy_f_is_scored_by_f_before_it_is_beaten(go):
    result = go(Counting(), known=[("9", 2.5)], repeats=3, max_steps=2)
    known = result.trials[1]
    assert (known.score, known.scorings) == (9.0, 3)


def test_scores_are_those_of_f_where_it_is_minimized(go):
    result = go(Counting(), known=[("0.5", 0.5)], direction="minimize", max_steps=1)
    assert (result.best_score, result.best_x) == (0.5, "0.5")


def test_several_x0_and_known_ones(go):
    result = go(Counting(), x0=["1", "2"], known=[("8", 8)], max_steps=1, workers=2)
    assert [trial.source for trial in result.trials[:3]] == ["x0", "x0", "known"]
    assert result.trials[3].number == 3


def test_parameters_are_checked_by_the_space(url):
    def call(known):
        return optimize.run(
            "t", "q", lambda x: -x["a"], max_steps=1, verbose=False, store=url,
            space={"a": Float(0, 2)}, proposer="random", known=known, sandbox="inline",
        )  # fmt: skip

    assert call([({"a": 1}, -1)]).trials[0].x == {"a": 1.0}
    with pytest.raises(
        UsageError, match=r"the space does not allow a = 5: the nearest is 2.0"
    ):
        call([({"a": 5}, -5)])


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (5, "known is 5: give a list of pairs"),
        ([5], "known holds 5: give pairs of an x and its score"),
        ([("1",)], "known holds"),
        ([(1, 2)], "known holds"),
        ([("1", 2, 3)], "known holds"),
        ([("1", float("nan"))], "the score of '1' is nan: give a finite number"),
        ([("1", "2")], "the score of '1' is '2': give a finite number"),
        ([("1", 2), ("1", 3)], "two scores of '1': give one"),
    ],
)
def test_what_cannot_be_known_is_refused_in_a_sentence(go, known, message):
    with pytest.raises(UsageError) as caught:
        go(Counting(), known=known)
    assert message in str(caught.value)


def test_the_same_call_again_does_not_add_them_twice_and_other_ones_are_refused(go):
    def again(known, steps):
        return go(
            Counting(), name="amber", load_if_exists=True, known=known, max_steps=steps
        )

    again([("8", 8), ("9", 9)], 1)
    assert len(again([("8", 8), ("9", 9)], 2).trials) == 5
    assert len(again([("9", 9)], 3).trials) == 6
    with pytest.raises(
        UsageError, match="score of '7' is 7, with which the run 'amber' did not"
    ):
        again([("7", 7)], 4)


def test_a_fork_and_a_replay_begin_with_them_too(go, url):
    result = go(Counting(), name="amber", known=[("8", 8)], max_steps=2)
    replayed = optimize.replay("amber", f, store=url, verbose=False)
    assert facts(replayed) == facts(result)
    forked = optimize.fork("amber", 0, store=url)
    more = optimize.resume(
        forked, f, model=Counting(), store=url, verbose=False, max_steps=1
    )
    assert [trial.source for trial in more.trials] == ["x0", "model:counting"]


def test_a_run_that_was_killed_before_they_were_stored_is_not_resumed_without_them(
    go, url
):
    go(Counting(), name="amber", known=[("8", 8)], max_steps=0)
    with closing(Store(url)) as store:
        settings = store.run("amber").settings
        store.create_run("birch", settings).close()
    with pytest.raises(UsageError, match="'birch' was killed before its known scores"):
        optimize.resume("birch", f, model=Counting(), store=url, verbose=False)
    with closing(Store(url)) as store, pytest.raises(StoreError):
        store.run("birch").begin_with([], 0)


def test_an_optimizer_takes_them(url):
    with optimize.Optimizer(
        "t", "q", model="mutation", known=[("7", 7)], store=url
    ) as opt:
        trial = opt.ask()
        assert (trial.number, trial.parent) == (1, 0)
        assert opt.result.best_score == 7


def test_the_command_line_reads_a_file_of_json_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "judge_of_known.py").write_text("def f(x):\n    return float(x)\n")
    rows = [["70", 70.0], ["60", 60.0, "nearly"]]
    (tmp_path / "known.jsonl").write_text("\n\n".join(map(json.dumps, rows)))
    words = [
        *("run", "--task", "t", "--func", "judge_of_known.py:f", "--model", "mutation"),
        *("--sandbox", "inline", "-q", "--steps", "0", "--name", "amber"),
    ]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--known", "known.jsonl"])
    assert ended.value.code == 0
    with closing(Store("runs.db")) as store:
        assert [trial.score for trial in store.run("amber").trials()] == [70.0, 60.0]
    (tmp_path / "known.jsonl").write_text('["70", 70.0]\nno')
    with pytest.raises(SystemExit):
        main([*words, "--known", "known.jsonl"])
    assert (
        "line 2 of the file known.jsonl of --known is not JSON"
        in capsys.readouterr().err
    )
