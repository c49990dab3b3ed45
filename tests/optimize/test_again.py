"""The same call made again: goes on, returns what is finished, and never mixes two f."""

from __future__ import annotations

import logging
import math
import sys
from contextlib import closing

import pytest

from llm_optimize import optimize
from llm_optimize.cli import main
from llm_optimize.errors import FunctionChanged, UsageError
from llm_optimize.evaluate import Examples
from llm_optimize.loading import load
from llm_optimize.records import RunEnded, RunStarted, ScoredAgain
from llm_optimize.space import Float
from llm_optimize.store import Store
from simulated import Counting, f, runner


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "runs.db")


@pytest.fixture
def go(url):
    """Run as a script does that may be started again: the same call goes on."""
    run = runner(url)

    def again(model, func=f, **options):
        return run(model, func, **{"name": "amber", "load_if_exists": True, **options})

    return again


def stored(url, name="amber"):
    with closing(Store(url)) as store:
        return store.run(name).settings


# Again.


def test_the_same_call_begins_a_run_and_then_goes_on_with_it(go, url):
    first, second = Counting(), Counting()
    assert len(go(first, max_steps=2, seed=7).trials) == 3
    more = go(second, max_steps=4, seed=7)
    assert [trial.number for trial in more.trials] == [0, 1, 2, 3, 4]
    assert (len(first.asked), len(second.asked)) == (2, 2)
    assert stored(url)["max_steps"] == 4


def test_without_it_the_name_is_taken_and_the_sentence_says_what_goes_on(go):
    go(Counting(), max_steps=0)
    with pytest.raises(UsageError, match=r"exists in .*load_if_exists=True"):
        go(Counting(), max_steps=0, load_if_exists=False)


def test_it_needs_a_name(go):
    with pytest.raises(UsageError, match=r"load_if_exists .* give name=\.\.\."):
        go(Counting(), name=None)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("x0", "9", "x0 is ['9'], and the run 'amber' has ['1']: it has been scored"),
        ("seed", 8, "seed is 8, and the run 'amber' has 7: "),
        (
            "direction",
            "minimize",
            "direction is 'minimize', and the run 'amber' has 'maximize'",
        ),
        ("space", {"a": Float(0, 1)}, "space is "),
    ],
)
def test_what_cannot_change_is_refused_with_both_values(go, option, value, message):
    go(Counting(), max_steps=0, seed=7)
    options = {"max_steps": 0, "seed": 7, option: value}
    if option == "space":
        options["x0"] = None
    with pytest.raises(UsageError) as caught:
        go(Counting(), **options)
    assert message in str(caught.value)


def test_another_task_is_refused_also_where_it_differs_far_behind(url):
    def call(task):
        optimize.run(
            task, "q", f, "1", 0, "mutation", False, name="a", store=url,
            load_if_exists=True, sandbox="inline",
        )  # fmt: skip

    call("Raise f. " * 30 + "Slowly.")
    call("Raise f. " * 30 + "Slowly.")
    with pytest.raises(
        UsageError, match=r"task_description is '?\.\.\..*Quickly.*Slowly"
    ):
        call("Raise f. " * 30 + "Quickly.")


def test_a_run_with_a_space_is_the_same_run_in_the_words_of_its_space(url):
    for expected in (
        "max_steps",
        "finished: 0 of 0 steps; give max_steps=2 (--steps 2) for more",
    ):
        result = optimize.run(
            "t", "q", lambda x: -x["a"], {"a": 1}, 0, verbose=False, name="a", store=url,
            space={"a": Float(0, 2)}, proposer="mutation", load_if_exists=True, sandbox="inline",
        )  # fmt: skip
        assert result.stop_reason == expected


# Finished.


def test_a_finished_run_costs_nothing_and_is_not_presented_as_though_it_had_run(
    go, url
):
    go(Counting(), max_steps=2)
    events, silent = [], Counting()
    before = stored(url)
    again = go(silent, func=f, max_steps=2, callbacks=[events.append])
    assert (
        again.stop_reason
        == "finished: 2 of 2 steps; give max_steps=4 (--steps 4) for more"
    )
    assert (again.best_score, len(again.trials), again.usage.calls) == (3.0, 3, 2)
    assert silent.asked == []
    assert [type(event) for event in events] == [RunEnded]
    assert stored(url) == before
    with closing(Store(url)) as store:
        assert store.run("amber").stop_reason == "max_steps"


