"""Gates in a run: resumed, written down, with a real model proposer and the learner; and what they
are worth."""

import asyncio
import json
import math
from random import Random

import pytest

from benchmarks import learner
from benchmarks.problems import A, B
from llm_optimize import optimize
from llm_optimize.errors import ModelUnavailable, UnknownName, UsageError
from llm_optimize.propose import gates
from llm_optimize.propose.model import ModelProposer
from llm_optimize.propose.policy_gradient import PolicyGradient
from llm_optimize.records import Budget, Plan, Proposal, Status, Task
from llm_optimize.space import Float
from llm_optimize.store import Store
from llm_optimize.testing import ScriptedChat
from writers import Writer, adaptive_gate, ask, finished, fixed_alpha_gate

# Resume.


def gates_of(model, other):
    yield lambda: adaptive_gate(
        model(), other(), threshold=0.02, min_trials=3, cooldown=2
    )
    yield lambda: adaptive_gate(
        model(), other(), slope_scale="range", max_model_fraction=0.3, cooldown=0
    )
    yield lambda: fixed_alpha_gate(model(), other(), alpha=0.5)
    yield lambda: fixed_alpha_gate(model(), other(), alpha=0.2, blend="parameter")


@pytest.mark.parametrize("which", range(4))
def test_a_gate_that_is_told_again_goes_on_as_if_it_had_been_there(which):
    """Stop after every trial, tell a new gate what was stored, and compare the rest of its life."""

    class Flaky(Writer):
        async def propose(self, plan, ask, rng):
            if rng.random() < 0.5:
                raise ModelUnavailable("gone")
            return Proposal(B.space.sample(rng), "model:m")

    make = list(gates_of(lambda: Flaky("model:m"), lambda: PolicyGradient(B.space)))[
        which
    ]
    lived, history, whos = make(), [], set()
    for number in range(50):
        told_again = make()
        for trial in history:
            told_again.observe(trial)
        proposal = ask(lived, number)
        assert ask(told_again, number) == proposal
        whos.add(proposal.decision["who"])
        score = None if number % 9 == 4 else round(B.f(proposal.x), 1)
        told = finished(
            number,
            proposal,
            score,
            Status.COMPLETE if score is not None else Status.FAILED,
        )
        history.append(told)
        lived.observe(told)
    assert whos == {"model", "learner", "fallback"}


# As they are written down.


def test_a_gate_is_read_from_its_text():
    for spec in (
        gates.adaptive(
            "model", "tpe", threshold=-1e-3, window=4, max_model_fraction=None
        ),
        gates.fixed_alpha("mutation", "policy_gradient", alpha=0.25, blend="parameter"),
        gates.adaptive(),
    ):
        assert gates.read(str(spec)) == spec
    assert str(gates.adaptive(performance_threshold=0.1, min_episodes=3)) == str(
        gates.adaptive(slope_threshold=0.1, min_trials=3)
    )
    assert gates.fixed_alpha(llm_alpha=0.4).options == {"alpha": 0.4}


def test_a_gate_takes_names_and_proposers():
    model, other = Writer("model:m"), Writer("tpe")
    spec = gates.adaptive(model, "tpe", min_episodes=0)
    gate = spec.resolve({"tpe": other}.get)
    assert (gate.model, gate.other) == (model, other)
    assert ask(gate).decision["reason"] == "warmup"
    assert str(spec) == "adaptive(Writer, tpe, min_trials=0)"


