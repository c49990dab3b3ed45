"""A noisy f is asked again: the mean is right whatever the numbers, and failures count."""

import asyncio
import math
import random
import statistics
import sys
from contextlib import closing
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_optimize import optimize
from llm_optimize.errors import UsageError
from llm_optimize.evaluate import (
    IMPOSSIBLE,
    Evaluation,
    Evaluator,
    Judging,
    Mean,
    Repeats,
    mean_of,
)
from llm_optimize.evaluate.repeats import together
from llm_optimize.records import Limits, Status
from llm_optimize.store import Store

SCORES = st.floats(allow_nan=False, allow_infinity=False)


def exact(scores):
    """Return mean and standard error, computed without rounding until the end."""
    values = [Fraction(score) for score in scores]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return float(mean), None
    variance = (
        sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values)
    )
    scale = Fraction(max(map(abs, scores)) or 1.0)
    return float(mean), math.sqrt(variance / scale**2) * float(scale)


@given(st.lists(SCORES, min_size=1, max_size=8))
def test_the_mean_is_as_if_there_were_no_rounding(scores):
    found = mean_of(scores)
    mean, error = exact(scores)
    largest = max(map(abs, scores))
    assert found.number == len(scores)
    assert abs(found.value / 2 - mean / 2) <= 1e-14 * largest + 5e-324
    if error is None:
        assert found.standard_error is None
    else:
        assert abs(found.standard_error / 2 - error / 2) <= 1e-14 * largest + 5e-324
    assert min(scores) <= found.value * (1 + 1e-14) or math.isclose(
        found.value, min(scores), abs_tol=1e-14 * largest
    )


@given(SCORES, st.integers(2, 9))
def test_equal_scores_have_that_mean_and_no_spread(score, number):
    assert mean_of([score] * number) == Mean(score, 0.0, number)


def test_a_small_spread_around_a_large_mean_is_not_lost():
    scores = [1e9 + noise for noise in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert math.isclose(
        mean_of(scores).standard_error,
        statistics.stdev(scores) / math.sqrt(5),
        rel_tol=1e-9,
    )


def test_the_largest_and_the_smallest_numbers_stay_right():
    largest = sys.float_info.max
    assert mean_of([largest] * 3) == Mean(largest, 0.0, 3)
    apart = mean_of([largest, -largest])
    assert (apart.value, apart.standard_error, apart.number) == (0.0, largest, 2)
    assert mean_of([5e-324, 5e-324]) == Mean(5e-324, 0.0, 2)
    assert mean_of([0.0, -0.0]) == Mean(0.0, 0.0, 2)


def test_no_score_at_all_has_no_mean():
    with pytest.raises(UsageError, match="no scores"):
        mean_of([])


@given(st.lists(SCORES, min_size=2, max_size=8), st.data())
def test_a_mean_of_an_old_store_and_new_scores_are_as_if_all_had_been_there_at_once(
    scores, data
):
    """In a store of format 3 its mean, standard error and number are known, its scores are not."""
    at = data.draw(st.integers(2, len(scores)))
    before = mean_of(scores[:at])
    old = Evaluation(
        Status.COMPLETE, before.value, scorings=at, standard_error=before.standard_error
    )
    found = together(old, [Evaluation(Status.COMPLETE, score) for score in scores[at:]])
    mean, error = exact(scores)
    largest = max(map(abs, scores))
    assert (found.scorings, found.scores) == (len(scores), ())
    assert abs(found.score / 2 - mean / 2) <= 1e-14 * largest + 5e-324
    assert (
        abs(found.standard_error / 2 - error / 2) <= 1e-7 * largest + 5e-324
    )  # a root of what rounding left


@pytest.mark.parametrize("n", [1, 0, -1, 2.0, True, "3"])
def test_fewer_than_two_scorings_are_no_repeats(n):
    with pytest.raises(UsageError, match="repeats"):
        Repeats(n)


def test_the_seeds_are_those_that_are_missing_always_the_same_and_all_different():
    once = Evaluation(Status.COMPLETE, 1.0, "")
    repeats = Repeats(4)
    seeds = repeats.seeds(7, once)
    assert len(set(seeds)) == 3
    assert repeats.seeds(7, replace(once, scorings=2)) == seeds[1:]
    assert repeats.seeds(7, replace(once, scorings=9)) == []
    assert repeats.seeds(8, once) != seeds


# Scoring again.


def noisy(x):
    rolled = random.random()
    if x == "flaky" and rolled < 0.34:
        raise ConnectionError("no line")
    if x == "broken" and rolled < 0.9:
        raise ConnectionError("no line")
    if x == "cheat" and rolled > 0.5:
        return 99.0
    return {"score": rolled, "feedback": "rolled", "size": 3}


def evaluate(work, func=noisy, sandbox="process", **judging):
    async def main():
        options = {
            "limits": Limits(),
            "workers": 2,
            "timeout_secs": 20.0,
            "judging": Judging(**judging),
        }
        with closing(Evaluator(func, sandbox=sandbox, **options)) as evaluator:
            return await work(evaluator)

    return asyncio.run(main())


def draw(seed):
    return random.Random(seed).random()


def test_a_challenger_is_scored_again_together_with_the_champion():
    repeats = Repeats(5)

    async def work(evaluator):
        challenger, champion = [await evaluator.score("x", seed) for seed in (1, 2)]
        assert (challenger.scorings, challenger.standard_error) == (1, None)
        return await asyncio.gather(
            evaluator.more("x", challenger, repeats.seeds(1, challenger)),
            evaluator.more("x", champion, repeats.seeds(2, champion)),
        )

    for seed, evaluation in zip((1, 2), evaluate(work, repeats=repeats), strict=True):
        once = Evaluation(Status.COMPLETE, 1.0, "")
        scores = [draw(seed), *map(draw, repeats.seeds(seed, once))]
        assert math.isclose(evaluation.score, statistics.mean(scores))
        assert math.isclose(
            evaluation.standard_error, statistics.stdev(scores) / math.sqrt(5)
        )
        assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 5)
        assert evaluation.scores == pytest.approx(scores)
        assert evaluation.feedback == "rolled"
        assert evaluation.summary.startswith("mean of 5 scorings: ")
        assert evaluation.metrics == {"size": 3.0}


