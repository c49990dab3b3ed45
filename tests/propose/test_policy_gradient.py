"""The learner: what it finds, whom it imitates, what failures do to it, and that told trials are
all its state."""

import asyncio
import math
import subprocess
import sys
from pathlib import Path
from random import Random
from statistics import fmean

import pytest

from benchmarks import learner
from benchmarks.problems import A, B
from llm_optimize.errors import MissingExtra, UnknownName, UsageError
from llm_optimize.propose.policy_gradient import Group, PolicyGradient
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.space import Bool, Choice, Float, Int, Space

ROOT = Path(__file__).parents[2]
UNIT = Space({"a": Float(0, 1), "b": Float(0, 1)})


def draw(proposer, seed=0):
    return asyncio.run(proposer.propose(Plan(None), learner.no_model, Random(seed))).x


def trial(number, x, score, source="policy_gradient", status=None):
    known = status or (Status.FAILED if score is None else Status.COMPLETE)
    return Trial.of(number, x, known, source, score=score)


def mean_of(proposer, name, draws=200):
    async def several():
        return [
            (await proposer.propose(Plan(None), learner.no_model, Random(n))).x[name]
            for n in range(draws)
        ]

    return fmean(asyncio.run(several()))


def search(proposer, f, trials):
    for number in range(trials):
        x = draw(proposer, number)
        proposer.observe(trial(number, x, f(x)))


# What it finds.


@pytest.mark.parametrize(("problem", "late"), [(A, 0.96), (B, 0.65)])
def test_it_learns_both_problems_and_is_below_random_nowhere(problem, late):
    found = learner.table(learner.MAKERS, problem, seeds=8)
    own, random = (
        learner.columns(found[name]) for name in ("policy_gradient", "uniform")
    )
    assert all(one >= other for one, other in zip(own, random, strict=True))
    assert own[-1] >= late
    assert learner.wins(found["policy_gradient"], found["uniform"]) == 1


def test_the_problems_have_their_maximum_where_they_say():
    for problem in (A, B):
        assert problem.f(problem.best) == pytest.approx(1.0)
        assert (
            max(
                problem.f(problem.space.near(problem.best, Random(seed)))
                for seed in range(300)
            )
            < 1.0
        )


def test_the_first_draws_cover_every_range_and_no_option_dies_out():
    space = Space(
        {
            "n": Int(1, 4),
            "kind": Choice("x", "y", "z"),
            "on": Bool(),
            "lr": Float(1e-4, 1, log=True),
        }
    )
    proposer = PolicyGradient(space)
    drawn = [draw(proposer, seed) for seed in range(300)]
    assert {x["n"] for x in drawn} == {1, 2, 3, 4}
    assert {type(x["n"]) for x in drawn} == {int}
    assert min(x["lr"] for x in drawn) < 1e-3 < 0.1 < max(x["lr"] for x in drawn)
    for number, x in enumerate(drawn):
        proposer.observe(trial(number, x, float(x["kind"] == "y" and x["on"])))
    kinds = [draw(proposer, seed)["kind"] for seed in range(1000, 1400)]
    assert kinds.count("y") > 300
    assert set(kinds) == {"x", "y", "z"}


def test_ends_of_a_range_can_be_reached():
    proposer = PolicyGradient(Space({"n": Int(0, 20), "a": Float(0, 1)}))
    search(proposer, lambda x: x["n"] - 20 * x["a"], 120)
    x = draw(proposer, 7)
    assert x["n"] >= 19
    assert x["a"] < 0.03


@pytest.mark.parametrize("factor", [2.0**1020, 2.0**-900])
def test_the_scale_of_the_scores_does_not_matter(factor):
    proposer, other = PolicyGradient(A.space), PolicyGradient(A.space)
    search(proposer, lambda x: 8 * A.f(x) * factor, 40)
    search(other, lambda x: 8 * A.f(x), 40)
    assert draw(proposer) == pytest.approx(draw(other))
    assert proposer.contributions(20) == pytest.approx(other.contributions(20))


def test_equal_scores_teach_nothing():
    proposer, new = PolicyGradient(UNIT), PolicyGradient(UNIT)
    search(proposer, lambda x: 3.0, 30)
    assert draw(proposer, 99) == draw(new, 99)


def test_the_first_trial_alone_teaches_nothing_and_the_second_does():
    proposer, new = PolicyGradient(UNIT), PolicyGradient(UNIT)
    proposer.observe(trial(0, {"a": 0.2, "b": 0.2}, 1.0))
    assert draw(proposer) == draw(new)
    proposer.observe(trial(1, {"a": 0.9, "b": 0.9}, 2.0))
    assert draw(proposer) != draw(new)


