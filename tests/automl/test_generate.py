"""generate-models: grids, past tasks, prompts, answers good and bad, files, exit codes."""

from __future__ import annotations

import json
import math
import re
from random import Random

import pytest

from llm_optimize import cli
from llm_optimize.automl.advisor import library as libraries
from llm_optimize.automl.advisor.grids import (
    as_models,
    builtin_grids,
    config_of,
    space_of,
)
from llm_optimize.automl.advisor.library import builtin_tasks, members_of, task_of
from llm_optimize.automl.advisor.options import METRICS
from llm_optimize.automl.advisor.prompts import messages_within
from llm_optimize.automl.advisor.similar import support
from llm_optimize.errors import UsageError
from server import completion

GRIDS = builtin_grids()
TASKS = builtin_tasks(GRIDS)
MEMBERS = [(task.name, member) for task in TASKS.values() for member in task.members]
SIZES = {"catboost": 4.85e8, "lgbm": 1.56e14, "xgboost": 3.57e11, "skmlp": 209_952}
TABLE = {  # rows of catboost, lgbm, xgboost, skmlp; least and greatest percentile rank
    "abalone": (2, 7, 0, 1, 15.5, 66.7),
    "allstate": (0, 7, 0, 3, 24.3, 51.2),
    "blueberry": (3, 7, 0, 0, 19.2, 53.4),
    "crab_age": (1, 3, 1, 0, 58.4, 73.4),
    "insurance": (0, 8, 0, 2, 34.5, 75.2),
    "attrition": (2, 0, 0, 4, 0.6, 18.8),
    "credit_fusion": (7, 3, 0, 0, 31.6, 83.1),
    "influencers": (1, 1, 0, 0, 21.2, 95.5),
    "loan_approval": (0, 6, 0, 0, 68.3, 77.2),
    "molecules": (1, 2, 7, 0, 9.0, 35.5),
}
FACTS = {  # n_train, n_test, numeric, categorical, classes, missing cells
    "churn": ("binary classification", "auc", 165_034, 110_023, 7, 6, 2, 0),
    "covertype": (
        "multi-class classification",
        "accuracy",
        15_120,
        565_892,
        11,
        44,
        7,
        0,
    ),
    "mercedes": ("regression", "r2", 4_209, 4_209, 1, 376, None, 0),
    "mental_health": (
        "binary classification",
        "accuracy",
        140_700,
        93_800,
        9,
        7,
        2,
        718_167,
    ),
    "molecules": ("binary classification", "nll", 3_751, 2_501, 1_777, 0, 2, 0),
}


@pytest.mark.parametrize("model", SIZES)
def test_a_grid_has_the_size_that_is_known(model):
    sizes = [len(values.values) for values in GRIDS[model].parameters.values()]
    assert math.prod(sizes) == pytest.approx(SIZES[model], rel=0.005)


@pytest.mark.parametrize("name", TABLE)
def test_a_past_task_has_the_members_that_are_known(name):
    members = task_of(TASKS, name).members
    counts = [
        sum(one.config.model == model for one in members)
        for model in ("catboost", "lgbm", "xgboost", "skmlp")
    ]
    ranks = [one.prank for one in members]
    assert counts == list(TABLE[name][:4])
    assert [min(ranks), max(ranks)] == pytest.approx(TABLE[name][4:], abs=0.05)


def test_there_are_22_past_tasks_and_79_members():
    assert len(TASKS) == 22
    assert len(MEMBERS) == 79
    kinds = [task.metadata["prediction_type"] for task in TASKS.values()]
    assert [kinds.count(kind) for kind in sorted(set(kinds))] == [8, 3, 11]
    assert {task.metadata["score_name"] for task in TASKS.values()} == set(METRICS)


@pytest.mark.parametrize("name", FACTS)
def test_a_past_task_has_the_metadata_that_is_known(name):
    data = task_of(TASKS, name).metadata
    features = data["features"]
    assert FACTS[name] == (
        data["prediction_type"],
        data["score_name"],
        data["n_train"],
        data["n_test"],
        features["numeric_features"],
        features["categorical_features"],
        data["target_values"].get("unique_target_classes_count"),
        data["missing_data"]["total_missing_values"],
    )


def test_every_member_is_accepted_and_every_mutated_one_refused_or_projected():
    rng = Random(0)
    for _, member in MEMBERS:
        grid = GRIDS[member.config.model]
        values = member.config.by_name
        assert grid.check(values) == member.config
        assert grid.project(values) == (member.config, [])
        name = rng.choice(list(values))
        numeric = grid.parameters[name].dtype != "str"
        mutated = {**values, name: values[name] * 1.37 + 0.013 if numeric else "bogus"}
        with pytest.raises(UsageError, match=name):
            grid.check(mutated)
        if numeric:
            config, notes = grid.project(mutated)
            assert grid.check(config.by_name) == config
            assert len(notes) == 1
            assert name in notes[0]
        else:
            with pytest.raises(UsageError, match="bogus"):
                grid.project(mutated)
        without = {key: value for key, value in values.items() if key != name}
        with pytest.raises(UsageError, match=f"{name} is missing"):
            grid.check(without)