def test_a_finished_run_is_said_to_be_so_in_the_terminal(go, url, capsys):
    go(Counting(), max_steps=1)
    optimize.resume("amber", f, model=Counting(), store=url)
    *_, said, look = capsys.readouterr().out.splitlines()
    assert said.startswith(
        "finished: 1 of 1 steps; give max_steps=2 (--steps 2) for more: best 2 in trial 1"
    )
    assert "llm-optimize show amber" in look


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"max_steps": 1},
            "finished: 2 of 1 steps; give max_steps=4 (--steps 4) for more",
        ),
        ({"budget": {"scorings": 3}}, None),
    ],
)
def test_fewer_steps_than_are_done_and_another_cap(go, url, options, reason):
    go(Counting(), max_steps=2)
    result = optimize.resume(
        "amber", f, model=Counting(), store=url, verbose=False, **options
    )
    assert result.stop_reason == (
        reason or "finished: 2 of 2 steps; give max_steps=4 (--steps 4) for more"
    )


def test_each_cap_says_how_to_have_more(go, url):
    budget = {"scorings": 2}
    go(Counting(), budget=budget)
    again = go(Counting(), budget=budget)
    assert again.stop_reason == (
        "finished: 2 of 2 scorings; give budget={'scorings': 4} (--max-scorings 4) for more"
    )
    assert go(Counting(), budget={"scorings": 3}).best_score == 3.0
    result = go(Counting(), name="goal", stop_score=2)
    assert result.stop_reason == "stop_score"
    result = go(Counting(), name="goal", stop_score=2)
    assert result.stop_reason == "finished: the best score reaches stop_score=2"


def test_a_finished_run_needs_no_key(go, url):
    go(Counting(), max_steps=1)
    again = go("gpt-5-mini", max_steps=1)
    assert again.stop_reason.startswith("finished")


# A changed f.

F = "def f(x):\n    return {body}\n"


@pytest.fixture
def judge(tmp_path, monkeypatch):
    """Return a function that writes f into a file and loads it from there."""
    monkeypatch.setattr(sys, "path", list(sys.path))

    def make(body, file="judge_of_again.py"):
        (tmp_path / file).write_text(F.format(body=body))
        return load(f"{tmp_path / file}:f")

    return make


def test_a_changed_f_is_refused_and_named(go, url, judge):
    go(Counting(), judge("float(x)"), max_steps=2)
    changed = judge("100 + float(x)")
    with pytest.raises(
        FunctionChanged, match=r"'amber' .* another f \(f changed\).*'ok'"
    ):
        go(Counting(), changed, max_steps=4)
    with pytest.raises(FunctionChanged):
        optimize.resume("amber", changed, model=Counting(), store=url, max_steps=4)
    with pytest.raises(UsageError, match="func_changed is 'yes': give 'ok'"):
        go(Counting(), changed, func_changed="yes")
    # The same again, with a comment, goes on.
    assert len(go(Counting(), judge("float(x)  # fine"), max_steps=3).trials) == 4


def test_ok_scores_the_champion_anew_before_anything_else(go, url, judge, caplog):
    go(Counting(), judge("float(x)"), max_steps=3)  # 1, 2, 3, 4
    events = []
    with caplog.at_level(logging.WARNING, "llm_optimize"):
        result = go(
            Counting(), judge("10 * float(x)"), max_steps=4,
            func_changed="ok", callbacks=[events.append],
        )  # fmt: skip
    kinds = [type(event) for event in events]
    assert kinds[0] is RunStarted
    again = [event.trial for event in events if isinstance(event, ScoredAgain)]
    assert [(trial.number, trial.score) for trial in again] == [(3, 40.0)]
    assert kinds.index(ScoredAgain) < 3
    assert [trial.score for trial in result.trials] == [1.0, 2.0, 3.0, 40.0, 20.0]
    assert result.best.number == 3
    assert "f of the run amber has changed (f)" in caplog.text
    # From here on this is its f.
    final = go(Counting(), judge("10 * float(x)"), max_steps=4)
    assert (final.best_score, final.stop_reason[:8]) == (40.0, "finished")
    with pytest.raises(FunctionChanged):
        go(Counting(), judge("float(x)"), max_steps=5)