def test_in_a_small_space_what_was_tried_is_drawn_again_only_when_nothing_else_is_left():
    space = Space({"n": Int(1, 6), "on": Bool()})
    proposer, seen = PolicyGradient(space), []
    for number in range(10):
        x = draw(proposer, number)
        seen.append((x["n"], x["on"]))
        proposer.observe(trial(number, x, float(number)))
    assert len(set(seen)) == 10
    for number in range(10, 40):
        proposer.observe(trial(number, draw(proposer, number), 1.0))
    assert draw(proposer)["n"] in range(1, 7)


# Others, failures, repeats.


def test_better_trials_of_others_are_imitated_and_worse_ones_are_not():
    start = [
        trial(number, {"a": 0.5, "b": 0.5}, score, "x0")
        for number, score in enumerate((0.0, 1.0, 0.0, 1.0))
    ]
    taught, warned, own = (
        PolicyGradient(UNIT),
        PolicyGradient(UNIT),
        PolicyGradient(UNIT),
    )
    for proposer in (taught, warned, own):
        for one in start:
            proposer.observe(one)
    before = mean_of(taught, "a")
    taught.observe(trial(4, {"a": 0.95, "b": 0.5}, 5.0, "model:m"))
    warned.observe(trial(4, {"a": 0.95, "b": 0.5}, -5.0, "model:m"))
    own.observe(trial(4, {"a": 0.95, "b": 0.5}, -5.0, "policy_gradient"))
    assert mean_of(taught, "a") > before + 0.05
    assert abs(mean_of(warned, "a") - before) < 0.02
    assert mean_of(own, "a") < before - 0.05


def test_a_failure_of_its_own_counts_as_the_worst_score_so_far():
    def learnt(last):
        proposer = PolicyGradient(UNIT)
        for number, score in enumerate((3.0, 1.0, 2.0)):
            proposer.observe(trial(number, {"a": 0.3 + number / 10, "b": 0.5}, score))
        proposer.observe(last)
        return draw(proposer, 5)

    failed = learnt(trial(3, {"a": 0.9, "b": 0.1}, None))
    assert (
        failed
        == learnt(trial(3, {"a": 0.9, "b": 0.1}, 1.0))
        != learnt(trial(3, {"a": 0.9, "b": 0.1}, 2.0))
    )


def test_it_survives_nothing_but_failures_and_keeps_clear_of_a_region_that_fails():
    proposer = PolicyGradient(UNIT)
    for number in range(20):
        proposer.observe(trial(number, draw(proposer, number), None))
    assert UNIT.check(draw(proposer)) == draw(proposer)
    for number in range(20, 120):
        x = draw(proposer, number)
        proposer.observe(trial(number, x, None if x["a"] > 0.5 else x["b"]))
    last = [draw(proposer, seed) for seed in range(100)]
    assert sum(x["a"] > 0.5 for x in last) < 25
    assert fmean(x["b"] for x in last) > 0.8


def test_absent_parameters_are_left_alone_and_strange_x_are_survived():
    told, same = PolicyGradient(UNIT), PolicyGradient(UNIT)
    for number, score in enumerate((0.0, 1.0, 0.2, 3.0)):
        told.observe(trial(number, {"a": number / 4}, score))
        same.observe(trial(number, {"a": number / 4, "b": "?"}, score))
    new = PolicyGradient(UNIT)
    assert draw(told) == draw(same)
    assert draw(told)["b"] == draw(new)["b"]
    assert draw(told)["a"] != draw(new)["a"]
    for x in (None, "a text", {}, {"a": math.nan}, {"c": 1}):
        told.observe(trial(9, x, None, "model:m", Status.INVALID))
    told.contributions()


def test_duplicates_teach_nothing():
    proposer, other = PolicyGradient(UNIT), PolicyGradient(UNIT)
    for one in (proposer, other):
        search(one, lambda x: x["a"], 10)
    proposer.observe(trial(10, {"a": 0.9, "b": 0.9}, 9.0, status=Status.DUPLICATE))
    assert draw(proposer, 55) == draw(other, 55)


# Its state is what it was told.