@pytest.mark.parametrize(
    "text",
    [
        "adaptive(",
        "adaptive",
        "adaptive(model)",
        "adaptive(model, tpe, 3)",
        "adaptive(model, tpe, a=b)",
        "(1)(2, 3)",
    ],
)
def test_what_is_no_gate_is_said(text):
    with pytest.raises(UsageError, match="is not a gate: write adaptive"):
        gates.read(text)


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: gates.adaptive(treshold=1), UnknownName, "did you mean 'threshold'"),
        (
            lambda: gates.fixed_alpha(llm_alfa=1),
            UnknownName,
            "did you mean 'llm_alpha'",
        ),
        (
            lambda: gates.read("adaptve(model, tpe)"),
            UnknownName,
            "did you mean 'adaptive'",
        ),
        (lambda: gates.fixed_alpha(alpha=1.5), UsageError, "alpha is 1.5"),
        (lambda: gates.fixed_alpha(blend="params"), UnknownName, "blend"),
        (lambda: gates.fixed_alpha(cooldown=-1), UsageError, "cooldown is -1"),
        (lambda: gates.adaptive(window=2), UsageError, "window is 2"),
        (lambda: gates.adaptive(threshold=math.nan), UsageError, "threshold is nan"),
        (lambda: gates.adaptive(min_trials=-1), UsageError, "min_trials is -1"),
        (
            lambda: gates.adaptive(max_model_trials=-1),
            UsageError,
            "max_model_trials is -1",
        ),
        (
            lambda: gates.adaptive(max_model_fraction=2),
            UsageError,
            "max_model_fraction is 2",
        ),
        (lambda: gates.adaptive(slope_scale="rank"), UnknownName, "slope_scale"),
        (
            lambda: gates.adaptive("model", gates.adaptive()),
            UsageError,
            "gate stands inside a gate",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(make, error, said):
    with pytest.raises(error, match=said):
        make()


# In the hall.

X0 = {"a": 0.0, "b": 0.0}
SPACE = {"a": Float(0, 1), "b": Float(0, 1)}


def f(x):
    return 1 - (x["a"] - 0.3) ** 2 - (x["b"] - 0.6) ** 2


def run(
    store, *replies, proposer="adaptive(model, policy_gradient)", steps=12, **options
):
    options = {
        "space": SPACE,
        "x0": X0,
        "sandbox": "inline",
        "seed": 3,
        "name": "amber",
        "func": f,
        **options,
    }
    return optimize.run(
        "Raise f.",
        "A better x?",
        max_steps=steps,
        model=ScriptedChat(*replies),
        verbose=False,
        proposer=proposer,
        store=store,
        **options,
    )


HALF = gates.fixed_alpha(alpha=0.5)
GOOD = '```json\n{"a": 0.3, "b": 0.6}\n```'


def test_a_run_with_a_gate_counts_its_decisions(tmp_path):
    result = run(
        str(tmp_path / "runs.db"), *["hm"] * 3, GOOD, func=lambda x: 0.5, steps=11
    )
    assert [trial.decision["who"] for trial in result.trials[:2]] == ["x0", "learner"]
    assert result.decisions == {"model": 1, "learner": 9, "fallback": 1}
    fallback, model = (
        next(t for t in result.trials if t.decision["who"] == who)
        for who in ("fallback", "model")
    )
    assert (fallback.number, fallback.source, fallback.usage.calls) == (
        5,
        "policy_gradient",
        3,
    )
    assert (model.number, model.source, model.x) == (
        6,
        "model:scripted",
        {"a": 0.3, "b": 0.6},
    )
    assert result.usage.calls == 4
    store = Store(str(tmp_path / "runs.db"))
    assert store.run("amber").settings["proposer"] == "adaptive(model, policy_gradient)"
    assert [trial.decision for trial in store.run("amber").trials()] == [
        trial.decision for trial in result.trials
    ]
    store.close()


@pytest.mark.parametrize(
    "proposer",
    [
        gates.adaptive(min_trials=3, cooldown=1, threshold=0.5),
        gates.fixed_alpha(alpha=0.5),
    ],
)
def test_a_run_resumed_in_the_middle_is_the_run_that_was_not_interrupted(
    tmp_path, proposer
):
    url = str(tmp_path / "runs.db")
    replies = [
        f'```json\n{{"a": 0.{number}1, "b": 0.5}}\n```' for number in range(1, 9)
    ] * 2
    whole = run(url, *replies, proposer=proposer, name="whole")
    first = run(url, *replies, proposer=proposer, steps=6)
    rest = ScriptedChat(*replies[first.usage.calls :])
    second = optimize.resume(
        "amber", f, store=url, model=rest, max_steps=12, verbose=False
    )
    assert [(t.x, t.source, t.decision) for t in second.trials] == [
        (t.x, t.source, t.decision) for t in whole.trials
    ]
    assert second.decisions["model"] >= 2


def test_a_gate_without_a_model_asks_for_none(tmp_path):
    result = optimize.run(
        "d", "q", f, X0, 8, None, False, space=SPACE, sandbox="inline", seed=1,
        store=str(tmp_path / "runs.db"),
        proposer=gates.fixed_alpha("mutation", "policy_gradient", alpha=0.5),
    )  # fmt: skip
    assert {trial.source for trial in result.trials} == {
        "x0",
        "mutation",
        "policy_gradient",
    }
    assert result.decisions["fallback"] == 0
    alone = optimize.run(
        "d", "q", f, X0, 3, None, False, space=SPACE, sandbox="inline", seed=1,
        store=str(tmp_path / "runs.db"),
        proposer="policy_gradient",
    )  # fmt: skip
    assert [trial.source for trial in alone.trials[1:]] == ["policy_gradient"] * 3
    assert alone.decisions == {}


def test_a_spent_budget_of_calls_ends_no_trial(tmp_path):
    result = run(
        str(tmp_path / "runs.db"),
        GOOD,
        "hm",
        proposer=gates.fixed_alpha(alpha=1),
        budget=Budget(calls=2),
    )
    assert [trial.decision["who"] for trial in result.trials] == [
        "x0",
        "model",
        "fallback",
    ]
    assert result.trials[2].decision["reason"] == "budget"
    assert result.trials[2].usage.calls == 1


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (
            {"proposer": "adaptive(model, policy_gradent)"},
            UnknownName,
            "did you mean 'policy_gradient'",
        ),
        (
            {"proposer": "policy_gradient", "space": None, "x0": "1"},
            UsageError,
            "give space",
        ),
        (
            {"proposer": "adaptive(model, policy_gradient)", "space": None, "x0": "1"},
            UsageError,
            "give space",
        ),
    ],
)
def test_gates_that_cannot_work_are_refused(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        run(str(tmp_path / "runs.db"), **options)


# What they are for.


def scripted(problem, x):
    """Return the real model proposer with a model that always gives this x."""
    task = Task("Raise f.", "A better x?", "{task_description}", "{x} {fx}")
    model = ScriptedChat(*[json.dumps(dict(x))] * 500)
    return ModelProposer(task, problem.space), model


@pytest.mark.parametrize("problem", [A, B])
@pytest.mark.parametrize("before", [0, 7, 23])
def test_a_good_model_reaches_the_optimum_within_a_cooldown_of_a_plateau(
    problem, before
):
    """After trials that rise, the plateau begins; the optimum comes within min_trials + cooldown +
    1 trials."""
    proposer, model = scripted(problem, problem.best)
    gate = adaptive_gate(proposer, PolicyGradient(problem.space))
    rising = [0.02 * number for number in range(before)]
    flat = [0.02 * before] * 11  # min_trials + cooldown + 1
    reached = []
    for number, score in enumerate([*rising, *flat]):
        proposal = asyncio.run(
            gate.propose(
                Plan(None),
                lambda messages, schema=None: model.reply(messages),
                Random(f"4/propose/{number}"),
            )
        )
        reached += [number] if problem.f(proposal.x) == pytest.approx(1.0) else []
        gate.observe(finished(number, proposal, score))
    assert reached
    assert reached[0] >= before


@pytest.mark.parametrize("problem", [A, B])
def test_a_useless_model_costs_at_most_a_tenth(problem):
    lost = list(learner.useless_model(problem, seeds=8))
    assert len(lost) == 4
    assert [bar.name for bar in lost if bar.verdict != "held"] == []
