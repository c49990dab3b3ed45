"""From whatever f returns to one Score, and from whatever happens to one Evaluation."""

import asyncio
import math
import os
import threading
import time
from contextlib import closing
from decimal import Decimal
from fractions import Fraction

import numpy as np
import psutil
import pytest

from llm_optimize.errors import InvalidScore, UsageError
from llm_optimize.evaluate import IMPOSSIBLE, Evaluator, Judging, as_score
from llm_optimize.records import Limits, Score, Status


class Unreadable:
    def __str__(self):
        raise KeyError("no text")

    __repr__ = __str__


@pytest.mark.parametrize(
    ("raw", "value", "feedback"),
    [
        (1, 1.0, "f(x) = 1"),
        (0.25, 0.25, "f(x) = 0.25"),
        ((0.5, "half"), 0.5, "half"),
        ([0.5, "half"], 0.5, "half"),
        ((0.5, None), 0.5, ""),
        ((0.5, 7), 0.5, "7"),
        ({"score": 2, "feedback": "ok"}, 2.0, "ok"),
        ({"combined_score": 3}, 3.0, ""),
        ((1.0, {"feedback": "fine", "error": "none"}), 1.0, "fine\nerror: none"),
        (np.float64(1.5), 1.5, "f(x) = 1.5"),
        (np.int32(3), 3.0, "f(x) = 3"),
        (np.array(2.5), 2.5, "f(x) = 2.5"),
        (Score(4.0, "kept"), 4.0, "kept"),
        (Score(np.float32(4.0), None), 4.0, ""),
        (np.uint8(255), 255.0, "f(x) = 255"),
        (np.array(7), 7.0, "f(x) = 7"),
        (0.5 + 2**-40, 0.5 + 2**-40, "f(x) = 0.5"),
        ((1, Unreadable()), 1.0, "(the feedback cannot be read: KeyError)"),
    ],
)
def test_what_users_naturally_return_is_understood(raw, value, feedback):
    score = as_score(raw)
    assert (score.value, score.feedback) == (value, feedback)
    assert type(score.value) is float


def test_metrics_and_instances_are_kept_and_strange_ones_left_out():
    raw = {
        "score": 1,
        "size": 20,
        "flag": True,
        "bad": math.nan,
        "huge": 10**400,
        "instances": {"a": 0, "b": 1},
    }
    score = as_score(raw)
    assert score.metrics == {"size": 20.0}
    assert score.instances == {"a": 0.0, "b": 1.0}


class Liar(float):
    def __float__(self):
        return 666.0


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (math.nan, "is nan"),
        (math.inf, "is inf"),
        ((-math.inf, "x"), "is -inf"),
        (True, "is True, which is not a number"),
        (Unreadable(), "a value of type Unreadable, which is not a number"),
        (None, "is None, which is not a number"),
        ("0.5", "is '0.5', which is not a number"),
        (Liar(1.0), "which is not a number"),
        (1j, "a value of type complex, which is not a number"),
        (Decimal("0.5"), "a value of type Decimal, which is not a number"),
        (Fraction(1, 2), "a value of type Fraction, which is not a number"),
        (np.array([True, False]), "which is not a number"),
        (np.array("0.5"), "which is not a number"),
        (np.complex64(1), "which is not a number"),
        (np.float32("nan"), "is nan"),
        (np.array(math.inf), "is inf"),
        (np.datetime64("2026-01-01"), "which is not a number"),
        (Score(True), "is True, which is not a number"),
        (Score(np.bool_(True)), "which is not a number"),
        ({"score": np.nan}, "is nan"),
        (np.array([1.0]), "which is not a number"),
        (np.bool_(True), "which is not a number"),
        (10**400, "too large"),
        ((1, 2, 3), "returned 3 values"),
        ((), "returned 0 values"),
        ({"accuracy": 1}, "'accuracy': it needs a 'score'"),
        ({}, "nothing in it"),
        ({"score": None}, "is None"),
    ],
)
def test_what_is_no_score_is_refused_with_what_came(raw, words):
    with pytest.raises(InvalidScore, match=words):
        as_score(raw)


def score_all(func, xs, **options):
    defaults = {
        "sandbox": "inline",
        "limits": Limits(),
        "workers": 2,
        "timeout_secs": 20.0,
    }

    async def main():
        evaluator = Evaluator(func, **{**defaults, **options})
        try:
            return await asyncio.gather(
                *(evaluator.score(x, seed) for seed, x in enumerate(xs))
            )
        finally:
            evaluator.close()

    return asyncio.run(main())


def judge_x(x):
    if x == "raise":
        raise ValueError("no good")
    return {"nan": math.nan}.get(x, (len(x), f"{len(x)} letters"))


@pytest.mark.parametrize("sandbox", ["inline", "process"])
def test_each_x_becomes_a_score_or_says_what_it_was(sandbox):
    good, bad, nan = score_all(judge_x, ["abc", "raise", "nan"], sandbox=sandbox)
    assert (good.status, good.score, good.feedback) == (
        Status.COMPLETE,
        3.0,
        "3 letters",
    )
    assert (bad.status, bad.score) == (Status.FAILED, None)
    assert bad.feedback.rstrip().endswith("ValueError: no good")
    assert "judge_x" in bad.feedback  # the lines of the traceback that are the user's
    assert (nan.status, nan.score) == (Status.INVALID, None)


