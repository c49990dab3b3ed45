"""Estimators of scikit-learn that mutation knows: six classifiers and six regressors.

A table rather than what the installed scikit-learn says of itself, which is private there and
differs by version. All of these are quick on small data; HistGradientBoostingClassifier fits a
model for each class and is left out for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ..space import Bool, Choice, Float, Int, Parameter


@dataclass(frozen=True)
class Estimator:
    """A class of scikit-learn, and values for its arguments; the defaults are scikit-learn's."""

    name: str
    module: str  # from which users import it
    kind: str  # classifier | regressor: one may stand in place of another of its kind
    arguments: Mapping[str, Parameter]


_SVM: dict[str, Parameter] = {
    "C": Float(1e-3, 1e3, log=True, default=1.0),
    "kernel": Choice("linear", "poly", "rbf", "sigmoid", default="rbf"),
    "degree": Int(2, 5, default=3),
    "gamma": Choice("scale", "auto", 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0),
    "coef0": Float(-1, 1, default=0.0),
}
_NEIGHBORS: dict[str, Parameter] = {
    "n_neighbors": Int(1, 50, log=True, default=5),
    "weights": Choice("uniform", "distance"),
    "metric": Choice("minkowski", "manhattan", "chebyshev", "cosine"),
}
_FOREST: dict[str, Parameter] = {
    "n_estimators": Int(10, 500, log=True, default=100),
    "max_depth": Choice(None, 3, 5, 8, 12, 20),
    "min_samples_split": Int(2, 20, default=2),
    "min_samples_leaf": Int(1, 20, default=1),
    "bootstrap": Bool(default=True),
}
_CLASSIFIER_FOREST: dict[str, Parameter] = {
    **_FOREST,
    "criterion": Choice("gini", "entropy", "log_loss"),
    "max_features": Choice("sqrt", "log2", None, 0.2, 0.4, 0.6, 0.8),
}
_REGRESSOR_FOREST: dict[str, Parameter] = {
    **_FOREST,
    "max_features": Choice(1.0, "sqrt", "log2", 0.2, 0.4, 0.6, 0.8),
}
_EXTRA = {"bootstrap": Bool(default=False)}  # of extra trees

_ESTIMATORS = (
    Estimator("SVC", "sklearn.svm", "classifier", _SVM),
    Estimator(
        "LogisticRegression",
        "sklearn.linear_model",
        "classifier",
        {
            "C": Float(1e-4, 1e4, log=True, default=1.0),
            "solver": Choice("lbfgs", "newton-cg", "sag", "saga"),
            "fit_intercept": Bool(default=True),
            "tol": Float(1e-6, 0.1, log=True, default=1e-4),
        },
    ),
    Estimator("KNeighborsClassifier", "sklearn.neighbors", "classifier", _NEIGHBORS),
    Estimator(
        "RandomForestClassifier", "sklearn.ensemble", "classifier", _CLASSIFIER_FOREST
    ),
    Estimator(
        "ExtraTreesClassifier",
        "sklearn.ensemble",
        "classifier",
        {**_CLASSIFIER_FOREST, **_EXTRA},
    ),
    Estimator(
        "LinearDiscriminantAnalysis",
        "sklearn.discriminant_analysis",
        "classifier",
        {
            "solver": Choice("svd", "lsqr"),
            "tol": Float(1e-6, 0.1, log=True, default=1e-4),
        },
    ),
    Estimator(
        "SVR",
        "sklearn.svm",
        "regressor",
        {**_SVM, "epsilon": Float(1e-3, 1, log=True, default=0.1)},
    ),
    Estimator(
        "Ridge",
        "sklearn.linear_model",
        "regressor",
        {
            "alpha": Float(1e-4, 1e4, log=True, default=1.0),
            "fit_intercept": Bool(default=True),
            "positive": Bool(default=False),
        },
    ),
    Estimator("KNeighborsRegressor", "sklearn.neighbors", "regressor", _NEIGHBORS),
    Estimator(
        "RandomForestRegressor", "sklearn.ensemble", "regressor", _REGRESSOR_FOREST
    ),
    Estimator(
        "ExtraTreesRegressor",
        "sklearn.ensemble",
        "regressor",
        {**_REGRESSOR_FOREST, **_EXTRA},
    ),
    Estimator(
        "HistGradientBoostingRegressor",
        "sklearn.ensemble",
        "regressor",
        {
            "learning_rate": Float(0.01, 1, log=True, default=0.1),
            "max_iter": Int(20, 500, log=True, default=100),
            "max_leaf_nodes": Int(4, 127, log=True, default=31),
            "min_samples_leaf": Int(2, 100, log=True, default=20),
            "l2_regularization": Choice(0.0, 0.001, 0.01, 0.1, 1.0, 10.0),
        },
    ),
)
_BY_NAME = {estimator.name: estimator for estimator in _ESTIMATORS}


def estimator_named(name: str) -> Estimator | None:
    """Return the estimator of this class name; None for one that is not in the table."""
    return _BY_NAME.get(name)


def alternatives(estimator: Estimator) -> list[Estimator]:
    """Return the other estimators of its kind."""
    of_kind = [one for one in _ESTIMATORS if one.kind == estimator.kind]
    return [one for one in of_kind if one != estimator]


def other_value(parameter: Parameter, rng: Random) -> str:
    """Return a random value other than the default as a literal; a number has three digits.

    >>> other_value(Bool(default=True), Random(0))
    'False'
    """
    default = parameter.usual()
    if isinstance(parameter, Choice):
        return repr(parameter.near(default, rng))
    value = parameter.sample(rng)
    if value == default:
        value = parameter.near(default, rng)
    if isinstance(parameter, Float):
        value = float(f"{value:.3g}")
    return repr(value)
