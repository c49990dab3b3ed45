"""Tables as metadata, bad tables, own runs as past tasks, and what recommendations are for."""

from __future__ import annotations

import math

import pytest

from llm_optimize import optimize
from llm_optimize.automl import advisor
from llm_optimize.automl.advisor.grids import builtin_grids, config_of
from llm_optimize.automl.advisor.library import BINARY, MULTICLASS, REGRESSION
from llm_optimize.automl.advisor.own_runs import own_tasks
from llm_optimize.errors import UnknownName, UsageError

pandas = pytest.importorskip("pandas", reason="tables need the automl extra")


def frame(**columns):
    """Return 40 rows: a number, a category, a target of two classes, and what is given."""
    usual = {
        "size": [0.5 * n % 7 for n in range(40)],
        "kind": ["a", "b", "c", "a"] * 10,
        "y": [0, 1] * 20,
    }
    return pandas.DataFrame({**usual, **columns})


def test_a_table_is_described():
    found = advisor.describe(frame(), "y", name="toy")
    assert found["name"] == "toy"
    assert (found["prediction_type"], found["score_name"]) == (BINARY, "auc")
    assert (found["n_train"], found["n_test"], found["total_samples"]) == (40, 0, 40)
    features = found["features"]
    assert (features["total"], features["numeric_features"]) == (2, 1)
    assert features["categorical_features"] == 1
    assert features["unique_values_per_categorical"] == {
        "min": 3,
        "max": 3,
        "median": 3,
        "mode": 3,
    }
    assert features["numerical_range_avg"] == 6.5
    assert found["missing_data"] == {
        "has_missing": False,
        "total_missing_values": 0,
        "data_density": 1.0,
    }
    assert found["target_values"]["unique_target_classes_count"] == 2
    assert found["target_values"]["least_class_share"] == 0.5


def test_training_and_test_rows_are_described_together():
    data = frame()
    data.loc[:9, "size"] = None
    found = advisor.describe(data, "y", test=frame().drop(columns="y").head(8))
    assert (found["n_train"], found["n_test"]) == (40, 8)
    assert found["train_test_ratio"] == 5.0
    assert found["missing_data"]["total_missing_values"] == 10
    assert found["missing_data"]["data_density"] == round(1 - 10 / 96, 2)


def test_the_target_decides_the_kind_and_the_metric():
    numbers = frame(y=[n * 0.37 for n in range(40)])
    found = advisor.describe(numbers, "y")
    assert (found["prediction_type"], found["score_name"]) == (REGRESSION, "rmse")
    assert found["target_values"]["target_max"] == 14.43
    assert abs(found["target_values"]["target_skewness"]) < 0.001
    three = advisor.describe(frame(y=list("abcb") * 10), "y")
    assert (three["prediction_type"], three["score_name"]) == (MULTICLASS, "nll")
    counts = advisor.describe(frame(y=[n % 3 for n in range(40)]), "y", "mae")
    assert counts["prediction_type"] == REGRESSION


@pytest.mark.parametrize(
    ("column", "is_id"),
    [
        (list(range(100, 140)), True),
        ([f"row-{n}" for n in range(40)], True),
        ([n * 7 % 41 for n in range(40)], False),
        ([n / 3 for n in range(40)], False),
    ],
    ids=["running number", "names", "whole numbers", "numbers"],
)
def test_ids_are_dropped(column, is_id):
    found = advisor.describe(frame(extra=column), "y")["features"]
    assert found["dropped_ids"] == int(is_id)
    assert found["total"] == 3 - is_id


def test_a_column_of_two_numbers_is_a_category():
    found = advisor.describe(frame(flag=[0, 1] * 20), "y")["features"]
    assert found["categorical_features"] == 2


WIDE = {f"c{n}": [n] * 40 for n in range(10_000)}


