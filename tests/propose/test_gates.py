"""Gates: whom they ask and why, by the vectors of their definition; and what they do when the model
fails."""

import asyncio
import json
import logging
import math
from random import Random
from statistics import fmean

import pytest

from llm_optimize.errors import BudgetSpent, ModelUnavailable, UsageError
from llm_optimize.records import Plan, Proposal, Status, Trial, Usage
from writers import (
    Writer,
    adaptive_gate,
    answer,
    ask,
    finished,
    fixed_alpha_gate,
    live,
)


def model_trials(gate, scores):
    """Return the trials of the model, counted from 1."""
    return [place for place, who in enumerate(live(gate, scores), 1) if who == "model"]


def adaptive(**options):
    return adaptive_gate(Writer("model:m"), Writer("learner"), **options)


def lived_through(gate, window, **facts):
    """Tell a gate some scores of the learner's."""
    for number, score in enumerate(window):
        gate.observe(
            Trial.of(
                number,
                {"a": 1},
                Status.COMPLETE,
                "learner",
                score=score,
                decision={"who": "learner"},
                **facts,
            )
        )
    return ask(gate, 99).decision


# The adaptive gate.


def test_the_slope_of_the_vector_is_a_twentieth_and_the_model_is_not_called():
    decision = lived_through(adaptive(), [0.50, 0.55, 0.60, 0.65, 0.70])
    assert decision["slope"] == pytest.approx(0.05)
    assert (decision["who"], decision["reason"], decision["threshold"]) == (
        "learner",
        "improving",
        0.01,
    )


def test_constant_scores_call_the_model_at_6_and_then_at_every_6th():
    assert model_trials(adaptive(), [0.5] * 24) == [6, 12, 18, 24]


def test_scores_that_rise_never_call_it():
    assert model_trials(adaptive(), [0.02 * number for number in range(60)]) == []


def test_a_higher_threshold_calls_it_more_often():
    scores = [0.02 * number for number in range(30)]
    assert model_trials(adaptive(threshold=0.03), scores) == [6, 12, 18, 24, 30]


def test_falling_scores_call_it():
    assert model_trials(adaptive(), [-0.1 * number for number in range(7)]) == [6]


def test_only_the_window_counts():
    rising_then_flat = [0.1 * number for number in range(10)] + [1.0] * 10
    assert model_trials(adaptive(window=3), rising_then_flat)[0] == 14
    assert model_trials(adaptive(window=10), rising_then_flat)[0] == 20


@pytest.mark.parametrize(
    ("cooldown", "expected"), [(0, [6, 7, 8, 9, 10]), (1, [6, 8, 10]), (9, [6])]
)
def test_the_cooldown_is_the_number_of_trials_in_which_the_gate_stays_shut(
    cooldown, expected
):
    assert model_trials(adaptive(cooldown=cooldown), [1.0] * 10) == expected


def test_a_slope_takes_three_points_also_where_fewer_trials_are_asked_for():
    decision = ask(adaptive(min_trials=0, cooldown=0)).decision
    assert (decision["reason"], decision["slope"]) == ("warmup", None)
    assert model_trials(adaptive(min_trials=0, cooldown=0), [1.0] * 6) == [4, 5, 6]


def test_failed_trials_and_nan_never_enter_the_slope():
    scores = [0.0, None, 0.1, None, 0.2, math.nan, 0.3, None, 0.4, math.nan]
    gate = adaptive()
    assert "model" not in live(gate, scores)
    decision = ask(gate).decision
    assert decision["slope"] == pytest.approx(0.1)
    assert decision["n"] == 5
    assert model_trials(
        adaptive(), [0.0, None, 0.0, None, 0.0, None, 0.0, None, 0.0, 0.0, 0.0]
    ) == [10]


def test_duplicates_do_not_count():
    gate = adaptive()
    for number in range(9):
        status = Status.DUPLICATE if number % 2 else Status.COMPLETE
        gate.observe(finished(number, ask(gate, number), 0.5, status))
    assert ask(gate).decision["n"] == 5


def test_a_slope_on_the_scale_of_the_scores():
    flat_on_a_large_scale = [
        0.0,
        1000.0,
        *[1000 + 2.0 * number for number in range(10)],
    ]
    raw, scaled = adaptive(), adaptive(slope_scale="range")
    assert lived_through(raw, flat_on_a_large_scale)["reason"] == "improving"
    decision = lived_through(scaled, flat_on_a_large_scale)
    assert decision["slope"] == pytest.approx(2 / 1018)
    assert decision["who"] == "model"
    assert lived_through(adaptive(slope_scale="range"), [7.0] * 6)["slope"] == 0
    tiny = lived_through(
        adaptive(slope_scale="range"), [1e-20 * number for number in range(8)]
    )
    assert (tiny["slope"], tiny["reason"]) == (pytest.approx(1 / 7), "improving")


