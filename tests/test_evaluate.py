"""From whatever f returns to one Score, and from whatever happens to one Evaluation."""

import asyncio
import math
import threading

import numpy as np
import pytest

from llm_optimize.errors import InvalidScore
from llm_optimize.evaluate import Evaluator, as_score
from llm_optimize.records import Limits, Score, Status


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
    ],
)
def test_what_users_naturally_return_is_understood(raw, value, feedback):
    score = as_score(raw)
    assert (score.value, score.feedback) == (value, feedback)
    assert type(score.value) is float


def test_metrics_and_instances_are_kept_and_strange_ones_left_out():
    score = as_score({"score": 1, "size": 20, "flag": True, "bad": math.nan, "instances": {"a": 0, "b": 1}})
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
        (True, "is True, no number"),
        (None, "is None, no number"),
        ("0.5", "is '0.5', no number"),
        (Liar(1.0), "no number"),
        (1j, "no number"),
        (np.array([1.0]), "no number"),
        (np.bool_(True), "no number"),
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
    defaults = {"sandbox": "inline", "limits": Limits(), "workers": 2, "timeout_secs": 20.0}

    async def main():
        evaluator = Evaluator(func, **{**defaults, **options})
        try:
            return await asyncio.gather(*(evaluator.score(x, seed) for seed, x in enumerate(xs)))
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
    assert (good.status, good.score, good.feedback) == (Status.COMPLETE, 3.0, "3 letters")
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
