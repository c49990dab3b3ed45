"""The proof of a recommendation: training in sandboxes, blends, the table, bad tables."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from llm_optimize import cli
from llm_optimize.automl import advisor
from llm_optimize.automl.advisor.estimators import PACKAGES, fit_predict, make
from llm_optimize.automl.advisor.evaluation import Evaluation, Standing
from llm_optimize.automl.advisor.grids import builtin_grids, config_of, grids_in
from llm_optimize.automl.advisor.options import CONTENDERS, METRICS
from llm_optimize.automl.advisor.scores import blended, greedy_blend, score
from llm_optimize.errors import MissingExtra, UnknownName, UsageError
from llm_optimize.store import Store

pandas = pytest.importorskip("pandas", reason="tables need the automl extra")
datasets = pytest.importorskip("sklearn.datasets", reason="needs the automl extra")

SMALL = {  # a grid of networks that are trained in a moment, with scikit-learn alone
    "activation": {"dtype": "str", "values": ["relu", "tanh"]},
    "alpha": {"dtype": "float", "values": [0.0001, 0.01]},
    "beta_1": {"dtype": "float", "values": [0.9]},
    "beta_2": {"dtype": "float", "values": [0.999]},
    "epsilon": {"dtype": "float", "values": [1e-8]},
    "layers": {"dtype": "str", "values": ["4", "8-4"]},
    "learning_rate_init": {"dtype": "float", "values": [0.01, 0.05]},
    "max_iter": {"dtype": "int", "values": [30]},
    "n_iter_no_change": {"dtype": "int", "values": [5]},
    "n_knots": {"dtype": "int", "values": [3, 4]},
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a folder of grids with one class, which needs scikit-learn alone."""
    folder = tmp_path_factory.mktemp("grids")
    (folder / "models" / "skmlp").mkdir(parents=True)
    path = folder / "models" / "skmlp" / "hyperparameter_grid.json"
    path.write_text(json.dumps(SMALL))
    return folder


def diabetes(rows=90):
    return datasets.load_diabetes(as_frame=True).frame.head(rows)


@pytest.fixture(scope="module")
def evaluated(small, tmp_path_factory):
    """Return an evaluation of all contenders, and the URL of the store of their runs."""
    url = f"sqlite:///{tmp_path_factory.mktemp('store')}/runs.db"
    found = advisor.evaluate(
        diabetes(),
        "target",
        limited=advisor.Limited(count=2, folds=2, timeout_secs=60),
        store=url,
        grids=grids_in(small),
        name="patients",
        seed=1,
    )
    return found, url


def test_every_contender_gets_the_same_number_of_scorings(evaluated):
    found, url = evaluated
    assert [one.name for one in found.standings] == list(CONTENDERS)
    store = Store(url, create=False)
    runs = {one.run for one in found.standings}
    assert len(runs) == 2  # tpe has one of its own, the others share one
    for name in runs:
        trials = store.run(name).trials()
        chosen = [trial.x for trial in trials if trial.scorings]
        assert len(chosen) == len({json.dumps(x, sort_keys=True) for x in chosen})
    for one in found.standings:
        assert one.failed == 0
        assert 1 <= len(one.weights) <= 2
        assert sum(weight for _, weight in one.weights) == pytest.approx(1)
    tpe = found.standing("tpe")
    trials = store.run(tpe.run).trials()
    assert sum(trial.scorings for trial in trials) == 2
    store.close()


def test_a_blend_is_no_worse_than_its_best_member_where_it_was_chosen(evaluated):
    for one in evaluated[0].standings:
        assert one.blend >= one.best - 1e-12
        assert math.isfinite(one.test)


def test_the_scores_are_those_of_the_metric(evaluated):
    found, _ = evaluated
    spread = diabetes()["target"].std()
    for one in found.standings:
        assert 0 < -one.test < 2 * spread
    text = str(found)
    assert "rmse, lower is better; 2 scorings each" in text
    assert text.count("\n") == len(CONTENDERS) + 2
    assert f"{-found.standing('tpe').best:.5g}" in text
    with pytest.raises(UnknownName):
        found.standing("autogluon")


def test_the_runs_of_an_evaluation_are_past_tasks_of_the_next(evaluated, small):
    found, url = evaluated
    own = advisor.past_tasks(url)
    (task,) = [task for name, task in own.items() if name == "patients"]
    assert task.metadata["n_train"] == found.metadata["n_train"] == 67
    assert task.members == ()  # the grids of the package do not have these values


