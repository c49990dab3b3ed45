"""Answers of a model that recommends: good ones, nearly good ones, useless ones."""

from __future__ import annotations

import json

import pytest

from llm_optimize.automl.advisor.answer import read_answer
from llm_optimize.automl.advisor.grids import (
    SCORES,
    Config,
    as_models,
    builtin_grids,
    grids_in,
)
from llm_optimize.automl.advisor.library import builtin_tasks, task_of
from llm_optimize.automl.advisor.portfolio import portfolio, usual_configs
from llm_optimize.automl.advisor.recommendation import recommend
from llm_optimize.errors import AnswerUnusable
from llm_optimize.testing import ScriptedChat

GRIDS = builtin_grids()
TASKS = builtin_tasks(GRIDS)
MEMBERS = [(task.name, member) for task in TASKS.values() for member in task.members]
GOOD = [one.config for _, one in MEMBERS[:10]]


def answer_of(configs):
    return f"Thinking.\n```json\n{json.dumps(as_models(configs, GRIDS))}\n```\nDone."


CHURN = task_of(TASKS, "churn")


def ask(*replies, **given):
    model = ScriptedChat(*replies)
    found = recommend(CHURN.metadata, model, exclude=CHURN.name, **given)
    return found, model


def test_a_good_answer_is_taken_as_it_is():
    found, model = ask(answer_of(GOOD))
    assert sorted(map(repr, found.configs)) == sorted(map(repr, GOOD))
    assert {one.source for one in found} == {"model"}
    assert len(model.asked) == 1


def bare(configs):
    return json.dumps(as_models(configs, GRIDS))


@pytest.mark.parametrize(
    "text",
    [
        bare(GOOD).replace("0.1,", ".1,"),
        bare(GOOD)[:-1] + ",}",
        bare(GOOD) + " I hope this {helps}",
        "```\n" + bare(GOOD) + "\n```",
        bare(GOOD).removeprefix('{"models": ')[:-1],
        answer_of(GOOD).replace("```json", "```JSON"),
    ],
    ids=["bare decimals", "trailing comma", "prose", "plain fence", "inner", "case"],
)
def test_an_answer_in_another_form_is_read(text):
    assert len(read_answer(text, GRIDS).rows) == 10


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        json.dumps([{"a": 1}]),
        '{"models": []}',
        '{"models": {"lgbm": {"columns": ["learning_rate"], "values": [[NaN]]}}}',
        '{"models": {"prophet": {"columns": [], "values": []}}}',
        '{"models": {"lgbm": {"columns": "all", "values": [[1]]}}}',
        '{"models": {"lgbm": {"columns": ["learning_rate"], "values": [1]}}}',
        '{"models": {"lgbm": {"columns": ["learning_rate"], "values": [[1, 2]]}}}',
        "{" * 3_000,
    ],
)
def test_an_answer_without_a_configuration_has_a_reason(text):
    found = read_answer(text, GRIDS)
    assert found.rows == ()
    assert found.problems


def test_a_text_value_is_not_taken_for_a_number():
    table = {"columns": ["layers"], "values": [["v.1"]]}
    found = read_answer(json.dumps({"models": {"skmlp": table}}), GRIDS)
    assert "'v.1'" in found.problems[0]


def test_rows_off_the_grid_are_projected_repeated_ones_dropped_and_missing_ones_completed():
    data = as_models(GOOD[:3], GRIDS)
    model = GOOD[0].model
    table = data["models"][model]
    off = list(table["values"][0])
    off[table["columns"].index("learning_rate")] = 0.0499
    table["columns"] = [*table["columns"], *SCORES]
    rows = [[*row, 0.5, 99.0] for row in [*table["values"], table["values"][0], off]]
    table["values"] = rows
    found, scripted = ask(json.dumps(data), json.dumps(data))
    sources = [one.source for one in found]
    assert len(found) == len(set(found.configs)) == 10
    assert sources.count("model") == 3
    assert sources.count("projected") == 1
    assert sources.count("support") == 6
    (moved,) = [one for one in found if one.source == "projected"]
    assert "learning_rate was 0.0499 and is 0.05" in moved.notes
    repair = scripted.asked[1][-1]["content"]
    assert "4 usable configurations of 10" in repair
    assert "twice" in repair


def test_too_many_configurations_are_cut():
    many = [one.config for _, one in MEMBERS]
    found, _ = ask(answer_of(many))
    assert len(found) == 10


def test_a_repaired_answer_counts():
    found, model = ask("no", answer_of(GOOD))
    assert {one.source for one in found} == {"model"}
    assert len(model.asked) == 2
    assert "no JSON object" in model.asked[1][-1]["content"]


def test_an_answer_that_stays_unusable_is_an_error_with_the_answers():
    with pytest.raises(AnswerUnusable) as raised:
        ask("no", "still no")
    assert raised.value.answers == ("no", "still no")


def test_what_was_tried_is_not_recommended_again():
    observed = [(config.x(), 0.5 + number / 100) for number, config in enumerate(GOOD)]
    found, model = ask(
        answer_of(GOOD), answer_of(usual_configs(GRIDS, 10)), observed=observed
    )
    assert not set(found.configs) & set(GOOD)
    assert "0.59" in model.asked[0][1]["content"]
    offline = recommend(CHURN.metadata, exclude=CHURN.name, observed=observed)
    assert len(offline) == 10
    assert not set(offline.configs) & set(GOOD)
    assert [one.source for one in offline].count("neighbor") >= 4


def test_a_portfolio_is_made_of_members_of_the_nearest_tasks():
    found = recommend(CHURN.metadata, exclude=CHURN.name)
    assert {one.source for one in found} == {"support"}
    nearest = task_of(TASKS, "loan_approval").members
    best = max(nearest, key=lambda one: one.prank)
    assert found.configs[0] == best.config
    assert portfolio([], 10) == []


def test_a_single_class_with_a_tiny_grid_is_completed_as_far_as_it_goes(tmp_path):
    folder = tmp_path / "models" / "only"
    folder.mkdir(parents=True)
    grid = {
        "a": {"dtype": "int", "values": [1, 2]},
        "b": {"dtype": "str", "values": ["x"]},
    }
    (folder / "hyperparameter_grid.json").write_text(json.dumps(grid))
    grids = grids_in(tmp_path)
    found = recommend(CHURN.metadata, grids=grids, library={})
    assert sorted(one.config.by_name["a"] for one in found) == [1, 2]
    assert Config("only", (("a", 2), ("b", "x"))) in found.configs
