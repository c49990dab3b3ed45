"""Several scoring functions, cheap ones first: an x that fails one is scored no further."""

import asyncio
import math
import os
from contextlib import closing

import pytest

from llm_optimize.errors import UsageError
from llm_optimize.evaluate import (
    IMPOSSIBLE,
    SYNTAX,
    Evaluator,
    Judging,
    Stage,
    as_stages,
)
from llm_optimize.records import Limits, Status, Trial


def count(x):
    if x == "raise":
        raise ValueError("no good")
    if x == "nan":
        return math.nan
    if x == "slow":
        while True:
            pass
    return {"score": len(x), "feedback": f"{len(x)} letters", "pid": os.getppid()}


def vowels(x):
    print("looked for vowels")
    return {
        "score": sum(letter in "aeiou" for letter in x),
        "feedback": "vowels",
        "pid": os.getppid(),
    }


def full(x):
    if x == "bottom":
        raise RuntimeError("at the bottom")
    return {
        "score": float(x.count("a")),
        "feedback": "all of it",
        "size": 1,
        "pid": os.getppid(),
    }


STAGES = [
    Stage(count, threshold=3, timeout_secs=1.0),
    (vowels, 1),
    Stage(full, threshold=1, name="full"),
]


def score_all(func, xs, sandbox="process", parent=None, **judging):
    async def main():
        options = {
            "limits": Limits(),
            "workers": 2,
            "timeout_secs": 20.0,
            "judging": Judging(**judging),
        }
        with closing(Evaluator(func, sandbox=sandbox, **options)) as evaluator:
            return await asyncio.gather(
                *(evaluator.score(x, seed, parent) for seed, x in enumerate(xs))
            )

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("x", "status", "stage", "words"),
    [
        ("ab", Status.FAILED, "count", "'count' (score 2, below 3):\n2 letters"),
        ("raise", Status.FAILED, "count", "ValueError: no good"),
        ("nan", Status.INVALID, "count", "the score is nan"),
        ("slow", Status.TIMEOUT, "count", "deadline"),
        ("xyz", Status.FAILED, "vowels", "'vowels' (score 0, below 1)"),
        ("bottom", Status.FAILED, "full", "RuntimeError: at the bottom"),
    ],
)
def test_who_fails_a_stage_has_no_score_and_says_which(x, status, stage, words):
    (evaluation,) = score_all(STAGES, [x])
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        status,
        None,
        stage,
    )
    assert words in evaluation.feedback
    assert evaluation.scorings == 1


def test_the_last_stage_gives_the_score_and_the_others_metrics():
    (evaluation,) = score_all(STAGES, ["banana"])
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.COMPLETE,
        3.0,
        "",
    )
    assert evaluation.feedback == "all of it"
    pids = {
        name: value
        for name, value in evaluation.metrics.items()
        if name.endswith("pid")
    }
    others = {
        name: value for name, value in evaluation.metrics.items() if name not in pids
    }
    assert others == {"count.score": 6.0, "vowels.score": 3.0, "size": 1.0}
    assert set(pids) == {"count.pid", "vowels.pid", "pid"}
    assert evaluation.output == "looked for vowels\n"
    assert evaluation.scorings == 1


def test_all_stages_are_called_below_one_warm_process():
    (evaluation,) = score_all([count, vowels, full], ["banana"])
    assert (
        len(
            {
                value
                for name, value in evaluation.metrics.items()
                if name.endswith("pid")
            }
        )
        == 1
    )


def test_a_score_of_the_last_stage_stands_below_its_threshold():
    (evaluation,) = score_all(STAGES, ["hello"])
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.COMPLETE,
        0.0,
        "full",
    )
    assert "below 1" in evaluation.feedback


def test_metrics_are_kept_of_who_fails_later():
    (evaluation,) = score_all(STAGES, ["xyz"])
    assert {"count.score", "count.pid", "vowels.score", "vowels.pid"} == set(
        evaluation.metrics
    )


def test_nothing_behind_a_failed_stage_is_called(tmp_path):
    def mark(x):
        (tmp_path / "marked").touch()
        return 1.0

    score_all([(len, 5), mark], ["abc"], sandbox="inline")
    assert not (tmp_path / "marked").exists()
    score_all([(len, 3), mark], ["abc"], sandbox="inline")
    assert (tmp_path / "marked").exists()


def test_an_async_stage_stands_beside_a_plain_one_inline():
    async def slow(x):
        await asyncio.sleep(0)
        return float(x) + 1

    (evaluation,) = score_all(
        [(float, 0), slow, Stage(float, name="last")], ["2"], sandbox="inline"
    )
    assert (evaluation.score, evaluation.metrics["slow.score"]) == (2.0, 3.0)