def test_scorings_that_are_killed_leave_a_table_with_nothing_in_it(small, tmp_path):
    found = advisor.evaluate(
        diabetes(40),
        "target",
        contenders=["random"],
        limited=advisor.Limited(count=2, folds=2, timeout_secs=0.01),
        store=f"sqlite:///{tmp_path}/runs.db",
        grids=grids_in(small),
    )
    (one,) = found.standings
    assert (one.failed, one.weights) == (2, ())
    assert math.isnan(one.test)
    assert found.to_json()["contenders"][0]["test"] is None


def evaluation(**tests):
    """Return an evaluation whose contenders have these scores on test rows."""
    standings = []
    for name, test in tests.items():
        shown = name.replace("_", "-")
        standings.append(Standing(shown, "run", 0.0, 0.0, test, (), 0, 0.0))
    metadata = {"score_name": "auc"}
    found = advisor.recommend({}, count=1)
    return Evaluation(metadata, found, tuple(standings), ())


def test_the_report_says_how_much_of_the_win_the_defaults_explain():
    half = evaluation(advisor=0.9, random=0.7, defaults=0.8)
    assert half.share_of_defaults() == pytest.approx(0.5)
    assert "the defaults explain 50% of that" in str(half)
    lost = evaluation(advisor=0.6, random=0.7, defaults=0.8)
    assert lost.share_of_defaults() is None
    assert "does not beat" in str(lost)


# Scores and blends.


def test_scores_are_higher_for_better_predictions():
    y = np.array([1.0, 2.0, 4.0])
    classes = np.array([0, 1, 1])
    good = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    bad = good[:, ::-1]
    for metric in METRICS:
        if metric in ("mae", "r2", "rmse", "rmsle"):
            assert score(metric, y, y) > score(metric, y, y + 1)
        else:
            assert score(metric, classes, good) > score(metric, classes, bad)
    assert score("rmse", y, y + 2) == pytest.approx(-2)
    assert score("nll", classes, good) == pytest.approx(np.log([0.9, 0.8, 0.7]).mean())
    assert score("accuracy", classes, good) == 1.0


def test_a_blend_takes_what_helps_and_leaves_out_what_does_not():
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    one = y + rng.normal(size=300)
    other = y + rng.normal(size=300)
    noise = rng.normal(size=300) * 30
    weights = greedy_blend("rmse", y, [one, other, noise])
    assert weights[2] == 0
    assert weights[0] == pytest.approx(0.5, abs=0.15)
    best = score("rmse", y, blended(weights, [one, other, noise]))
    assert best > max(score("rmse", y, one), score("rmse", y, other)) + 0.1


# Estimators.

ENCODINGS = [
    ("lgbm", {}),
    ("lgbm", {"boosting_type": "gbdt_5", "subsample": 0.5}),
    ("lgbm", {"boosting_type": "dart_1", "drop_rate": 0.5, "max_depth": 1}),
    ("lgbm", {"boosting_type": "goss"}),
    ("xgboost", {"colsample_bylevel": 0.5, "gamma": 0.1}),
    ("catboost", {"bootstrap_type": "No"}),
    ("catboost", {"bootstrap_type": "Bayesian_5", "grow_policy": "Depthwise"}),
    ("catboost", {"bootstrap_type": "Bernoulli", "grow_policy": "Lossguide"}),
    ("catboost", {"bootstrap_type": "MVS", "max_depth": 16, "border_count": 1024}),
    ("skmlp", {"layers": "256-128", "n_knots": 20}),
]


@pytest.mark.parametrize(("model", "changes"), ENCODINGS)
@pytest.mark.parametrize("regression", [True, False])
def test_every_encoding_of_the_grids_is_understood(model, changes, regression):
    pytest.importorskip(PACKAGES[model], reason="needs the boosters extra")
    grid = builtin_grids()[model]
    values = {**grid.usual().by_name, **changes}
    if "n_estimators" in values:
        values["n_estimators"] = 10
    else:
        values["max_iter"] = 30
    x, y = datasets.load_wine(return_X_y=True)
    x[::7, 2] = np.nan
    x[:, 3] = y.max() - np.arange(len(y)) % 4  # codes of a category
    estimator = make(model, values, regression=regression, seed=0, categorical=(3,))
    (predicted,) = fit_predict(estimator, x, y.astype(float if regression else int), x)
    if regression:
        assert predicted.shape == y.shape
        assert np.corrcoef(predicted, y)[0, 1] > 0.3
    else:
        assert predicted.shape == (len(y), 3)
        assert (predicted.argmax(axis=1) == y).mean() > 0.6