@pytest.mark.parametrize(
    ("columns", "given", "part"),
    [
        ({}, ("z",), "column (the target) 'z'"),
        ({}, ("y", "acuracy"), "did you mean 'accuracy'"),
        ({"none": [None] * 40}, ("y",), "'none' has no value"),
        ({"y": [1] * 40}, ("y",), "same target"),
        ({"y": [None] * 40}, ("y",), "at least 10"),
        ({"y": list("abcd") * 10}, ("y", "auc"), "auc needs two classes"),
        ({"y": list("abcd") * 10}, ("y", "rmse"), "needs a target of numbers"),
        ({"y": [-1.5, 2.5] * 20}, ("y", "rmsle"), "rmsle needs"),
        ({"y": [math.inf, 2.5] * 20}, ("y", "rmse"), "infinite"),
        (WIDE, ("y",), "10003 columns"),
    ],
)
def test_a_table_that_cannot_be_learned_from_is_refused(columns, given, part):
    data = pandas.concat([frame(), pandas.DataFrame(columns)], axis=1)
    data = data.loc[:, ~data.columns.duplicated(keep="last")]
    with pytest.raises(UsageError) as raised:
        advisor.describe(data, *given)
    assert part in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_of_ids_only_is_refused():
    data = pandas.DataFrame({"id": range(40), "y": [0, 1] * 20})
    with pytest.raises(UsageError, match="besides ids"):
        advisor.describe(data, "y")


def test_test_rows_must_have_the_columns():
    with pytest.raises(UsageError, match="'kind'"):
        advisor.describe(frame(), "y", test=frame().drop(columns="kind"))


# What a recommendation is for.


def worth(x):
    """Prefer LightGBM with a learning rate of 0.1."""
    config = config_of(x)
    rate = config.by_name.get("learning_rate", 1.0)
    return -abs(rate - 0.1) - (config.model != "lgbm")


def run(url, x0, name, description):
    return optimize.run(
        description,
        "A better one?",
        worth,
        x0=x0,
        max_steps=2,
        model="mutation",
        space=advisor.space(),
        store=url,
        name=name,
        seed=1,
        sandbox="inline",
        verbose=False,
    )


def test_recommended_configurations_begin_a_run_whose_results_are_learned_from(
    tmp_path,
):
    url = f"sqlite:///{tmp_path}/runs.db"
    metadata = advisor.describe(frame(), "y", name="mine")
    first = advisor.recommend(metadata, count=3)
    result = run(url, first.x(), "mine", advisor.task_text(metadata))
    assert len(result.trials) == 5
    assert [trial.x for trial in result.trials[:3]] == first.x()
    again = advisor.recommend(
        metadata, count=4, observed=advisor.observed_of(result.trials)
    )
    tried = [trial.x for trial in result.trials]
    assert not [x for x in again.x() if x in tried]
    own = own_tasks(url, builtin_grids())
    assert list(own) == ["mine"]
    assert own["mine"].metadata == metadata
    best = own["mine"].members[0]
    assert best.config.x() == result.best_x
    assert best.mean_score == pytest.approx(result.best_score, abs=1e-4)
    library = advisor.past_tasks(url)
    assert len(library) == 23
    nearest = advisor.support(metadata, library)[0]
    assert nearest.name == "mine"
    later = advisor.recommend(metadata, count=1, library=library)
    assert later.x() == [result.best_x]


def test_a_store_that_is_not_there_has_no_past_tasks(tmp_path):
    assert own_tasks(f"sqlite:///{tmp_path}/none.db", builtin_grids()) == {}
    assert not (tmp_path / "none.db").exists()


def test_recommended_configurations_can_be_queued_in_a_study_of_optuna():
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    first = advisor.recommend({"prediction_type": REGRESSION}, count=2)
    study = optuna.create_study(direction="maximize")
    for x in first.x():
        study.enqueue_trial(x)

    def objective(trial):
        model = trial.suggest_categorical("model", list(builtin_grids()))
        chosen = {"model": model}
        for name, values in builtin_grids()[model].parameters.items():
            key = f"{model}.{name}"
            chosen[key] = trial.suggest_categorical(key, values.values)
        return worth(chosen)

    study.optimize(objective, n_trials=2)
    assert [trial.params for trial in study.trials] == first.x()


def test_a_seeded_recommendation_begins_with_the_usual_configurations():
    found = advisor.recommend({"prediction_type": REGRESSION}, count=6, seeded=True)
    sources = [one.source for one in found]
    assert sources == ["usual"] * 4 + ["support"] * 2
    assert len({config.model for config in found.configs[:4]}) == 4


def test_an_unknown_argument_names_the_nearest():
    with pytest.raises(UnknownName, match="observed"):
        advisor.recommend({}, obsrved=[])