def test_an_f_with_lower_scores_scores_the_best_until_the_best_is_its_own(go, judge):
    go(Counting(), judge("float(x)"), max_steps=4)  # 1 to 5
    result = go(
        "mutation", judge("float(x) / 2 if float(x) > 3 else float(x)"), max_steps=4,
        func_changed="ok",
    )  # fmt: skip
    # 5 is 2.5 now, so 4 is best and becomes 2, so 3 is best and stays 3: the rest is lower.
    assert [trial.score for trial in result.trials] == [1.0, 2.0, 3.0, 2.0, 2.5]
    assert result.best.number == 2
    with closing(Store(result.store)) as store:
        run = store.run("amber")
        assert [trial.number for trial in run.trials() if trial.scorings != 1] == []
        assert len(run.progress().again) == 3


def test_the_lowest_is_scored_anew_where_f_is_minimized(go, judge):
    options = {"direction": "minimize", "max_steps": 3}
    go(Counting(), judge("-float(x)"), **options)  # -1 to -4
    result = go("mutation", judge("-10 * float(x)"), func_changed="ok", **options)
    assert [trial.score for trial in result.trials] == [-1.0, -2.0, -3.0, -40.0]
    again = go("mutation", judge("-10 * float(x)"), **options)
    assert (again.best_score, again.stop_reason[:8]) == (-40.0, "finished")


def test_an_exploit_that_the_changed_f_refuses_is_no_champion_any_more(go, judge):
    go(Counting(), judge("float(x)"), max_steps=3)
    result = go("mutation", judge("float(x) if x != '4' else 1 / 0"), max_steps=3,
                func_changed="ok")  # fmt: skip
    assert [trial.score for trial in result.trials] == [1.0, 2.0, 3.0, None]
    assert "ZeroDivisionError" in result.trials[3].feedback


def test_an_f_that_scores_nothing_any_more_leaves_all_scores_as_they_are(
    go, url, judge
):
    go(Counting(), judge("float(x)"), max_steps=3)
    broken = go(Counting(), judge("1 / 0"), max_steps=4, func_changed="ok")
    assert broken.stop_reason.startswith(
        "error: the changed f gives no score to the best"
    )
    assert [trial.score for trial in broken.trials] == [1.0, 2.0, 3.0, 4.0]
    mended = go(Counting(), judge("float(x) + 1"), max_steps=3, func_changed="ok")
    assert (mended.best_score, mended.best.number) == (5.0, 3)


def test_a_kill_before_the_champion_is_scored_anew_is_made_good(go, url, judge):
    go(Counting(), judge("float(x)"), max_steps=2)
    # As a process leaves it that has accepted the changed f, and was killed then.
    changed = judge("10 * float(x)")
    killed = go(
        Counting(), changed, max_steps=2, func_changed="ok", budget={"seconds": 1e-9}
    )
    assert killed.best_score == 30.0
    with closing(Store(url)) as store:
        held = store.hold("amber")
        seen = held.seen_now()
        held.change({**held.settings, "old_scores": [seen.finished, seen.again]})
        held.end(None)
    again = go(Counting(), changed, max_steps=3)
    with closing(Store(url)) as store:
        assert [one.trial for one in store.run("amber").progress().again] == [2, 2]
    assert again.best_score == 30.0


def test_a_run_without_any_score_scores_x0_by_the_mended_f_without_a_word(go, judge):
    failed = go(Counting(), judge("1 / 0"), max_steps=1)
    assert math.isnan(failed.best_score)
    mended = go(Counting(), judge("float(x)"), max_steps=2)
    # The x of trial 1 comes once more: what f said of it before is not taken for its score.
    assert [trial.score for trial in mended.trials] == [1.0, None, 2.0]


def test_a_func_version_must_change_with_f(go, judge):
    go(Counting(), judge("float(x)"), max_steps=1, func_version="1")
    changed = judge("2 * float(x)")
    with pytest.raises(UsageError, match="func_version '1' still names the one before"):
        go(Counting(), changed, max_steps=1, func_version="1", func_changed="ok")
    result = go(Counting(), changed, max_steps=1, func_version="2", func_changed="ok")
    assert result.best_score == 4.0


