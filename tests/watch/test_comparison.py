"""The statistics of a comparison: intervals, ranks, many differences at once, and what the sentence
says of them."""

import math
from contextlib import closing
from itertools import combinations
from random import Random
from statistics import median

import pytest
from scipy import stats

from llm_optimize.records import Status, Trial, Usage
from llm_optimize.store import Store
from llm_optimize.watch.comparison import RunOutcome, compared, curve_of, of_runs
from llm_optimize.watch.statistics import (
    holm,
    median_interval,
    rank_test,
    seeds_needed,
)
from pages import TASK, fill


def trial(number, score, status=Status.COMPLETE, **facts):
    return Trial.of(
        number, facts.pop("x", f"x{number}"), status, "m", score=score, **facts
    )


def outcomes(finals, usage=None, seconds=1.0, problem=""):
    usage = usage or Usage()
    return [
        RunOutcome(f"n/{s}", s, (0.0,) * 9 + (final,), usage, seconds, problem)
        for s, final in enumerate(finals)
    ]


def outcome(**finals):
    return compared(
        "amber", 10, {name: outcomes(values) for name, values in finals.items()}
    )


# Ranks and intervals.


@pytest.mark.parametrize("sizes", [(5, 5), (4, 7), (8, 8), (2, 3)])
def test_the_exact_test_is_that_of_the_textbook(sizes):
    dice = Random(1)
    for shift in (0.0, 0.5, 2.0):
        left, right = (
            [dice.gauss(shift * side, 1) for _ in range(size)]
            for side, size in enumerate(sizes)
        )
        expected = stats.mannwhitneyu(left, right, method="exact").pvalue
        assert rank_test(left, right) == pytest.approx(expected)
        assert rank_test(right, left) == pytest.approx(expected)


def test_a_sample_of_the_splits_is_near_the_textbook_and_never_zero():
    dice = Random(2)
    left, right = ([dice.gauss(shift, 1) for _ in range(20)] for shift in (0, 0.6))
    assert rank_test(left, right) == pytest.approx(
        stats.mannwhitneyu(left, right).pvalue, abs=0.01
    )
    assert 0 < rank_test(range(30), range(50, 80)) < 1e-3
    assert rank_test(left, right) == rank_test(left, right)


def test_ties_are_halved_and_no_score_ranks_lowest():
    left, right = [1, 1, 2, 2], [2, 2, 3, 3]
    permuted = stats.permutation_test(
        (stats.rankdata(left + right)[:4], stats.rankdata(left + right)[4:]),
        lambda one, other: one.mean() - other.mean(),
        n_resamples=math.inf,
    )
    assert rank_test(left, right) == pytest.approx(permuted.pvalue)
    assert (
        rank_test([-math.inf] * 4, [1, 2, 3, 4])
        == rank_test([0] * 4, [1, 2, 3, 4])
        < 0.05
    )


def test_the_interval_holds_the_median_and_narrows_with_the_runs():
    dice = Random(3)
    widths = []
    for count in (5, 20, 80):
        values = [dice.gauss(0, 1) for _ in range(count)]
        found = median_interval(values)
        assert (
            min(values)
            <= found.low
            <= found.median
            == median(values)
            <= found.high
            <= max(values)
        )
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


def test_the_interval_covers_what_it_should():
    dice = Random(4)
    found = [median_interval([dice.gauss(0, 1) for _ in range(15)]) for _ in range(120)]
    assert 0.88 <= sum(one.low <= 0 <= one.high for one in found) / 120 <= 1


def test_corrected_chances_keep_their_order():
    assert holm([]) == []
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.001, 0.02, 0.2]) == pytest.approx([0.003, 0.04, 0.2])


def test_equal_contenders_are_seldom_called_different():
    """Of 200 comparisons of four equal ones, with six pairs each, a twentieth may err at most, give
    or take chance."""
    dice, wrong = Random(5), 0
    for _ in range(200):
        values = [[dice.random() for _ in range(6)] for _ in range(4)]
        wrong += (
            min(holm([rank_test(one, other) for one, other in combinations(values, 2)]))
            <= 0.05
        )
    assert 1 <= wrong <= 16


@pytest.mark.parametrize(("differences", "seeds"), [(1, 4), (3, 5), (6, 5), (10, 6)])
def test_the_runs_that_are_asked_for_are_enough_and_no_more_than_that(
    differences, seeds
):
    assert seeds_needed(differences) == seeds
    assert differences * rank_test(range(seeds), range(seeds, 2 * seeds)) <= 0.05
    assert differences * rank_test(range(seeds - 1), range(seeds, 2 * seeds - 1)) > 0.05


# The sentence.


def test_what_is_ahead_is_named_and_the_rest_is_noise():
    found = outcome(
        worst=[1, 2, 3, 4, 5], best=[11, 12, 13, 14, 15], good=[10, 12, 13, 14, 14]
    )
    assert [one.name for one in found.standings] == ["best", "good", "worst"]
    assert found.sentence == (
        "After 10 scorings, in 5 runs each: best is ahead of worst; good is ahead of worst; "
        "every other difference may be noise (rank test, corrected for 3, at 5%)."
    )
    assert {
        (one.ahead, one.behind) for one in found.differences if one.is_significant
    } == {
        ("best", "worst"),
        ("good", "worst"),
    }


def test_where_all_differ_nothing_is_left_over():
    found = outcome(a=range(5), b=range(10, 15), c=range(20, 25))
    assert found.sentence == (
        "After 10 scorings, in 5 runs each: c is ahead of b and a; b is ahead of a "
        "(rank test, corrected for 3, at 5%)."
    )