@pytest.mark.parametrize(
    ("model", "name", "given", "expected"),
    [
        ("lgbm", "learning_rate", 0.0031, 0.002),  # the plain scale would say the same
        ("lgbm", "learning_rate", 0.025, 0.05),  # and here 0.01
        ("lgbm", "n_estimators", 5000, 1000),
        ("lgbm", "n_estimators", "150", 150),
        ("lgbm", "max_depth", -1, 1),
        ("lgbm", "boosting_type", "gbdt", "gbdt_0"),
        ("lgbm", "boosting_type", "GOSS", "goss"),
        ("catboost", "l2_leaf_reg", 10, 5.0),
        ("catboost", "l2_leaf_reg", 3, 3.0),
        ("skmlp", "layers", 64, "64"),
        ("skmlp", "epsilon", 3e-8, 1e-8),
    ],
)
def test_a_value_goes_to_the_nearest_of_the_grid(model, name, given, expected):
    found = GRIDS[model].parameters[name].project(given)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", [math.nan, math.inf, None, True, "fast", [1]])
def test_a_value_that_means_nothing_is_refused(value):
    with pytest.raises(UsageError):
        GRIDS["lgbm"].parameters["learning_rate"].project(value)


def test_every_configuration_is_an_x_of_the_space():
    space = space_of(GRIDS)
    for _, member in MEMBERS:
        x = member.config.x()
        assert space.check(x) == x
        assert config_of(x) == member.config
    assert config_of(space.sample(Random(0))).model in GRIDS


# Past tasks that are shown.


def test_churn_learns_from_the_five_classification_tasks_and_abalone_from_four():
    names = {}
    for name in ("churn", "abalone", "cirrhosis"):
        task = task_of(TASKS, name)
        found = support(task.metadata, TASKS, exclude=task.name)
        names[name] = sorted(one.name.removeprefix("kaggle_") for one in found)
    binary = ["attrition", "credit_fusion", "influencers", "loan_approval", "molecules"]
    assert names["churn"] == names["cirrhosis"] == binary
    assert names["abalone"] == ["allstate", "blueberry", "crab_age", "insurance"]


def test_the_nearest_task_comes_first():
    for name in ("crab_age", "loan_approval"):
        metadata = task_of(TASKS, name).metadata
        assert support(metadata, TASKS)[0].name == f"kaggle_{name}"
    abalone = task_of(TASKS, "abalone")
    found = support(abalone.metadata, TASKS, exclude=abalone.name)
    assert found[0].name == "kaggle_crab_age"


def churn_prompt(tokens=16_000, **how):
    churn = task_of(TASKS, "churn")
    past = support(churn.metadata, TASKS, exclude=churn.name)
    messages, shown = messages_within(tokens, churn.metadata, GRIDS, past, 10, **how)
    return messages, shown


def test_a_prompt_names_no_data_set_unless_it_is_asked_to():
    messages, shown = churn_prompt()
    text = json.dumps(messages)
    assert len(shown) == 5
    for task in TASKS:
        name = task.removeprefix("kaggle_")
        assert not re.search(rf"\b{name}\b", text)
    named = json.dumps(churn_prompt(show_names=True)[0])
    assert "kaggle_churn" in named
    assert "kaggle_loan_approval" in named


def test_a_prompt_says_what_ranks_and_metrics_mean():
    system, user = (message["content"] for message in churn_prompt()[0])
    assert "percentile rank" in system
    assert "exactly 10" in system
    assert "auc (higher is better)" in user
    assert "nll (lower is better)" in user
    zero, _ = messages_within(9_000, task_of(TASKS, "churn").metadata, GRIDS, [], 10)
    assert "mean_score" not in zero[0]["content"]
    assert '"values": []' in zero[1]["content"]


def test_a_small_prompt_keeps_the_nearest_task():
    _, all_shown = churn_prompt()
    messages, shown = churn_prompt(2_500)
    assert 1 <= len(shown) < 5
    assert shown == all_shown[: len(shown)]
    assert sum(len(one["content"]) for one in messages) / 4 <= 2_500


def test_the_same_request_makes_a_byte_identical_prompt():
    assert json.dumps(churn_prompt()[0]) == json.dumps(churn_prompt()[0])


def answer_of(configs):
    return f"Thinking.\n```json\n{json.dumps(as_models(configs, GRIDS))}\n```\nDone."


GOOD = [one.config for _, one in MEMBERS[:10]]


# The command.