def test_one_that_is_told_again_goes_on_as_if_it_had_been_there():
    lived, history = PolicyGradient(B.space), []
    for number in range(60):
        if number % 7 == 3:
            told = trial(
                number, B.space.sample(Random(number)), 0.1 * (number % 5), "model:m"
            )
        else:
            x = draw(lived, number)
            told = trial(number, x, None if number % 11 == 5 else B.f(x))
        lived.observe(told)
        history.append(told)
        if number % 9 == 4:  # scored again
            history.append(trial(number - 2, history[-3].x, 0.3))
            lived.observe(history[-1])
    told_again = PolicyGradient(B.space)
    for one in history:
        told_again.observe(one)
    assert draw(lived, 77) == draw(told_again, 77)
    assert lived.contributions(20) == told_again.contributions(20)


def test_proposing_changes_nothing_and_several_workers_are_in_flight():
    asked, quiet = PolicyGradient(B.space), PolicyGradient(B.space)
    flying = []
    for number in range(90):
        flying.append((number, draw(asked, number)))
        if len(flying) == 4:
            done, x = flying.pop(number % 3)
            for proposer in (asked, quiet):
                proposer.observe(trial(done, x, B.f(x)))
    assert draw(asked, 123) == draw(quiet, 123)
    assert fmean(B.f(draw(asked, seed)) for seed in range(30)) > 0.5


def test_a_trial_that_is_scored_again_replaces_its_score():
    proposers = [PolicyGradient(UNIT) for _ in range(2)]
    for proposer in proposers:
        for number, score in enumerate((0.0, 1.0, 9.0)):
            proposer.observe(trial(number, {"a": number / 3, "b": 0.5}, score, "user"))
    proposers[1].observe(
        trial(2, {"a": 2 / 3, "b": 0.5}, 0.5, "user")
    )  # it was luck: trial 1 is the best now
    assert draw(proposers[0]) == draw(proposers[1])
    for proposer in proposers:
        for number in range(3, 9):
            proposer.observe(
                trial(number, {"a": 0.5, "b": 0.5}, 0.4 + number / 1000, "user")
            )
    assert mean_of(proposers[0], "a") > mean_of(proposers[1], "a") + 0.05


def test_long_runs_stay_quick():
    proposer = PolicyGradient(A.space)
    search(proposer, A.f, 700)
    assert A.f(draw(proposer)) > 0.99


# Groups.


def test_each_group_has_a_step_size_of_its_own():
    groups = {"slow": Group(["a"], step=1e-9), "quick": ["b"]}
    proposer, new = PolicyGradient(UNIT, groups), PolicyGradient(UNIT)
    search(proposer, lambda x: x["a"] + x["b"], 40)
    assert draw(proposer)["a"] == pytest.approx(draw(new)["a"], abs=1e-6)
    assert mean_of(proposer, "b") > 0.85


def test_each_group_has_a_baseline_of_its_own():
    """After the scores went up, a short window has a high baseline, by which the newest trial is a
    bad one."""
    groups = {"short": Group(["a"], window=2), "long": Group(["b"], window=20)}
    proposer, before = PolicyGradient(UNIT, groups), PolicyGradient(UNIT, groups)
    for number, score in enumerate([0.0] * 10 + [10.0, 6.0]):
        x = {"a": 0.9, "b": 0.9} if number == 11 else {"a": 0.5, "b": 0.5}
        proposer.observe(trial(number, x, score))
        if number < 11:
            before.observe(trial(number, x, score))
    assert mean_of(proposer, "a") < mean_of(before, "a") - 0.02
    assert mean_of(proposer, "b") > mean_of(before, "b") + 0.02


@pytest.mark.parametrize(
    ("groups", "error", "said"),
    [
        ({"one": ["a"]}, UsageError, "b must be in exactly one group"),
        (
            {"one": ["a", "b"], "two": ["b"]},
            UsageError,
            "b must be in exactly one group",
        ),
        ({"one": ["a", "b", "bb"]}, UnknownName, "did you mean 'b'"),
    ],
)
def test_groups_that_are_no_partition_are_refused(groups, error, said):
    with pytest.raises(error, match=said):
        PolicyGradient(UNIT, groups)


@pytest.mark.parametrize(
    "arguments",
    [
        {"parameters": "ab"},
        {"parameters": []},
        {"parameters": ["a"], "step": 0},
        {"parameters": ["a"], "window": 1},
    ],
)
def test_a_group_that_cannot_be_is_refused(arguments):
    with pytest.raises(UsageError, match="group"):
        Group(**arguments)


# Contributions.


def contributions(f, names, groups=None, trials=80):
    proposer = PolicyGradient(Space({name: Float(0, 1) for name in names}), groups)
    search(proposer, f, trials)
    return proposer.contributions()