def test_few_runs_say_that_they_are_few():
    said = outcome(a=[1, 2], b=[30, 40]).sentence
    assert said.startswith(
        "After 10 scorings, in 2 runs each, no difference is beyond noise"
    )
    assert said.endswith("So few runs cannot show one: take at least 4 seeds.")
    assert "few" not in outcome(a=[1, 3, 5, 7], b=[2, 4, 6, 8]).sentence


def test_one_contender_is_compared_with_nothing():
    found = outcome(a=[1, 2, 3])
    assert found.differences == ()
    assert "nothing to compare with" in str(found)


# Curves, checkpoints, costs.


def test_a_curve_counts_what_was_scored():
    trials = [
        trial(0, None, Status.FAILED),
        trial(1, 2.0),
        trial(2, 2.0, Status.DUPLICATE),
        trial(3, None, Status.INVALID, x=None),
        trial(4, None, Status.TIMEOUT),
        trial(5, 5.0, scorings=3),
        trial(6, 4.0),
    ]
    assert curve_of(trials) == (-math.inf, 2.0, 2.0, 5.0, 5.0, 5.0, 5.0)
    assert curve_of([]) == ()


def test_checkpoints_are_tenths_quarters_and_halves_of_the_budget():
    curve = tuple(float(count) for count in range(1, 41))
    found = compared("amber", 40, {"a": [RunOutcome("r", 0, curve, Usage(), 1.0, "")]})
    assert {count: at.median for count, at in found.standings[0].at.items()} == {
        4: 4,
        10: 10,
        20: 20,
        40: 40,
    }
    small = compared("amber", 2, {"a": [RunOutcome("r", 0, curve, Usage(), 1.0, "")]})
    assert list(small.standings[0].at) == [1, 2]


def test_a_run_that_ended_early_keeps_its_best_and_none_is_said_to_be_none():
    short = [
        RunOutcome("r0", 0, (1.0, 3.0), Usage(), 1.0, ""),
        RunOutcome("r1", 1, (), Usage(), 1.0, "error: gone"),
    ]
    found = compared("amber", 10, {"a": short, "b": outcomes([1.0, 2.0])})
    (one,) = (standing for standing in found.standings if standing.name == "a")
    assert one.at[10].high == 3.0
    assert one.at[10].median == -math.inf
    assert "none [none, 3]" in str(found)
    assert "a: error: gone" in str(found)
    assert one.problems == ("error: gone",)


def test_unknown_prices_stay_unknown_and_no_calls_cost_nothing():
    found = compared(
        "amber",
        10,
        {
            "priced": outcomes([1, 2], Usage(3, 100, 10, cost_usd=0.25)),
            "unknown": outcomes([1, 2], Usage(3, 100, 10)),
            "free": outcomes([1, 2]),
        },
    )
    costs = {
        one.name: (one.calls, one.tokens, one.cost_usd, one.seconds)
        for one in found.standings
    }
    assert costs == {
        "priced": (6, 220, 0.5, 2.0),
        "unknown": (6, 220, None, 2.0),
        "free": (0, 0, 0.0, 2.0),
    }
    assert [line.split()[-2] for line in str(found).splitlines()[1:4]] == [
        "0.5",
        "unknown",
        "0",
    ]


# Stored runs.


@pytest.fixture
def stored(tmp_path):
    """Return a store with three contenders of six seeds each, which have ended, and others."""
    with closing(Store(str(tmp_path / "runs.db"))) as store:
        for seed in range(6):
            for contender, lift in (("tree", 5.0), ("best", 0.5), ("model:a/b", 0.0)):
                write_run(store, f"amber/{contender}/{seed}", lift + seed / 100)
        write_run(store, "birch", 1.0)
        yield store


def write_run(store, name, score, scorings=2, stop_reason="budget: scorings"):
    settings = {"task": TASK, "budget": {"scorings": scorings}}
    run = store.create_run(name, settings)
    fill(run, [0.0, score])
    if stop_reason:
        run.end(stop_reason)


def test_stored_runs_are_compared_by_their_names(stored):
    names = [name for name in stored.names() if name.startswith("amber/")]
    found = of_runs(stored, names)
    assert found.name == "amber"
    assert [one.name for one in found.standings] == ["tree", "best", "model:a/b"]
    assert "tree is ahead of best and model:a/b" in found.sentence
    assert found.standings[0].runs[0] == "amber/tree/0"
    assert found.standings[0].calls == 6


def test_only_seeds_that_all_contenders_ended_are_compared(stored):
    write_run(stored, "amber/tree/6", 9.0)
    write_run(stored, "amber/best/6", 9.0, stop_reason="interrupted")
    write_run(stored, "amber/model:a/b/6", 9.0, stop_reason=None)
    names = [name for name in stored.names() if name.startswith("amber/")]
    assert of_runs(stored, names).seeds == (0, 1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "names",
    [
        ["birch", "amber/tree/0"],
        ["amber/tree/0", "amber/tree/1"],
        ["amber/tree/0", "amber/best/1"],
        ["amber/tree/0", "nobody/best/0"],
        ["amber/tree/0", "amber/best/7"],
    ],
    ids=["no comparison", "one contender", "other seeds", "unknown", "other budget"],
)
def test_runs_that_were_not_made_to_be_compared_have_no_verdict(stored, names):
    write_run(stored, "amber/best/7", 1.0, scorings=3)
    write_run(stored, "amber/tree/7", 1.0, scorings=2)
    assert of_runs(stored, names) is None