def test_the_model_has_a_quota():
    assert model_trials(adaptive(max_model_trials=2), [1.0] * 30) == [6, 12]
    assert model_trials(adaptive(cooldown=0, max_model_fraction=0.25), [1.0] * 20) == [
        6,
        8,
        12,
        16,
        20,
    ]
    gate = adaptive(max_model_trials=0)
    live(gate, [1.0] * 6)
    assert ask(gate).decision["reason"] == "budget"


def test_each_decision_says_what_it_rests_on():
    gate = adaptive()
    reasons = []
    for number in range(14):
        proposal = ask(gate, number)
        reasons.append(proposal.decision["reason"])
        gate.observe(finished(number, proposal, 0.5 if number < 9 else 0.5 + number))
    assert (
        reasons
        == ["warmup"] * 5 + ["stagnation"] + ["cooldown"] * 5 + ["improving"] * 3
    )
    decision = json.loads(json.dumps(proposal.decision))
    names = ("gate", "who", "reason", "u", "alpha", "threshold", "n", "since_model")
    assert [decision[name] for name in names] == [
        "adaptive",
        "learner",
        "improving",
        None,
        None,
        0.01,
        13,
        7,
    ]
    assert decision["slope"] > 1


def test_a_trial_scored_again_replaces_its_score_and_is_no_new_trial():
    gate = adaptive(slope_scale="range")
    lived_through(gate, [0.0, 0.1, 0.2, 0.3, 0.4, 9.0])
    gate.observe(
        Trial.of(5, {"a": 1}, Status.COMPLETE, "learner", score=0.5, scorings=3)
    )
    decision = ask(gate).decision
    assert (decision["n"], decision["slope"]) == (6, pytest.approx(0.1 / 0.5))


def test_while_the_model_writes_the_gate_is_shut():
    gate = adaptive()
    live(gate, [1.0] * 5)
    flying = [ask(gate, number) for number in (5, 6, 7)]
    assert [one.decision["who"] for one in flying] == ["model", "learner", "learner"]
    for number, one in enumerate(flying, 5):
        gate.observe(finished(number, one, 1.0))
    assert live(gate, [1.0] * 4, first=8) == ["learner"] * 3 + ["model"]


def test_a_proposal_that_is_cancelled_opens_the_gate_again():
    class Stuck(Writer):
        async def propose(self, plan, ask, rng):
            await asyncio.Event().wait()

    gate = adaptive_gate(Stuck("model:m"), Writer("learner"))
    live(gate, [1.0] * 5)

    async def cancelled():
        task = asyncio.create_task(gate.propose(Plan(None), answer, Random(1)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancelled())
    assert gate.decide(Random(1)).who == "model"


# The gate with dice.


def test_alpha_is_the_share_of_the_model_and_the_same_for_equal_seeds():
    def share(seed):
        gate = fixed_alpha_gate(Writer("model:m"), Writer("learner"), alpha=0.3)
        return [
            gate.decide(Random(f"{seed}/propose/{number}")).who == "model"
            for number in range(10_000)
        ]

    one, again, other = share(1), share(1), share(2)
    assert one == again != other
    assert 0.29 < fmean(one) < 0.31


@pytest.mark.parametrize(("alpha", "who"), [(0, {"learner"}), (1, {"model"})])
def test_alpha_0_is_never_and_1_always(alpha, who):
    assert (
        set(
            live(
                fixed_alpha_gate(Writer("model:m"), Writer("learner"), alpha=alpha),
                [1.0] * 200,
            )
        )
        == who
    )


def test_the_first_throw_is_stored():
    gate = fixed_alpha_gate(Writer("model:m"), Writer("learner"))
    decision = ask(gate, 7).decision
    assert decision["u"] == Random("1/propose/7").random()
    names = ("gate", "who", "reason", "alpha", "slope", "threshold", "n", "since_model")
    expected = [
        "fixed_alpha",
        "model" if decision["u"] < 0.3 else "learner",
        "alpha_draw",
        0.3,
        None,
        None,
        0,
        None,
    ]
    assert [decision[name] for name in names] == expected


def test_by_parameter_both_are_mixed():
    names = [f"p{number}" for number in range(20)]
    model = Writer("model:m", dict.fromkeys(names, "model"), asks=1)
    gate = fixed_alpha_gate(
        model, Writer("tpe", dict.fromkeys(names, "other")), blend="parameter"
    )
    proposals = [ask(gate, number) for number in range(300)]
    written = [value for proposal in proposals for value in proposal.x.values()]
    assert 0.27 < written.count("model") / len(written) < 0.33
    assert {proposal.source for proposal in proposals} <= {"model:m+tpe", "tpe"}
    assert proposals[0].x == ask(gate, 0).x
    assert proposals[0].usage == Usage(1, 10, 2, cost_usd=0.25)
    assert (
        ask(
            fixed_alpha_gate(
                model, Writer("tpe", {"p0": 1}), alpha=0, blend="parameter"
            )
        ).decision["who"]
        == "learner"
    )


def test_the_model_is_not_asked_where_no_parameter_is_to_be_its_own():
    model = Writer("model:m", {"a": 1})
    gate = fixed_alpha_gate(model, Writer("tpe", {"a": 2}), blend="parameter")
    who = [ask(gate, number).decision["who"] for number in range(100)]
    assert model.asked == who.count("model") < 60
    assert who.count("learner") == 100 - model.asked


def test_where_the_two_have_other_parameters_the_whole_x_is_of_one():
    gate = fixed_alpha_gate(
        Writer("model:m", {"a": 1, "b": 1}),
        Writer("tpe", {"a": 2, "c": 2}),
        blend="parameter",
    )
    found = [ask(gate, number).x for number in range(50)]
    assert {tuple(sorted(x)) for x in found} == {("a", "b"), ("a", "c")}


def test_texts_cannot_be_mixed_by_parameter():
    class Text(Writer):
        async def propose(self, plan, ask, rng):
            return Proposal("text", "mutation")

    with pytest.raises(UsageError, match="x is a text"):
        ask(fixed_alpha_gate(Writer("model:m"), Text("mutation"), blend="parameter"))


# A model that fails.


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelUnavailable("gone"), "model_failed"),
        ("no JSON", "model_failed"),
        (BudgetSpent("all spent"), "budget"),
    ],
)
@pytest.mark.parametrize("blend", ["config", "parameter"])
def test_the_learner_stands_in_for_a_model_that_fails(error, reason, blend):
    gate = fixed_alpha_gate(
        Writer("model:m", error=error, asks=2), Writer("tpe"), alpha=1, blend=blend
    )
    proposal = ask(gate)
    assert (proposal.x, proposal.source, proposal.problem) == ({"a": 0.5}, "tpe", "")
    assert (proposal.decision["who"], proposal.decision["reason"]) == (
        "fallback",
        reason,
    )
    assert proposal.usage == Usage(2, 20, 4, cost_usd=0.5)