def test_an_async_inline_f_runs_on_the_loop_of_the_caller_under_its_deadline():
    async def f(x):
        if x == "slow":
            await asyncio.sleep(60)
        return float(threading.current_thread() is threading.main_thread())

    quick, slow = score_all(f, ["quick", "slow"], timeout_secs=0.5)
    assert quick.score == 1.0
    assert slow.status is Status.TIMEOUT


def test_no_more_than_workers_run_at_a_time():
    state = {"now": 0, "most": 0}
    lock = threading.Lock()
    both = threading.Barrier(2, timeout=10)

    def f(x):
        with lock:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
        both.wait()
        with lock:
            state["now"] -= 1
        return 1.0

    score_all(f, ["a", "b", "c", "d"])
    assert state["most"] == 2


def no_scores(x):
    raw = {
        "decimal": Decimal("0.5"),
        "object": object(),
        "set": {1.0},
        "complex": 1j,
        "array": np.array([1.0]),
        "bool": True,
        "numpy bool": np.bool_(True),
        "text": "0.5",
        "nothing": None,
        "infinity": np.float64("inf"),
        "nan in a pair": (math.nan, "well"),
    }
    return raw[x]


@pytest.mark.parametrize("sandbox", ["inline", "process"])
def test_what_is_no_score_is_invalid_at_every_level(sandbox):
    names = [
        "decimal",
        "object",
        "set",
        "complex",
        "array",
        "bool",
        "numpy bool",
        "text",
        "nothing",
        "infinity",
    ]
    for name, evaluation in zip(
        names, score_all(no_scores, names, sandbox=sandbox), strict=True
    ):
        assert (name, evaluation.status, evaluation.score) == (
            name,
            Status.INVALID,
            None,
        )
        assert "score" in evaluation.feedback
        assert evaluation.stage == ""


def test_a_score_above_the_highest_possible_one_is_refused_and_flagged(caplog):
    judging = Judging(max_score=1.0)
    just, rounded, above = score_all(
        float, ["1.0", "1.0000000000000002", "1.0001"], judging=judging
    )
    assert (just.status, just.score, just.stage) == (Status.COMPLETE, 1.0, "")
    assert (rounded.status, rounded.stage) == (Status.COMPLETE, "")
    assert (above.status, above.score, above.stage) == (
        Status.INVALID,
        None,
        IMPOSSIBLE,
    )
    assert "the score 1.0001 is above the highest possible one, 1" in above.feedback
    assert "1.0001" in caplog.text


@pytest.mark.parametrize("worst", [-5.0, -1e-9, 0.0])
def test_a_highest_score_may_be_any_number(worst):
    judging = Judging(max_score=worst)
    below, above = score_all(float, [repr(worst - 1), repr(worst + 1)], judging=judging)
    assert (below.score, above.score) == (worst - 1, None)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, "1"])
def test_a_highest_score_is_a_finite_number(value):
    with pytest.raises(UsageError, match="max_score"):
        Judging(max_score=value)


# Ends before the end.


def linger(x):
    with open(x, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(60)
    return 1.0


def test_cancelling_a_scoring_kills_it(tmp_path):
    def alive(path):
        return psutil.pid_exists(int(path.read_text()))

    async def main():
        limits = Limits(writable=(str(tmp_path),))
        with closing(
            Evaluator(
                linger, sandbox="process", limits=limits, workers=2, timeout_secs=60
            )
        ) as evaluator:
            paths = [tmp_path / "one", tmp_path / "other"]
            tasks = [
                asyncio.create_task(evaluator.score(str(path), 0)) for path in paths
            ]
            while not all(path.exists() and path.read_text() for path in paths):
                await asyncio.sleep(0.01)
            tasks[0].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]
            begun = time.monotonic()
            while alive(paths[0]):
                assert time.monotonic() < begun + 5
                await asyncio.sleep(0.01)
            assert alive(paths[1])
            assert not tasks[1].done()
            tasks[1].cancel()
            third = asyncio.create_task(
                evaluator.score(str(tmp_path / "third"), 0)
            )  # its slot is free at once
            while not (tmp_path / "third").exists():
                await asyncio.sleep(0.01)
            evaluator.close()
            assert (await third).status is Status.FAILED

    asyncio.run(asyncio.wait_for(main(), 30))


def test_an_async_f_that_cancels_itself_is_a_failed_trial():
    async def f(x):
        raise asyncio.CancelledError("by itself")

    (evaluation,) = score_all(f, ["x"])
    assert evaluation.status is Status.FAILED
    assert "by itself" in evaluation.feedback


def test_cancelling_ends_an_async_f():
    ended = []

    async def f(x):
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(x)

    async def main():
        with closing(
            Evaluator(f, sandbox="inline", limits=Limits(), workers=1, timeout_secs=60)
        ) as evaluator:
            task = asyncio.create_task(evaluator.score("x", 0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(main())
    assert ended == ["x"]