def test_every_x_is_scored_n_times_where_that_is_wanted():
    async def work(evaluator):
        return await evaluator.score("x", 3)

    evaluation = evaluate(work, repeats=Repeats(4, champion=False))
    assert (evaluation.scorings, evaluation.score != draw(3)) == (4, True)
    assert evaluate(work, repeats=Repeats(4)).scorings == 1


def test_scoring_in_two_goes_comes_to_the_same_as_in_one():
    async def work(evaluator):
        first = await evaluator.score("x", 1)
        at_once = await evaluator.more("x", first, [5, 6, 7])
        in_two = await evaluator.more(
            "x", await evaluator.more("x", first, [5]), [6, 7]
        )
        return at_once, in_two, await evaluator.more("x", first, []) is first

    at_once, in_two, unchanged = evaluate(work)
    assert unchanged
    for seconds in (at_once.seconds, in_two.seconds):
        assert seconds > 0
    assert replace(at_once, seconds=0.0) == replace(in_two, seconds=0.0)
    assert len(at_once.scores) == 4


def known_score(score=0.5):
    return Evaluation(Status.COMPLETE, score, "rolled", seconds=1.0)


def seeds_that(wanted, how_many):
    return [seed for seed in range(1000) if wanted(draw(seed))][:how_many]


def test_some_failures_are_counted_beside_the_mean_of_the_others():
    bad, good = (
        seeds_that(lambda rolled: rolled < 0.34, 1),
        seeds_that(lambda rolled: rolled > 0.4, 2),
    )

    async def work(evaluator):
        return await evaluator.more("flaky", known_score(), [*bad, *good])

    evaluation = evaluate(work)
    assert (evaluation.status, evaluation.scorings) == (Status.COMPLETE, 4)
    assert evaluation.metrics == {"failed_scorings": 1.0}
    assert math.isclose(evaluation.score, statistics.mean([0.5, *map(draw, good)]))
    assert evaluation.scores == pytest.approx([0.5, *map(draw, good)])
    assert "mean of 3 scorings, besides 1 without a score" in evaluation.summary


