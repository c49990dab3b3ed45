"""Estimators of the configurations: what each value of the grids means to its library.

    lgbm        boosting_type KIND_N: kind gbdt or dart, bagging every N iterations (0: none);
                goss samples by gradient. drop_rate is for dart only. At most 31 leaves a tree,
                LightGBM's default, and no more than max_depth allows
    catboost    bootstrap_type Bayesian_T: Bayesian with bagging temperature T. A symmetric tree
                is at most 10 deep, which is where memory explodes; min_data_in_leaf is for the
                other kinds of trees only
    xgboost     as they are
    skmlp       layers A-B: hidden layers of A and B units. Numbers become splines of n_knots
                knots, categories become columns of zeros and ones; Adam, early stopping

One thread each: scorings run side by side.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, require

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

    Array = NDArray[numpy.float64]

_LEAVES = 31
_MAX_SYMMETRIC_DEPTH = 10
_MAX_CATEGORIES = 20  # columns for the categories of one column
PACKAGES = {  # class -> package
    "catboost": "catboost",
    "lgbm": "lightgbm",
    "skmlp": "sklearn",
    "xgboost": "xgboost",
}
Make = Callable[[Mapping[str, Any], bool, int], Any]


def check_installed(models: Collection[str]) -> None:
    """Raise MissingExtra where the package of a model class is not installed."""
    for model in models:
        if model not in PACKAGES:
            known = ", ".join(PACKAGES)
            raise UsageError(f"{model!r} cannot be trained: there are {known}")
        require(PACKAGES[model], needed_by=f"the class {model}")


def import_packages(models: Collection[str]) -> None:
    """Import what these classes, and the scores, need."""
    for name in ("sklearn.metrics", "sklearn.model_selection"):
        importlib.import_module(name)
    for model in models:
        importlib.import_module(PACKAGES[model])
    if "skmlp" in models:
        for name in ("compose", "impute", "neural_network", "pipeline"):
            importlib.import_module(f"sklearn.{name}")


def make(
    model: str,
    values: Mapping[str, Any],
    *,
    regression: bool,
    seed: int,
    categorical: tuple[int, ...] = (),
) -> Any:
    """Return an estimator with fit and predict, or predict_proba for classes.

    Args:
        model: the class.
        values: a value for each parameter of its grid.
        regression: whether it predicts a number.
        seed: of its random numbers.
        categorical: positions of the columns that hold codes of categories.
    """
    if model == "skmlp":
        return _mlp(values, regression, seed, categorical)
    return _BOOSTERS[model](values, regression, seed)


def _lgbm(
    values: Mapping[str, Any],
    regression: bool,
    seed: int,
) -> Any:
    import lightgbm

    options = dict(values)
    boosting = options.pop("boosting_type")
    kind, _, frequency = boosting.partition("_")
    drop_rate = options.pop("drop_rate")
    depth = options["max_depth"]
    possible = 2**depth
    options["num_leaves"] = min(_LEAVES, possible)
    if kind == "goss":
        options["data_sample_strategy"] = "goss"
        options.pop("subsample")
    else:
        options["subsample_freq"] = int(frequency)
    if kind == "dart":
        options["boosting_type"] = "dart"
        options["drop_rate"] = drop_rate
    names = {
        "colsample_bynode": "feature_fraction_bynode",
        "min_data_in_leaf": "min_child_samples",
    }
    renamed = {names.get(name, name): value for name, value in options.items()}
    cls = lightgbm.LGBMRegressor if regression else lightgbm.LGBMClassifier
    return cls(**renamed, n_jobs=1, random_state=seed, verbose=-1)


def _xgboost(
    values: Mapping[str, Any],
    regression: bool,
    seed: int,
) -> Any:
    import xgboost

    cls = xgboost.XGBRegressor if regression else xgboost.XGBClassifier
    return cls(**values, n_jobs=1, random_state=seed, verbosity=0, tree_method="hist")


def _catboost(
    values: Mapping[str, Any],
    regression: bool,
    seed: int,
) -> Any:
    import catboost

    options = dict(values)
    bootstrap = options.pop("bootstrap_type")
    kind, _, temperature = bootstrap.partition("_")
    options["bootstrap_type"] = kind
    if kind == "Bayesian":
        options["bagging_temperature"] = float(temperature)
    if options["grow_policy"] == "SymmetricTree":
        options["max_depth"] = min(options["max_depth"], _MAX_SYMMETRIC_DEPTH)
        options.pop("min_data_in_leaf")
    cls = catboost.CatBoostRegressor if regression else catboost.CatBoostClassifier
    return cls(
        **options,
        thread_count=1,
        random_seed=seed,
        verbose=False,
        allow_writing_files=False,
    )


def _mlp(
    values: Mapping[str, Any],
    regression: bool,
    seed: int,
    categorical: tuple[int, ...],
) -> Any:
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import (
        OneHotEncoder,
        RobustScaler,
        SplineTransformer,
        StandardScaler,
    )

    options = dict(values)
    sizes = options.pop("layers").split("-")
    knots = options.pop("n_knots")
    numbers = make_pipeline(
        SimpleImputer(strategy="median"),
        RobustScaler(),
        SplineTransformer(n_knots=knots, extrapolation="constant"),
        StandardScaler(),
    )
    codes = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1),
        OneHotEncoder(
            max_categories=_MAX_CATEGORIES, handle_unknown="infrequent_if_exist"
        ),
    )
    columns = ColumnTransformer(
        [("codes", codes, list(categorical))], remainder=numbers, sparse_threshold=0
    )
    cls = MLPRegressor if regression else MLPClassifier
    network = cls(
        **options,
        hidden_layer_sizes=tuple(map(int, sizes)),
        early_stopping=True,
        random_state=seed,
    )
    if regression:
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
    return make_pipeline(columns, network)


_BOOSTERS: Mapping[str, Make] = {
    "catboost": _catboost,
    "lgbm": _lgbm,
    "xgboost": _xgboost,
}


def fit_predict(
    estimator: Any,
    x: Array,
    y: Array,
    *new: Array,
) -> list[Array]:
    """Fit an estimator and return its predictions for further rows.

    Probabilities have a column for each class; y holds their numbers from 0, all of them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries, about the configuration
        estimator.fit(x, y)
        predict = getattr(estimator, "predict_proba", estimator.predict)
        return [predict(rows) for rows in new]