def test_calls_that_may_be_billed_are_not_lost():
    gate = fixed_alpha_gate(
        Writer("model:m", error=ModelUnavailable("gone", uncertain_calls=3)),
        Writer("tpe"),
        alpha=1,
    )
    assert ask(gate).usage == Usage(uncertain_calls=3)


def test_after_three_failures_in_a_row_the_model_is_left_alone_for_the_cooldown():
    model = Writer("model:m", error="no JSON")
    gate = adaptive_gate(model, Writer("tpe"))
    who = live(gate, [1.0] * 5 + [1.0] * 15)
    assert who[5:] == ["fallback"] * 3 + ["learner"] * 5 + ["fallback"] + [
        "learner"
    ] * 5 + ["fallback"]
    model.error = None
    assert live(gate, [1.0] * 12, first=20) == ["learner"] * 5 + ["model"] + [
        "learner"
    ] * 5 + ["model"]
    assert {trial.source for trial in gate.other.told[5:20]} == {"tpe"}


def test_two_failures_and_a_success_are_no_row():
    model = Writer("model:m", error="no JSON")
    gate = fixed_alpha_gate(model, Writer("tpe"), alpha=1)
    for number in range(8):
        model.error = None if number % 3 == 2 else "no JSON"
        assert live(gate, [1.0], first=number) == [
            "model" if number % 3 == 2 else "fallback"
        ]


def test_a_spent_budget_is_no_failure_of_the_model():
    gate = fixed_alpha_gate(
        Writer("model:m", error=BudgetSpent("all spent")), Writer("tpe"), alpha=1
    )
    assert live(gate, [1.0] * 6) == ["fallback"] * 6


def test_what_is_no_fault_of_the_model_goes_up():
    with pytest.raises(ZeroDivisionError):
        ask(
            fixed_alpha_gate(
                Writer("model:m", error=ZeroDivisionError()), Writer("tpe"), alpha=1
            )
        )


def test_both_are_told_of_every_trial_and_the_log_says_who_decided(caplog):
    model, other = Writer("model:m"), Writer("tpe")
    with caplog.at_level(logging.INFO, "llm_optimize"):
        live(adaptive_gate(model, other), [1.0] * 7)
    assert (
        [trial.number for trial in model.told]
        == [trial.number for trial in other.told]
        == list(range(7))
    )
    words = [
        "LLM" if "LLM decision" in line else "RL"
        for line in caplog.messages
        if " decision: " in line
    ]
    assert words == ["RL"] * 5 + ["LLM", "RL"]
    assert {record.levelname for record in caplog.records} == {"INFO"}