def test_a_class_without_its_package_is_named(small, monkeypatch, tmp_path):
    for name in ("lightgbm", "xgboost", "catboost"):
        monkeypatch.setitem(
            PACKAGES, {"lightgbm": "lgbm"}.get(name, name), "missing_one"
        )
    with pytest.raises(MissingExtra, match=r"needs missing_one: .*pip install"):
        advisor.evaluate(diabetes(), "target", store=f"sqlite:///{tmp_path}/r.db")


# The command.


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Return a function that runs generate-models in a folder, with the portfolio."""
    monkeypatch.chdir(tmp_path)

    def command(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(["generate-models", "--llm-model", "portfolio", *words])
        printed = capsys.readouterr()
        return ended.value.code, printed.out + printed.err

    return command


def test_the_command_trains_compares_and_predicts(command, tmp_path, small):
    diabetes().to_csv("train.csv", index=False)
    diabetes(100).tail(10).drop(columns="target").to_csv("new.csv", index=False)
    words = ["--evaluate", "train.csv", "--target", "target", "--test", "new.csv"]
    words += [
        "--contenders",
        "advisor",
        "--folds",
        "2",
        "--models-dir",
        str(small),
        "--output-dir",
        "out",
    ]
    code, text = command(*words)
    assert code == 0, text
    assert "advisor" in text
    lines = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert lines[0] == "prediction"
    assert len(lines) == 11
    facts = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert [one["name"] for one in facts["contenders"]] == ["advisor"]
    models = json.loads((tmp_path / "out" / "models.json").read_text())
    assert len(models["models"]["skmlp"]["values"]) == 10
    blend = facts["contenders"][0]["blend_of"]
    assert (
        config_of(
            {key: value for key, value in blend[0].items() if key != "weight"}
        ).model
        == "skmlp"
    )


@pytest.mark.parametrize(
    ("text", "words", "part"),
    [
        ("a,y\n" + "1,2\n" * 20, ["--target", "z"], "'z'"),
        ("a,y\n" + "1,2\n" * 20, ["--target", "y", "--metric", "f2"], "unknown metric"),
        ("", ["--target", "y"], "no table"),
        ("a,y\n", ["--target", "y"], "no rows"),
        ("a,b,y\n" + "1,,2\n3,,4\n" * 20, ["--target", "y"], "'b' has no value"),
        ("a,y\n" + "1,2\n3,2\n" * 20, ["--target", "y"], "same target"),
        ("a,y\n" + "1,2\n3,4\n" * 20, [], "--target"),
        ("a,y\n" + "1,2\n3,4\n" * 20, ["--target", "y", "--task", "churn"], "--task"),
        ("a,y\n" + "1,2\n3,4\n" * 20, ["--target", "y", "--folds", "1"], "folds"),
        ("a,y\n" + "1,2\n3,4\n" * 20, ["--target", "y", "--test", "no.csv"], "no.csv"),
    ],
)
def test_a_bad_table_is_refused_in_one_sentence_with_exit_code_2(
    command, tmp_path, small, text, words, part
):
    (tmp_path / "t.csv").write_text(text)
    grids = ["--models-dir", str(small)]
    code, printed = command("--evaluate", "t.csv", *grids, *words)
    assert code == 2, printed
    assert part in printed
    assert len(printed.strip().splitlines()) == 1


def test_a_table_of_ten_thousand_columns_is_refused(command, tmp_path, small):
    names = ",".join(f"c{n}" for n in range(10_000))
    row = ",".join(["1"] * 10_000)
    (tmp_path / "t.csv").write_text(f"{names},y\n" + f"{row},2\n{row},3\n" * 10)
    words = ["--target", "y", "--models-dir", str(small)]
    code, printed = command("--evaluate", "t.csv", *words)
    assert code == 2
    assert "10001 columns" in printed


def test_a_rare_class_is_refused(small, tmp_path):
    data = pandas.DataFrame({"a": range(40), "b": [0.5, 1.5, 2, 3] * 10})
    data["y"] = ["x", "z"] * 19 + ["rare"] * 2
    data["a"] = data["a"] * 3 % 7
    with pytest.raises(UsageError, match="rare"):
        advisor.evaluate(
            data,
            "y",
            test=data,
            limited=advisor.Limited(folds=3),
            grids=grids_in(small),
            store=f"sqlite:///{tmp_path}/r.db",
        )
