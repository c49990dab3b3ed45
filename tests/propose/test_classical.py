"""Optuna's samplers as proposers: what they learn, that they keep nothing to themselves, and that
they stay quiet."""

import asyncio
import importlib.util
import logging
import math
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import optuna
import pytest

from llm_optimize import optimize
from llm_optimize.errors import MissingExtra, UnknownName, UsageError
from llm_optimize.propose import _study
from llm_optimize.propose.classical import SAMPLERS, Classical, makers
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.space import Bool, Choice, Float, Int, Space
from llm_optimize.testing import changed

MIXED = Space(
    {
        "lr": Float(1e-5, 0.1, log=True),
        "drop": Float(0, 0.9, step=0.1),
        "width": Int(8, 512, log=True),
        "odd": Int(1, 9, step=2),
        "kind": Choice(1, True, "1", None),
        "bag": Bool(),
    }
)
LINKED = Space(
    {
        "a": Float(0, 1),
        "momentum": Float(0, 1, when={"kind": "sgd"}),
        "kind": Choice("sgd", "adam"),
        "nesterov": Bool(when={"kind": "sgd"}),
    }
)
HERE = [
    sampler
    for sampler in SAMPLERS
    if sampler != "gp" or importlib.util.find_spec("torch")
]
LEARNING = [sampler for sampler in HERE if sampler != "random"]


def propose(proposer, number, seed=0):
    return asyncio.run(proposer.propose(Plan(None), None, Random(f"{seed}/{number}")))


def trial(number, x, score, source="tpe"):
    status = Status.FAILED if score is None else Status.COMPLETE
    return Trial.of(number, x, status, source, score=score)


def drive(proposer, f, trials, seed=0):
    """Let it propose and be told; return the trials."""
    done = []
    for number in range(trials):
        proposal = propose(proposer, number, seed)
        done.append(trial(number, proposal.x, f(proposal.x), proposal.source))
        proposer.observe(done[-1])
    return done


def told(space, sampler, trials):
    proposer = Classical(space, sampler)
    for one in trials:
        proposer.observe(one)
    return proposer


def smooth(x):
    """Return the height of a hill in the mixed space; now and then nothing."""
    if x["odd"] == 9:
        return None
    return (
        -abs(math.log10(x["lr"]) + 3)
        - x["drop"]
        - abs(math.log2(x["width"]) - 6)
        + (x["kind"] is None)
        + x["bag"]
    )


def linked(x):
    return (0.5 + x["momentum"] if x["kind"] == "sgd" and x["nesterov"] else 0) - abs(
        x["a"] - 0.5
    )


@pytest.mark.parametrize("sampler", HERE)
def test_what_is_proposed_is_legal_and_says_who_did(sampler):
    for one in drive(Classical(MIXED, sampler), smooth, 40):
        assert MIXED.check(one.x) == one.x
        assert [type(value) for value in MIXED.check(one.x).values()] == [
            type(value) for value in one.x.values()
        ]
        assert one.source == sampler


@pytest.mark.parametrize("sampler", HERE)
def test_only_what_has_its_condition_is_there(sampler):
    done = drive(Classical(LINKED, sampler), linked, 40)
    assert all(LINKED.check(one.x) == one.x for one in done)
    assert {len(one.x) for one in done} == {2, 4}


@pytest.mark.parametrize("sampler", LEARNING)
@pytest.mark.parametrize(
    ("space", "f"), [(MIXED, smooth), (LINKED, linked)], ids=["mixed", "linked"]
)
def test_it_learns(sampler, space, f):
    def late(kind):
        runs = [drive(Classical(space, kind), f, 60, seed) for seed in range(4)]
        return [
            sum(one.score for one in run[40:] if one.score is not None) / 20
            for run in runs
        ]

    assert min(late(sampler)) > max(late("random"))


@pytest.mark.parametrize("sampler", LEARNING)
def test_it_learns_from_what_others_proposed(sampler):
    dice = Random(0)
    xs = [MIXED.sample(dice) for _ in range(300)]
    proposer = told(
        MIXED,
        sampler,
        [trial(number, x, smooth(x), "model:m") for number, x in enumerate(xs)],
    )
    first = [smooth({**propose(proposer, 300, seed).x, "odd": 1}) for seed in range(30)]
    assert sum(first) / 30 > sum(smooth({**x, "odd": 1}) for x in xs) / 300 + 1


@pytest.mark.parametrize("sampler", HERE)
@pytest.mark.parametrize(
    ("space", "f"), [(MIXED, smooth), (LINKED, linked)], ids=["mixed", "linked"]
)
def test_after_a_resume_it_proposes_the_same(sampler, space, f):
    alive = Classical(space, sampler)
    done = drive(alive, f, 45)
    for cut in (0, 1, 7, 23, 45):
        again = told(space, sampler, done[:cut])
        for number in range(cut, len(done)):
            assert propose(again, number).x == done[number].x
            again.observe(done[number])