def test_only_the_last_stage_is_held_to_the_highest_score():
    good, bad = score_all(
        [(len, 1), float], ["0.5", "1.5"], sandbox="inline", max_score=1.0
    )
    assert (good.score, good.metrics["len.score"]) == (0.5, 3.0)
    assert (bad.status, bad.stage) == (Status.INVALID, IMPOSSIBLE)


# Syntax.


def touch(x):
    raise AssertionError("f was called")


def parent(x):
    return Trial.of(0, x, Status.COMPLETE, "x0", score=1.0)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ("x = 1\ny = (2", "line 2: '(' was never closed\n    y = (2"),
        ("def f():\nreturn 1", "line 2: expected an indented block"),
        ("return 1", "line 1: 'return' outside function"),
        ("x = 1\x00", "null bytes"),
        ("\tx = 1\n  y = 2", "line"),
        ("The answer is 5.", "line 1"),
    ],
)
def test_python_that_does_not_compile_fails_before_f_is_called(x, words):
    (evaluation,) = score_all(
        [touch, touch], [x], sandbox="inline", parent=parent("x = 1")
    )
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.FAILED,
        None,
        SYNTAX,
    )
    assert words in evaluation.feedback
    assert evaluation.scorings == 0


@pytest.mark.parametrize(
    ("x", "model"),
    [
        ("The answer is 5.", "Be brief."),
        ("hello world", "hello"),
        ("note: this is it", "note: this"),
        ("x = (", "y = )"),
        ("return (", "return 1"),  # a fragment that f completes
        ({"a": 1}, "x = 1"),
        ("x = '\\d'", "x = 1"),
        ({"notes": "a b"}, {"main.py": "x = 1"}),
        ("x = 1", "x = 2"),
        ("x = " + "1+" * 40_000 + "1", "x = 1"),
    ],
)
def test_what_need_not_be_python_is_left_to_f(x, model):
    (evaluation,) = score_all(
        [Stage(lambda x: 1.0, name="f")], [x], sandbox="inline", parent=parent(model)
    )
    assert (evaluation.status, evaluation.stage) == (Status.COMPLETE, "")


def test_a_part_of_a_dict_is_compared_with_the_parents():
    model = parent({"main.py": "x = 1", "notes.md": "Be brief."})
    (evaluation,) = score_all(
        [touch],
        [{"notes.md": "a (b", "main.py": "x ="}],
        sandbox="inline",
        parent=model,
    )
    assert evaluation.stage == SYNTAX
    assert "main.py, line 1" in evaluation.feedback


def test_a_plain_f_sees_every_x_and_so_does_who_has_no_parent():
    (evaluation,) = score_all(
        lambda x: 1.0, ["x = ("], sandbox="inline", parent=parent("x = 1")
    )
    assert evaluation.score == 1.0
    (evaluation,) = score_all([lambda x: 1.0], ["x = ("], sandbox="inline")
    assert evaluation.score == 1.0


# What stages can be.


def test_stages_are_named_by_their_functions_and_told_apart():
    stages = as_stages([len, (len, 2), Stage(len, name="last"), Stage(len)])
    assert [stage.title for stage in stages] == ["len", "len-2", "last", "len-3"]
    assert [stage.threshold for stage in stages] == [None, 2, None, None]

    def syntax(x):
        return 1.0

    assert as_stages([syntax])[0].title == "syntax-1"
    assert as_stages(syntax)[0].func is syntax


@pytest.mark.parametrize(
    ("func", "words"),
    [
        ([], "empty"),
        ("len", "func is 'len'"),
        (None, "func is None"),
        ([len, 3], "a stage is 3"),
        ((len, 0.5), "a stage is 0.5"),
        ([(len, 0.5, "name")], "a stage is"),
        ([(len, "0.5")], "threshold"),
        ([(len, math.nan)], "threshold"),
        ([(len, True)], "threshold"),
        ([Stage(len, name="a"), Stage(len, name="a")], "two stages are named 'a'"),
    ],
)
def test_what_is_no_stage_is_refused(func, words):
    with pytest.raises(UsageError, match=words):
        as_stages(func)


@pytest.mark.parametrize(
    "options",
    [
        {"name": SYNTAX},
        {"name": ""},
        {"name": 3},
        {"timeout_secs": 0},
        {"timeout_secs": "1"},
    ],
)
def test_a_stage_has_a_free_name_and_time(options):
    with pytest.raises(UsageError):
        Stage(len, **options)