def test_stages_and_examples_are_part_of_f(go):
    def loose(x):
        return 1.0

    def strict(x):
        return 2.0

    def on(x, example):
        return float(x) * example

    go(Counting(), [loose, f], max_steps=0)
    with pytest.raises(FunctionChanged, match="f changed"):
        go(Counting(), [strict, f], max_steps=1)
    go(Counting(), on, name="b", max_steps=0, examples=Examples([1, 2]))
    with pytest.raises(FunctionChanged, match="examples changed"):
        go(Counting(), on, name="b", max_steps=1, examples=Examples([1, 3]))


def test_old_stores_without_hashes_go_on_without_a_word(go, url, judge):
    go(Counting(), judge("float(x)"), max_steps=1)
    with closing(Store(url)) as store:
        held = store.hold("amber")
        settings = dict(held.settings)
        del settings["func_hashes"], settings["old_scores"]
        held.change(settings)
    # Its model proposes 2 once more: the score is the stored one.
    assert go(Counting(), judge("9 + float(x)"), max_steps=2).best_score == 2.0


def test_a_fork_of_a_run_whose_f_changed_trusts_no_score_that_it_took_over(
    go, url, judge
):
    go(Counting(), judge("float(x)"), max_steps=3)
    changed = judge("10 * float(x)")
    go(Counting(), changed, max_steps=3, func_changed="ok")
    forked = optimize.fork(
        "amber", 2, store=url
    )  # without the trial that was scored anew
    result = optimize.resume(forked, changed, model=Counting(), max_steps=2, store=url,
                             verbose=False)  # fmt: skip
    assert [trial.score for trial in result.trials] == [1.0, 2.0, 30.0]


def test_a_replay_takes_any_f_and_keeps_its_own(go, url, judge):
    go(Counting(), judge("float(x)"), max_steps=2)
    other = judge("-float(x)")
    replayed = optimize.replay("amber", other, store=url, verbose=False)
    assert [trial.score for trial in replayed.trials] == [-1.0, -2.0, -3.0]
    assert stored(url, replayed.name)["func_hashes"] != stored(url)["func_hashes"]


def test_a_comparison_never_mixes_two_f(url, judge):
    def compare(func):
        return optimize.compare(
            "t", "q", func, "1", contenders={"a": "best", "b": "tree"}, budget=2, seeds=1,
            store=url, name="duel", model="mutation", sandbox="inline",
        )  # fmt: skip

    compare(judge("float(x)"))
    compare(judge("float(x)  # the same"))
    with pytest.raises(
        UsageError, match=r"'duel/a/0' was scored by another f \(f changed\)"
    ):
        compare(judge("2 * float(x)"))


# On the command line.


def test_the_command_line_has_its_own_words_for_all_this(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    file = tmp_path / "judge_of_cli.py"
    file.write_text(F.format(body="float(x)"))

    def call(*words):
        with pytest.raises(SystemExit) as ended:
            main([*words, "--sandbox", "inline", "-q"])
        return ended.value.code, capsys.readouterr().err

    run = [
        "run",
        "--task",
        "t",
        "--func",
        f"{file}:f",
        "--x0",
        "1",
        "--model",
        "mutation",
    ]
    again = [*run, "--name", "amber", "--resume"]
    assert call(*again, "--steps", "1")[0] == 0
    assert call(*again, "--steps", "2", "--workers", "2")[0] == 0
    assert stored("runs.db")["workers"] == 2
    assert call(*again, "--steps", "2") == (0, "")
    assert stored("runs.db")["workers"] == 2
    code, said = call(*run, "--name", "amber")
    assert (code, "go on with it by --resume, or" in said) == (2, True)
    code, said = call(*run, "--resume")
    assert (code, "--resume goes on with the run of a name" in said) == (2, True)
    code, said = call(*run, "--x0", "7", "--name", "amber", "--resume")
    assert (code, said.startswith("error: --x0 is ")) == (2, True)
    file.write_text(F.format(body="3 * float(x)"))
    code, said = call("resume", "amber", "--steps", "3")
    assert (code, "give --func-changed ok to score its champion anew" in said) == (
        2,
        True,
    )
    assert call("resume", "amber", "--steps", "3", "--func-changed", "ok")[0] == 0
    file.write_text(F.format(body="9 * float(x)"))
    assert call(*again, "--steps", "3", "--func-changed", "ok")[0] == 0
    with closing(Store("runs.db")) as store:
        assert len(store.run("amber").progress().again) >= 2