@pytest.mark.parametrize("sampler", HERE)
def test_a_trial_that_is_scored_again_replaces_what_was_known(sampler):
    done = drive(Classical(MIXED, sampler), smooth, 30)
    corrected = changed(done[20], score=99.0, status=Status.COMPLETE, scorings=2)
    history = [*done[:25], corrected, *done[25:]]
    before, after = (
        told(MIXED, sampler, history),
        told(MIXED, sampler, [*done[:20], corrected, *done[21:]]),
    )
    assert [propose(before, n).x for n in range(3)] == [
        propose(after, n).x for n in range(3)
    ]


@pytest.mark.parametrize("sampler", HERE)
def test_what_a_gate_dropped_leaves_no_trace(sampler):
    done = drive(Classical(MIXED, sampler), smooth, 30)
    alive = told(MIXED, sampler, done)
    dice = Random(1)
    for number in range(30, 45):
        propose(alive, number)
        x = None if number % 5 == 0 else MIXED.sample(dice)
        done.append(trial(number, x, None if x is None else smooth(x), "model:m"))
        alive.observe(done[-1])
    assert propose(alive, 45).x == propose(told(MIXED, sampler, done), 45).x


@pytest.mark.parametrize("sampler", ["tpe"])
def test_workers_do_not_crowd_where_others_are(sampler):
    space = Space({"x": Float(0, 1)})
    done = [trial(n, {"x": n / 30}, -abs(n / 30 - 0.5)) for n in range(30)]

    def spread(wait):
        xs = []
        for seed in range(8):
            proposer = told(space, sampler, done)
            batch = []
            for number in range(8):
                batch.append(
                    propose(
                        proposer if wait else told(space, sampler, done),
                        30 + number,
                        seed,
                    ).x["x"]
                )
            xs.append(max(batch) - min(batch))
        return sum(xs) / len(xs)

    assert spread(wait=True) > 1.5 * spread(wait=False)


def test_workers_may_be_told_in_any_order_and_after_a_correction():
    proposer = told(MIXED, "tpe", drive(Classical(MIXED, "tpe"), smooth, 12))
    open_ones = [propose(proposer, 12 + n).x for n in range(4)]
    proposer.observe(
        trial(3, open_ones[0], 0.5)
    )  # trial 3 is told anew while four are running
    propose(proposer, 16)
    for place in (2, 0, 3, 1):
        proposer.observe(trial(12 + place, open_ones[place], smooth(open_ones[place])))
    assert MIXED.check(propose(proposer, 17).x)


def test_in_a_small_space_all_is_tried_before_something_comes_back():
    space = Space({"a": Choice(*range(4)), "b": Bool()})
    done = drive(Classical(space, "random"), lambda x: float(x["a"]), 25)
    assert len({tuple(one.x.values()) for one in done}) == 8
    eights = [
        drive(Classical(space, "random"), lambda x: float(x["a"]), 8, seed)
        for seed in range(10)
    ]
    assert (
        sum(len({tuple(one.x.values()) for one in run}) for run in eights) >= 65
    )  # 52 if nothing were looked at
    assert propose(told(space, "random", done), 8).x in [
        one.x for one in done
    ]  # nothing new is left


def test_what_is_outside_of_the_space_says_nothing():
    plain = told(MIXED, "tpe", [])
    for number, x in enumerate(["text", {"lr": 1}, {"other": 1}, None]):
        plain.observe(Trial.of(number, x, Status.FAILED, "user"))
    assert propose(plain, 5) == propose(Classical(MIXED, "tpe"), 5)


@pytest.mark.parametrize("sampler", HERE)
def test_a_duplicate_says_nothing_new(sampler):
    done = drive(Classical(MIXED, sampler), smooth, 30)
    again = [
        changed(done[3], number=30 + n, status=Status.DUPLICATE, source="model:m")
        for n in range(20)
    ]
    assert (
        propose(told(MIXED, sampler, [*done, *again]), 50).x
        == propose(told(MIXED, sampler, done), 50).x
    )


def test_cmaes_begins_at_x0_and_starts_again_where_it_is_stuck():
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    begun = told(space, "cmaes", [trial(0, {"a": 0.9, "b": 0.1}, 0.0, "x0")])
    first = [propose(begun, 1, seed).x for seed in range(40)]
    assert sum(x["a"] for x in first) / 40 > 0.7
    assert sum(x["b"] for x in first) / 40 < 0.3
    flat = drive(
        Classical(space, "cmaes"), lambda x: 0.0, 400
    )  # nothing to go by: it stops by its own criteria
    assert (
        max(one.x["a"] for one in flat[200:]) - min(one.x["a"] for one in flat[200:])
        > 0.5
    )


def test_cmaes_is_not_thrown_off_by_a_far_and_better_x_of_others():
    space = Space({name: Float(0, 1) for name in "abcd"})

    def f(x):
        distance = sum((value - 0.3) ** 2 for value in x.values())
        return (
            -distance if distance < 1 else 1.0
        )  # another summit, far from where it has settled

    proposer = Classical(space, "cmaes")
    for number in range(240):
        x = (
            propose(proposer, number).x
            if number != 200
            else dict.fromkeys("abcd", 0.95)
        )
        proposer.observe(
            trial(number, x, f(x), "model:m" if number == 200 else "cmaes")
        )
    late = [propose(proposer, 240, seed).x for seed in range(20)]
    assert (
        max(max(x.values()) - min(x.values()) for x in late) < 0.2
    )  # else it flies from end to end