def test_a_metric_of_the_user_that_is_named_like_ours_counts_nothing():
    def f(x):
        return {"score": 1.0, "failed_scorings": 7.0}

    async def work(evaluator):
        return await evaluator.more("x", await evaluator.score("x", 1), [2, 3])

    evaluation = evaluate(work, f, "inline")
    assert (evaluation.status, evaluation.scores) == (Status.COMPLETE, (1.0, 1.0, 1.0))
    assert evaluation.summary == "mean of 3 scorings: 1 (standard error 0)"


FEEDBACK = "errors by fold: a, b\nmean of absolute errors: 0.3"


def test_the_last_line_of_the_user_is_kept_however_it_begins(tmp_path):
    calls = []

    def f(x):
        calls.append(x)
        return len(calls) + random.random(), FEEDBACK  # each new x beats the champion

    options = {
        "store": f"sqlite:///{tmp_path}/runs.db",
        "sandbox": "inline",
        "verbose": False,
        "seed": 1,
    }
    result = optimize.run(
        "d", "q", f, "1", 3, "mutation", repeats=Repeats(3), name="amber", **options
    )
    feedbacks = {trial.feedback for trial in result.trials if trial.scorings == 1}
    assert feedbacks <= {FEEDBACK}
    again = [trial for trial in result.trials if trial.scorings == 3]
    assert again
    for trial in again:
        assert trial.feedback == f"{FEEDBACK}\n{trial.evaluation.summary}"
        assert trial.feedback.count("mean of 3 scorings") == 1
    with closing(Store(options["store"])) as store:
        assert {trial.number: trial for trial in store.run("amber").trials()} == dict(
            enumerate(result.trials)
        )


def test_an_x_that_fails_more_often_than_not_has_failed():
    bad = seeds_that(lambda rolled: rolled < 0.3, 2)

    async def work(evaluator):
        return await evaluator.more("flaky", known_score(), bad), await evaluator.more(
            "flaky", known_score(), bad[:1]
        )

    failed, even = evaluate(work)
    assert (failed.status, failed.score, failed.scorings) == (Status.FAILED, None, 3)
    assert "no score in 2 of 3 scorings" in failed.feedback
    assert "ConnectionError: no line" in failed.feedback
    assert (even.status, even.score, even.standard_error) == (
        Status.COMPLETE,
        0.5,
        None,
    )


def test_one_impossible_score_spoils_all():
    async def work(evaluator):
        good, cheat = (
            seeds_that(lambda rolled: rolled < 0.5, 3),
            seeds_that(lambda rolled: rolled > 0.5, 1),
        )
        return await evaluator.more("cheat", known_score(), [*good, *cheat])

    evaluation = evaluate(work, max_score=1.0)
    assert (evaluation.status, evaluation.score, evaluation.stage) == (
        Status.INVALID,
        None,
        IMPOSSIBLE,
    )


def test_a_first_failure_is_final_where_every_x_is_repeated():
    seed = seeds_that(lambda rolled: rolled < 0.9, 1)[0]

    async def work(evaluator):
        return await evaluator.score("broken", seed)

    evaluation = evaluate(work, repeats=Repeats(5, champion=False))
    assert (evaluation.status, evaluation.scorings) == (Status.FAILED, 1)


def test_only_the_last_stage_is_repeated(tmp_path):
    def check(x):
        with open(tmp_path / "checks", "a") as file:
            file.write("x")
        return 1.0

    async def work(evaluator):
        return await evaluator.score("x", 0)

    evaluation = evaluate(
        work, [check, lambda x: 2.0], "inline", repeats=Repeats(3, champion=False)
    )
    assert (evaluation.score, evaluation.scorings, evaluation.metrics) == (
        2.0,
        3,
        {"check.score": 1.0},
    )
    assert (tmp_path / "checks").read_text() == "x"


def test_what_has_no_score_is_not_scored_again():
    async def work(evaluator):
        with pytest.raises(UsageError, match="no score"):
            await evaluator.more("x", Evaluation(Status.TIMEOUT, None, ""), [1])

    evaluate(work, sandbox="inline")
