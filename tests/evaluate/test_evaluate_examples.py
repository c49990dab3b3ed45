"""f(x, example): a few examples first, all when x is promising; deciding ones are not shown."""

import asyncio
import gc
import math
import os
import statistics
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from llm_optimize.errors import UsageError
from llm_optimize.evaluate import (
    IMPOSSIBLE,
    MINIBATCH,
    Evaluator,
    Examples,
    Judging,
    Repeats,
)
from llm_optimize.records import Limits, Proposal, Status, Trial

TRAIN = [f"train-{number}" for number in range(10)]
VAL = [f"val-{number}" for number in range(8)]
TEST = [f"test-{number}" for number in range(6)]


def f(x, example):
    """Score by what x says: "0.5", or "0.5 but train-3 0.1 val-1 raise"."""
    with open(os.environ["CALLS"], "a") as file:
        file.write(f"{x}|{example}\n")
    usual, *others = x.replace("but", "").split()
    word = dict(zip(others[::2], others[1::2], strict=True)).get(example, usual)
    print(f"saw {example}")
    if word == "raise":
        raise ValueError(f"cannot do {example}")
    return {
        "score": float(word),
        "feedback": f"feedback on {example}",
        "size": len(example),
    }


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Return a function that says which calls of f there were."""
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("CALLS", str(path))
    return lambda: [tuple(line.split("|")) for line in path.read_text().splitlines()]


def judged(work, examples, func=f, sandbox="inline", workers=2, **judging):
    async def main():
        limits = Limits(
            env=("CALLS",),
            writable=tuple(
                filter(None, [os.path.dirname(os.environ.get("CALLS", ""))])
            ),
        )
        options = {"limits": limits, "workers": workers, "timeout_secs": 20.0}
        made = Judging(examples=examples, **judging)
        with closing(
            Evaluator(func, sandbox=sandbox, judging=made, **options)
        ) as evaluator:
            return await work(evaluator)

    return asyncio.run(main())


def first(x, examples, **options):
    """Return the evaluation of an x without a parent."""
    return judged(lambda evaluator: evaluator.score(x, 7), examples, **options)


async def trial_of(evaluator, x, number=0, parent=None):
    """Return a finished trial."""
    seed = 1000 + number
    evaluation = await evaluator.score(x, seed, parent)
    return Trial(number, Proposal(x, "m"), evaluation, seed=seed)


# The score.


@pytest.mark.parametrize("sandbox", ["inline", "process"])
def test_the_score_is_the_mean_over_all_examples(calls, sandbox):
    evaluation = first(
        "0.5 but train-3 0.1 train-4 0.25", Examples(TRAIN), sandbox=sandbox
    )
    assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 10)
    assert math.isclose(evaluation.score, (8 * 0.5 + 0.1 + 0.25) / 10)
    assert {
        name: score for name, score in evaluation.instances.items() if score != 0.5
    } == {"3": 0.1, "4": 0.25}
    assert list(evaluation.instances) == [str(number) for number in range(10)]
    assert evaluation.metrics == {"size": 7.0}
    assert sorted(example for _, example in calls()) == TRAIN  # each once


def test_the_worst_examples_are_shown_and_not_more_than_a_few(calls):
    evaluation = first("0.5 but train-3 0.1 train-7 0.2", Examples(TRAIN))
    lines = evaluation.feedback.splitlines()
    assert lines[:3] == [
        "Mean of 10 train examples: 0.43.",
        "Example 3 (score 0.1): feedback on train-3",
        "Example 7 (score 0.2): feedback on train-7",
    ]
    assert len(lines) == 6


def test_feedback_that_repeats_itself_is_shown_once_and_long_feedback_in_part():
    def say(x, example):
        return example, "the same" if example < 90 else "long " * 10_000

    evaluation = first("x", Examples(list(range(100))), func=say)
    assert evaluation.feedback.count("the same") == 1
    assert len(evaluation.feedback) < 6_000


def test_one_example_without_a_score_leaves_none_and_ends_the_others(calls):
    evaluation = first(
        "0.5 but train-2 raise", Examples(TRAIN, minibatch=None), workers=1
    )
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.FAILED,
        None,
        "",
    )
    assert "No score on example 2" in evaluation.feedback
    assert "ValueError: cannot do train-2" in evaluation.feedback
    assert len(calls()) <= evaluation.scorings <= 4  # the next may have begun


def test_an_impossible_score_on_one_example_is_impossible(calls):
    evaluation = first("0.5 but train-2 1.5", Examples(TRAIN), max_score=1.0)
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.INVALID,
        None,
        IMPOSSIBLE,
    )


def test_examples_may_be_arrays_and_stay_what_they_are():
    def add(x, example):
        return float(x) + float(
            np.sum(example["rows"] if isinstance(example, dict) else example)
        )

    assert (
        first("1", Examples(np.ones((4, 3))), func=add, sandbox="process").score == 4.0
    )
    mixed = Examples([{"rows": np.arange(3)}, {"rows": np.zeros(2)}])
    assert first("1", mixed, func=add, sandbox="process").score == 2.5


def test_each_example_of_each_trial_has_a_seed_of_its_own():
    import random

    def roll(x, example):
        return random.random()

    async def twice(evaluator):
        return [await evaluator.score("x", seed) for seed in (1, 1, 2)]

    one, same, other = judged(
        twice, Examples(list(range(4))), func=roll, sandbox="process"
    )
    assert one.instances == same.instances != other.instances
    assert len(set(one.instances.values())) == 4


# Challengers.


def test_a_challenger_that_does_not_beat_its_parent_is_scored_on_a_few_only(calls):
    async def work(evaluator):
        parent = await trial_of(evaluator, "0.5")
        before = len(calls())
        return [await evaluator.score(x, 3, parent) for x in ("0.4", "0.5 ")], len(
            calls()
        ) - before

    (worse, equal), made = judged(work, Examples(TRAIN))
    for evaluation in (worse, equal):
        assert (evaluation.status, evaluation.score, evaluation.stage) == (
            Status.FAILED,
            None,
            MINIBATCH,
        )
        assert evaluation.scorings == 3
    assert made == 6  # what the parent scored is known
    assert "the mean is 0.4, and that of the parent 0.5" in worse.feedback
    assert "Example" in worse.feedback


def test_a_promising_challenger_is_scored_on_all_and_on_none_twice(calls):
    async def work(evaluator):
        parent = await trial_of(evaluator, "0.5")
        before = len(calls())
        return await evaluator.score("0.6", 3, parent), calls()[before:]

    evaluation, made = judged(work, Examples(TRAIN))
    assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 10)
    assert math.isclose(evaluation.score, 0.6)
    assert sorted(made) == [("0.6", example) for example in TRAIN]


def test_the_minibatch_depends_on_the_seed_alone():
    examples = Examples(TRAIN)
    assert examples.chosen(1) == examples.chosen(1) == Examples(TRAIN, VAL).chosen(1)
    assert len({tuple(examples.chosen(seed)) for seed in range(50)}) > 20
    assert {index for seed in range(50) for index in examples.chosen(seed)} == set(
        range(10)
    )


def test_with_examples_that_decide_apart_the_parents_missing_scores_are_computed_once(
    calls,
):
    async def work(evaluator):
        parent = await trial_of(evaluator, "0.5")
        before = len(calls())
        found = await asyncio.gather(
            *(
                evaluator.score(f"0.4{number}", 20 + number, parent)
                for number in range(6)
            )
        )
        return found, calls()[before:]

    found, made = judged(work, Examples(TRAIN, VAL), workers=4)
    of_parent = [example for x, example in made if x == "0.5"]
    assert len(of_parent) == len(set(of_parent)) <= 7
    assert not any(example.startswith("val") for _, example in made)
    assert all(one.stage == MINIBATCH for one in found)
    assert sum(one.scorings for one in found) == len(made)


def test_a_parent_that_is_known_from_the_store_is_not_scored_again(calls):
    parent = Trial.of(
        0,
        "0.5",
        Status.COMPLETE,
        "x0",
        score=0.5,
        instances={str(n): 0.5 for n in range(10)},
        seed=1,
    )
    evaluation = judged(
        lambda evaluator: evaluator.score("0.4", 3, parent), Examples(TRAIN)
    )
    assert evaluation.stage == MINIBATCH
    assert {x for x, _ in calls()} == {"0.4"}


@pytest.mark.parametrize(
    ("status", "stage", "words"),
    [
        (Status.FAILED, "", "0.1"),
        (Status.TIMEOUT, "check", "0.1"),
        (Status.INVALID, IMPOSSIBLE, "0.1"),
    ],
)
def test_an_x_with_a_score_beats_a_parent_without_one(calls, status, stage, words):
    parent = Trial.of(0, "raise", status, "x0", stage=stage, seed=1)
    evaluation = judged(
        lambda evaluator: evaluator.score("0.1", 3, parent), Examples(TRAIN)
    )
    assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 10)


def test_a_parent_that_failed_the_minibatch_is_still_to_be_beaten(calls):
    parent = Trial.of(0, "0.5", Status.FAILED, "m", stage=MINIBATCH, seed=1)

    async def work(evaluator):
        return [
            await evaluator.score(x, seed, parent)
            for seed, x in enumerate(["0.4", "0.6"])
        ]

    worse, better = judged(work, Examples(TRAIN))
    assert (worse.stage, worse.scorings) == (MINIBATCH, 6)
    assert better.status is Status.COMPLETE


def test_who_fails_on_the_minibatch_is_told_so(calls):
    parent = Trial.of(
        0,
        "0.5",
        Status.COMPLETE,
        "x0",
        score=0.5,
        instances={str(n): 0.5 for n in range(10)},
        seed=1,
    )
    evaluation = judged(
        lambda evaluator: evaluator.score("raise", 3, parent), Examples(TRAIN)
    )
    assert (evaluation.status, evaluation.stage) == (Status.FAILED, MINIBATCH)
    assert "ValueError: cannot do train-" in evaluation.feedback


def test_as_good_as_a_perfect_parent_is_good_enough_where_nothing_is_better(calls):
    parent = Trial.of(
        0,
        "1",
        Status.COMPLETE,
        "x0",
        score=0.9,
        instances={str(n): 1.0 for n in range(10)},
        seed=1,
    )

    def score(**judging):
        return judged(
            lambda evaluator: evaluator.score("1.0", 3, parent),
            Examples(TRAIN),
            **judging,
        )

    assert score(max_score=1.0).status is Status.COMPLETE
    assert score().stage == MINIBATCH


@pytest.mark.parametrize("minibatch", [None, 10, 99])
def test_without_a_minibatch_or_with_one_of_all_there_is_no_such_stage(
    calls, minibatch
):
    parent = Trial.of(
        0,
        "0.5",
        Status.COMPLETE,
        "x0",
        score=0.5,
        instances={str(n): 0.5 for n in range(10)},
        seed=1,
    )
    examples = Examples(TRAIN, minibatch=minibatch)
    evaluation = judged(lambda evaluator: evaluator.score("0.4", 3, parent), examples)
    assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 10)


def test_cheap_stages_come_before_all_examples(calls):
    def enough(x):
        return len(x)

    async def work(evaluator):
        return await evaluator.score("0", 1), await evaluator.score("0.25", 1)

    short, good = judged(work, Examples(TRAIN), func=[(enough, 2), f])
    assert (short.status, short.stage, short.scorings) == (Status.FAILED, "enough", 1)
    assert (good.score, good.scorings) == (0.25, 10)
    assert good.metrics == {"enough.score": 4.0, "size": 7.0}
    assert {x for x, _ in calls()} == {"0.25"}


# What is shown, and who sees what.


def test_no_word_on_the_examples_that_decide_apart_is_shown(calls):
    async def work(evaluator):
        parent = await trial_of(evaluator, "0.5 but val-2 0.1")
        failed = await evaluator.score("0.6 but val-2 raise", 3, parent)
        return parent, failed, await evaluator.score("0.6 but val-3 0.2", 4, parent)

    parent, failed, better = judged(work, Examples(TRAIN, VAL), sandbox="process")
    for one in (parent, failed, better):
        assert "val-" not in one.feedback + one.output
    assert math.isclose(parent.score, (7 * 0.5 + 0.1) / 8)
    assert parent.instances["2"] == 0.1
    assert "feedback on train-" in parent.feedback
    assert "saw train-" in parent.output
    assert parent.scorings == 8 + 3  # and a few to show
    assert (failed.status, failed.score, failed.stage) == (Status.FAILED, None, "")
    assert "one of the validation examples (failed)" in failed.feedback
    assert math.isclose(better.score, (7 * 0.6 + 0.2) / 8)


def test_the_test_is_scored_when_asked_for_and_tells_a_number_only(calls):
    async def work(evaluator):
        before = await evaluator.score("0.5", 1)
        assert not any(example.startswith("test") for _, example in calls())
        return before, await evaluator.test("0.5 but test-1 0.2")

    before, tested = judged(work, Examples(TRAIN, VAL, TEST), sandbox="process")
    assert (tested.status, tested.scorings) == (Status.COMPLETE, 6)
    assert math.isclose(tested.score, statistics.mean([0.5] * 5 + [0.2]))
    assert tested.feedback == "Mean of 6 test examples: 0.45."
    assert "test-" not in before.feedback + before.output + tested.output


def test_no_process_that_scores_before_the_end_holds_the_test():
    marker = "-".join(
        ["kept", "from", "all"]
    )  # put together here: a child may import this module

    def look(x, example):
        gc.unfreeze()  # what the warm process froze is not listed otherwise
        lists = [
            one
            for one in gc.get_objects()
            if type(one) is list and len(one) == 2 and one[0] == example[0]
        ]
        return {
            "score": len(lists),
            "feedback": str(sorted(number for _, number in lists)),
        }

    async def work(evaluator):
        return (
            await evaluator.score("x", 1),
            await evaluator.score("x", 2),
            await evaluator.test("x"),
        )

    examples = Examples(
        [[marker, n] for n in range(3)], test=[[marker, n] for n in range(3, 7)]
    )
    scored, again, tested = judged(work, examples, func=look, sandbox="process")
    assert scored.feedback == again.feedback
    assert "[0, 1, 2]" in scored.feedback
    assert tested.score == 4.0


def test_no_more_than_workers_run_at_a_time_for_all_callers():
    now, most = [], []

    async def g(x, example):
        now.append(1)
        most.append(len(now))
        await asyncio.sleep(0.001)
        now.pop()
        return 1.0

    async def work(evaluator):
        return await asyncio.gather(*(evaluator.score(str(n), n) for n in range(4)))

    judged(work, Examples(list(range(20))), func=g, workers=3)
    assert max(most) == 3


def test_cancelling_ends_all_examples():
    started, ended = asyncio.Event(), []

    async def g(x, example):
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            ended.append(example)

    async def work(evaluator):
        task = asyncio.create_task(evaluator.score("x", 1))
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    judged(work, Examples([1, 2, 3, 4], minibatch=None), func=g)
    assert sorted(ended) == [1, 2]


def test_examples_are_not_repeated_and_there_is_no_test_where_none_was_given():
    with pytest.raises(UsageError, match="repeats and examples"):
        Judging(examples=Examples([1]), repeats=Repeats())
    with pytest.raises(UsageError, match="examples is a list"):
        Judging(examples=[1, 2])

    async def work(evaluator):
        with pytest.raises(UsageError, match="no test examples"):
            await evaluator.test("x")
        evaluation = await evaluator.score("x", 1)
        with pytest.raises(UsageError, match="not scored again"):
            await evaluator.more("x", evaluation, [1])

    judged(work, Examples([1]), func=lambda x, example: 1.0)


def test_half_as_many_calls_find_the_same(calls):
    async def work(evaluator):
        best = await trial_of(evaluator, "0.5")
        for number in range(1, 13):
            x = f"0.{5 + number // 4}" if number % 4 == 0 else f"0.4{number}"
            trial = await trial_of(evaluator, x, number, best)
            best = trial if trial.score is not None else best
        return best.score

    assert math.isclose(judged(work, Examples(TRAIN * 3)), 0.8)
    used = len(calls())
    Path(os.environ["CALLS"]).write_text("")
    assert math.isclose(judged(work, Examples(TRAIN * 3, minibatch=None)), 0.8)
    assert 2 * used < len(calls()) == 13 * 30