def test_a_proposal_costs_at_most_in_proportion_to_the_trials_before_it():
    def cpu_secs(trials):
        rng = Random(0)
        proposer = Classical(MIXED, "tpe")
        for number in range(trials):
            x = MIXED.sample(rng)
            proposer.observe(trial(number, x, smooth(x)))
        propose(proposer, 0)  # fills the study
        begun = time.process_time()
        for number in range(3):
            proposer.observe(trial(trials + number, propose(proposer, number).x, 0.0))
        return time.process_time() - begun

    assert cpu_secs(6000) < 10 * cpu_secs(1000)  # about 3


def test_a_limit_of_trials_holds_and_a_resume_proposes_the_same(monkeypatch):
    monkeypatch.setitem(_study._MAX_TRIALS, "tpe", 40)
    limited = Classical(MIXED, "tpe")
    done = drive(limited, smooth, 60)
    assert propose(limited, 60).x == propose(told(MIXED, "tpe", done), 60).x
    observed = [(one.x, one.score) for one in done]
    kept = _study.most_informative(observed, 40)
    assert len(kept) == 40
    assert max(score for _, score in observed if score is not None) in [
        score for _, score in kept
    ]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: Classical(MIXED, "tep"), UnknownName, "did you mean 'tpe'"),
        (lambda: Classical(Space({"a": Bool()}), "cmaes"), UsageError, "use 'tpe'"),
        (
            lambda: Classical(MIXED, "random", startup=3),
            UsageError,
            "startup is 3 with 'random'",
        ),
        (lambda: Classical(MIXED, "tpe", startup=0), UsageError, "startup is 0"),
        (
            lambda: makers(None)["tpe"](),
            UsageError,
            "the proposer 'tpe' .* give space",
        ),
    ],
)
def test_what_cannot_work_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.skipif("gp" in HERE, reason="torch is installed")
def test_without_torch_gp_says_what_to_install():
    with pytest.raises(MissingExtra, match="pip install torch"):
        Classical(MIXED, "gp")


@pytest.mark.parametrize(("sampler", "hidden"), [("tpe", "optuna"), ("cmaes", "cmaes")])
def test_without_the_extra_one_sentence_says_what_to_install(sampler, hidden):
    code = f"""
import sys; sys.modules[{hidden!r}] = None
from llm_optimize.propose import _study
from llm_optimize.propose.classical import Classical
from llm_optimize.space import Space, Float
from llm_optimize.testing import changed
try: Classical(Space({{"a": Float(0, 1)}}), {sampler!r})
except ImportError as error: print(error)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"pip install {hidden}" in done.stdout


def test_nothing_is_logged_and_the_log_of_the_user_stays_as_it_is(caplog):
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.DEBUG):
            drive(Classical(LINKED, "tpe"), linked, 20)
            assert [
                record for record in caplog.records if record.name.startswith("optuna")
            ] == []
            optuna.create_study(study_name="of the user")
            assert any(
                "of the user" in record.getMessage() for record in caplog.records
            )
    finally:
        optuna.logging.disable_propagation()


def test_a_run_takes_it_by_its_name_without_x0_or_model(tmp_path):
    store = f"sqlite:///{tmp_path}/runs.db"
    given = {
        "sandbox": "inline",
        "store": store,
        "verbose": False,
        "space": MIXED,
        "seed": 1,
    }
    result = optimize.run(
        "d", "q", smooth, proposer="tpe", max_steps=25, name="one", **given
    )
    assert {trial.source for trial in result.trials} == {"tpe"}
    whole = optimize.run(
        "d", "q", smooth, proposer="tpe", max_steps=35, name="two", **given
    )
    resumed = optimize.resume("one", smooth, max_steps=35, store=store, verbose=False)
    assert [trial.x for trial in resumed.trials] == [trial.x for trial in whole.trials]
    with pytest.raises(UsageError, match="give space"):
        optimize.run("d", "q", smooth, "x", proposer="tpe", store=store, verbose=False)


def test_the_x0_of_a_user_is_checked_before_anything_is_scored(tmp_path):
    given = {
        "proposer": "random",
        "store": f"sqlite:///{tmp_path}/runs.db",
        "verbose": False,
        "sandbox": "inline",
    }
    with pytest.raises(UnknownName, match="did you mean 'kind'"):
        optimize.run("d", "q", linked, {"a": 0.5, "kin": "adam"}, space=LINKED, **given)
    x0 = {"a": "0.5", "kind": "adam", "momentum": 0.1}
    result = optimize.run("d", "q", linked, x0, max_steps=0, space=LINKED, **given)
    assert result.best_x == {"a": 0.5, "kind": "adam"}
