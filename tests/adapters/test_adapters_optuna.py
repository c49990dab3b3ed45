"""ModelSampler in real studies of Optuna: what a model reads, what it may choose, fallbacks."""

import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import optuna
import pytest

from llm_optimize.adapters.optuna import ModelSampler, plan_of
from llm_optimize.errors import MissingKey, ModelRefused, ModelUnavailable, UsageError
from llm_optimize.llm import Chat
from llm_optimize.testing import ScriptedChat
from server import KEY


@pytest.fixture(autouse=True)
def quiet_studies():
    """Leave Optuna's own log alone but for this test."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def loss(trial):
    x = trial.suggest_float("x", 1e-3, 10, log=True)
    n = trial.suggest_int("n", 2, 20, step=3)
    kind = trial.suggest_categorical("kind", ["a", "b", None, True])
    return abs(x - 1) + abs(n - 11) + (kind != "b")


def study_of(model, direction="minimize", **options):
    return optuna.create_study(
        direction=direction, sampler=ModelSampler(model, "A loss.", seed=1, **options)
    )


def said(model, call=-1):
    return "\n".join(message["content"] for message in model.asked[call])


ANSWER = '```json\n{"x": 1.0, "n": 11, "kind": "b"}\n```'


def test_the_model_proposes_in_the_users_own_study():
    model = ScriptedChat('I try {"x": "0.5", "n": 8, "kind": null}', ANSWER)
    study = study_of(model)
    study.optimize(loss, n_trials=3)
    assert study.trials[1].params == {"x": 0.5, "n": 8, "kind": None}
    assert study.best_trial.number == 2
    assert study.best_value == 0
    assert (
        study.sampler.proposals,
        study.sampler.fallbacks,
        study.sampler.usage.calls,
    ) == (2, 0, 2)


def test_it_reads_names_ranges_values_and_which_way_is_up():
    model = ScriptedChat(*[ANSWER.replace("11", n) for n in ("2", "5", "8", "11")])
    study = study_of(model)
    study.optimize(loss, n_trials=5)
    text = said(model)
    assert "A loss." in text
    assert "to be minimized" in text
    assert '"x": a number from 0.001 to 10, on a logarithmic scale' in text
    assert '"n": a whole number from 2 to 20 in steps of 3' in text
    assert '"kind": one of "a", "b", null, true' in text
    assert (
        text.index('"n":2')
        < text.index('"n":5')
        < text.index("The x to improve")
        < text.index('"n": 8')
    )
    assert "score -3\nvalue 3.0" in text  # of the parent: n is 8


def test_of_many_trials_it_reads_the_best_the_latest_and_some_failures():
    study = optuna.create_study(direction="maximize")
    for number in range(60):
        params, distributions = (
            {"x": number / 60},
            {"x": optuna.distributions.FloatDistribution(0, 1)},
        )
        state = (
            optuna.trial.TrialState.FAIL
            if number % 10 == 3
            else optuna.trial.TrialState.COMPLETE
        )
        value = (
            None
            if number % 10 == 3
            else math.inf
            if number == 7
            else -abs(number - 20.0)
        )
        study.add_trial(
            optuna.create_trial(
                state=state, value=value, params=params, distributions=distributions
            )
        )
    plan = plan_of(study)
    assert plan.parent.number == 20
    assert [trial.number for trial in plan.context] == [
        17,
        18,
        19,
        21,
        22,
        55,
        56,
        57,
        58,
        59,
    ]
    assert [trial.number for trial in plan.failures] == [13, 23, 33, 43, 53]


def test_parameters_under_conditions_are_asked_for_and_ignored_where_they_do_not_apply():
    def objective(trial):
        if trial.suggest_categorical("kind", ["flat", "steep"]) == "steep":
            return trial.suggest_float("slope", 0, 1)
        return 0.1

    model = ScriptedChat(
        *['{"kind": "steep", "slope": 0.75}', '{"kind": "flat", "slope": 0.5}']
    )
    study = study_of(model, "maximize")
    study.enqueue_trial(
        {"kind": "steep", "slope": 0.2}
    )  # nobody is asked for what the user has chosen
    study.enqueue_trial({"kind": "flat", "slope": 0.2})
    study.optimize(objective, n_trials=4)
    assert study.sampler.proposals == 2
    assert [trial.params for trial in study.trials[2:]] == [
        {"kind": "steep", "slope": 0.75},
        {"kind": "flat"},
    ]
    assert "not every trial uses it: 1 of 2 did" in said(model, -2)


def test_a_parameter_that_is_new_or_whose_range_changes_is_the_fallbacks():
    def objective(trial):
        x = trial.suggest_float("x", 0, 1 + (trial.number % 2))
        trial.suggest_categorical("odd", [("a",), ("b",)])
        return x + trial.suggest_int(f"n{trial.number > 1}", 0, 9)

    model = ScriptedChat(
        '{"x": 0.5, "nFalse": 4}', '{"nFalse": 4}', '{"nFalse": 4, "nTrue": 9}'
    )
    study = study_of(model)
    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        study.optimize(objective, n_trials=4)
    assert study.trials[1].params["x"] == 0.5
    assert (study.sampler.proposals, study.sampler.fallbacks) == (3, 0)
    assert set(study.trials[3].params) == {"x", "odd", "nTrue"}
    assert study.trials[3].params["nTrue"] == 9


def test_a_model_that_fails_is_replaced_by_the_fallback_and_counted(caplog):
    down = ModelUnavailable("the endpoint is down")
    model = ScriptedChat(
        down, ANSWER, "no idea", "none", "give up", ModelRefused("quota"), ANSWER
    )
    study = study_of(model)
    with caplog.at_level(logging.WARNING, "llm_optimize"):
        study.optimize(loss, n_trials=6)
    assert len(study.trials) == 6
    assert (study.sampler.proposals, study.sampler.fallbacks) == (2, 3)
    assert study.best_value == 0
    warned = [record.getMessage() for record in caplog.records]
    assert (
        warned[0]
        == "trial 1 is proposed by TPESampler, since the model failed: the endpoint is down"
    )
    assert "the reply holds no whole JSON object" in warned[1]
    assert study.sampler.usage.calls == 5


def test_the_fallback_may_be_another_sampler_and_begin_the_study():
    model = ScriptedChat(ANSWER)
    study = study_of(model, fallback=optuna.samplers.RandomSampler(seed=3), startup=4)
    study.optimize(loss, n_trials=5)
    other = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    other.optimize(loss, n_trials=4)
    assert [trial.params for trial in study.trials[:4]] == [
        trial.params for trial in other.trials
    ]
    assert study.trials[4].value == 0


def test_pruned_and_failed_trials_are_remembered():
    def objective(trial):
        value = loss(trial)
        trial.report(value, 0)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ZeroDivisionError
        return value

    model = ScriptedChat(*[ANSWER.replace("11", n) for n in ("2", "5", "8")])
    study = study_of(model)
    study.optimize(objective, n_trials=4, catch=(ZeroDivisionError,))
    assert "pruned at 9.0 with" in said(model)
    assert "fail with" in said(model)
    assert '\\"n\\": 5' in json.dumps(said(model))


def test_a_real_endpoint_is_asked(server):
    server.replies("Perhaps:\n" + ANSWER, for_ever=True)
    chat = Chat("m", base_url=server.url, api_key=KEY)
    study = study_of(chat)
    study.optimize(loss, n_trials=4)
    assert study.best_value == 0
    assert len(server.requests) == 3 == study.sampler.proposals
    assert study.sampler.usage.tokens == 3 * 18


def test_workers_of_a_study_share_one_model(server):
    server.replies(ANSWER, for_ever=True)
    study = study_of(Chat("m", base_url=server.url, api_key=KEY))
    study.optimize(loss, n_trials=1)
    study.optimize(loss, n_trials=8, n_jobs=4)
    assert study.sampler.proposals == 8
    assert all(trial.value == 0 for trial in study.trials[1:])


def test_what_cannot_work_is_refused():
    with pytest.raises(MissingKey):
        ModelSampler("gpt-5-mini")
    with pytest.raises(UsageError, match="startup is 0"):
        ModelSampler(ScriptedChat(), startup=0)
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=ModelSampler(ScriptedChat())
    )
    with pytest.raises(UsageError, match="2 objectives"):
        study.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 2.0), n_trials=1)


def test_without_optuna_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "try: import llm_optimize.adapters.optuna\nexcept ImportError as error: print(error)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pip install optuna" in done.stdout