@pytest.fixture
def generate(tmp_path, server, monkeypatch, capsys):
    """Return a function that runs the command in a folder, and returns its exit code and output."""
    monkeypatch.chdir(tmp_path)

    def generate(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(["generate-models", *words])
        printed = capsys.readouterr()
        return ended.value.code, printed.out + printed.err

    return generate


def test_the_portfolio_needs_no_key_and_writes_models_json(generate, tmp_path):
    code, text = generate(
        "--task", "churn", "--llm-model", "portfolio", "--output-dir", "a"
    )
    assert code == 0, text
    data = json.loads((tmp_path / "a" / "models.json").read_text())
    members = members_of(data, GRIDS, "models.json")
    assert len(members) == len({one.config for one in members}) == 10
    for model, table in data["models"].items():
        assert table["columns"] == list(GRIDS[model].parameters)
    provenance = json.loads((tmp_path / "a" / "provenance.json").read_text())
    assert [one["source"] for one in provenance] == ["support"] * 10
    assert (tmp_path / "a" / "models.json").read_text().startswith('{\n    "models"')


def test_a_model_is_asked_with_the_options_and_the_files_are_written(
    generate, tmp_path, server
):
    server.replies(completion(answer_of(GOOD), reasoning_content="because"))
    words = ["--task", "kaggle_churn", "--llm-model", "org/m", "--base-url", server.url]
    words += ["--api-key", "k", "--save-prompt", "--save-reasoning"]
    code, text = generate(*words)
    assert code == 0, text
    (request,) = server.requests
    assert (request["temperature"], request["seed"]) == (1.0, 42)
    assert [one["role"] for one in request["messages"]] == ["system", "user"]
    assert (tmp_path / "user_prompt.txt").read_text().strip() == (
        request["messages"][1]["content"]
    )
    assert (tmp_path / "reasoning.txt").read_text() == "because\n"
    assert (tmp_path / "answer.txt").read_text().startswith("Thinking.")
    code, text = generate(*words)
    assert code == 0, text
    assert "an earlier answer was used" in text
    assert len(server.requests) == 1


def test_zero_shot_shows_no_past_tasks(generate, server):
    server.replies(answer_of(GOOD))
    words = ["--task", "churn", "--llm-model", "m", "--base-url", server.url]
    assert generate(*words, "--api-key", "k", "--zero-shot")[0] == 0
    assert "Past task" not in server.requests[0]["messages"][1]["content"]


def test_a_useless_answer_ends_with_1_and_is_kept(generate, tmp_path, server):
    server.replies("I would rather not.", "No.")
    words = ["--task", "churn", "--llm-model", "m", "--base-url", server.url]
    code, text = generate(*words, "--api-key", "k")
    assert code == 1
    assert "answer.txt" in text
    assert not (tmp_path / "models.json").exists()
    assert "I would rather not." in (tmp_path / "answer.txt").read_text()


def write_task(folder, name, metadata, members=None):
    path = folder / "tasks" / name
    path.mkdir(parents=True)
    (path / "metadata.json").write_text(json.dumps({"dataset": metadata}))
    if members is not None:
        (path / "top_10_submissions.json").write_text(json.dumps(members))


def test_own_tasks_are_used(generate, tmp_path):
    mine = {"n_train": 50, "prediction_type": "binary classification"}
    top = libraries.as_top(task_of(TASKS, "influencers").members, GRIDS)
    write_task(tmp_path / "mine", "new", mine)
    write_task(tmp_path / "mine", "old", mine, top)
    words = ["--task", "new", "--llm-model", "portfolio", "--tasks-dir", "mine"]
    code, text = generate(*words)
    assert code == 0, text
    assert "2 support" in text


def test_a_wrong_member_of_an_own_task_is_refused(generate, tmp_path):
    mine = {"n_train": 50, "prediction_type": "binary classification"}
    top = libraries.as_top(task_of(TASKS, "influencers").members, GRIDS)
    top["models"]["lgbm"]["values"][0][4] = 0.0499
    write_task(tmp_path / "mine", "old", mine, top)
    words = ["--task", "old", "--llm-model", "portfolio", "--tasks-dir", "mine"]
    code, text = generate(*words)
    assert code == 2
    assert "learning_rate is 0.0499, not in the grid" in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "--task"),
        (["--task", "chrun"], "kaggle_churn"),
        (["--task", "churn", "--tasks-dir", "nowhere"], "--tasks-dir"),
        (["--task", "churn", "--models-dir", "nowhere"], "--models-dir"),
        (["--task", "churn", "--zero-shot"], "portfolio"),
        (["--task", "churn", "--llm-model", "m"], "OPENAI_API_KEY"),
        (["--task", "churn", "--llm-model", "m", "--max-usd", "1"], "OPENAI_API_KEY"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(generate, tmp_path, words, part):
    model = [] if "--llm-model" in words else ["--llm-model", "portfolio"]
    code, text = generate(*words, *model)
    assert code == 2, text
    assert part in text
    assert len(text.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_package_is_the_same_as_its_folders(tmp_path):
    for name, task in TASKS.items():
        members = libraries.as_top(task.members, GRIDS) if task.members else None
        write_task(tmp_path, name, task.metadata, members)
    assert libraries.tasks_in(tmp_path, GRIDS) == TASKS