def test_contributions_sum_to_one_and_go_to_the_group_that_matters():
    shares = contributions(
        lambda x: -((x["a"] - 0.9) ** 2), "abc", {"mine": ["a"], "others": ["b", "c"]}
    )
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares) == ["mine", "others"]
    assert shares["mine"] > 0.9


def test_equal_partners_share_equally_also_where_neither_achieves_anything_alone():
    shares = contributions(lambda x: 10 * x["a"] * x["b"], "ab", trials=120)
    assert shares["a"] == pytest.approx(0.5, abs=0.1)


def test_three_times_the_effect_is_three_times_the_share():
    shares = contributions(lambda x: 3 * x["a"] + x["b"], "ab", trials=150)
    assert 2 < shares["a"] / shares["b"] < 4.5


def test_the_shares_are_those_of_the_true_effects():
    """Where effects only add up, a share is what the mean effect of its parameter gained since the
    start."""
    space = Space(
        {
            "lr": Float(1e-4, 0.1, log=True),
            "n": Int(1, 8),
            "act": Choice("relu", "tanh"),
            "none": Float(0, 1),
        }
    )
    effects = {
        "lr": lambda lr: -abs(math.log10(lr) + 2) / 2,
        "n": lambda n: -abs(n - 3) / 10,
        "act": lambda act: 0.4 * (act == "relu"),
        "none": lambda value: 0.0,
    }
    new, learnt = PolicyGradient(space), PolicyGradient(space)
    search(
        learnt, lambda x: sum(effect(x[name]) for name, effect in effects.items()), 100
    )
    drawn = [(draw(new, seed), draw(learnt, seed)) for seed in range(500)]
    gains = {
        name: fmean(effect(b[name]) - effect(a[name]) for a, b in drawn)
        for name, effect in effects.items()
    }
    shares = learnt.contributions()
    for name, gain in gains.items():
        assert shares[name] == pytest.approx(gain / sum(gains.values()), abs=0.08), name


def test_options_earn_their_share():
    proposer = PolicyGradient(Space({"kind": Choice("x", "y", "z"), "a": Float(0, 1)}))
    search(proposer, lambda x: float(x["kind"] == "z"), 60)
    assert proposer.contributions()["kind"] > 0.9


class Conditional(Space):
    """A space in which momentum is there for one kind only."""

    def check(self, x):
        checked = super().check({"momentum": 0.5, **x})
        return {
            name: value
            for name, value in checked.items()
            if name != "momentum" or checked["kind"] == "sgd"
        }


def test_parameters_that_are_there_under_a_condition_only_are_learnt_and_earn_their_share():
    space = Conditional(
        {"kind": Choice("sgd", "adam"), "momentum": Float(0, 1), "lr": Float(0, 1)}
    )
    proposer = PolicyGradient(space, {"mine": ["kind", "momentum"], "other": ["lr"]})
    search(
        proposer,
        lambda x: (x["kind"] == "sgd") * (1 - abs(x.get("momentum", 0) - 0.8)),
        100,
    )
    drawn = [draw(proposer, seed) for seed in range(1000, 1200)]
    assert {tuple(x) for x in drawn} == {("kind", "lr"), ("kind", "momentum", "lr")}
    momenta = [x["momentum"] for x in drawn if "momentum" in x]
    assert len(momenta) > 150
    assert fmean(momenta) == pytest.approx(0.8, abs=0.05)
    assert proposer.contributions()["mine"] > 0.9


def test_without_anything_learnt_all_shares_are_equal():
    proposer = PolicyGradient(UNIT)
    assert proposer.contributions() == {"a": 0.5, "b": 0.5}
    search(proposer, lambda x: 1.0, 5)
    assert proposer.contributions() == {"a": 0.5, "b": 0.5}
    with pytest.raises(UsageError, match="orders is 0"):
        proposer.contributions(0)


# The extra.


def test_without_numpy_one_sentence_names_the_extra():
    code = f"""if True:
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        sys.modules["numpy"] = None
        from llm_optimize.errors import MissingExtra
        from llm_optimize.propose.policy_gradient import PolicyGradient
        from llm_optimize.space import Float, Space
        try:
            PolicyGradient(Space({{"a": Float(0, 1)}}))
        except MissingExtra as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.startswith("the proposer policy_gradient needs numpy: ")
    assert done.stdout.endswith("pip install numpy\n")
    assert issubclass(MissingExtra, ImportError)
