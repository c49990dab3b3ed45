"""Grids: the values that each hyperparameter of a model class may have.

A configuration is a model class with one value for each parameter of its grid. `Grid.project` reads
what a model wrote: a number goes to the nearest value of the grid, on a logarithmic scale where the
grid spans orders of magnitude.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from ...checks import is_number
from ...errors import UsageError, suggestion
from ...space import Choice, Space

_DTYPES: Mapping[str, type[Any]] = {"str": str, "int": int, "float": float}
_LOG_FROM = 20.0  # greatest value by least, from which distances are logarithmic
SCORES = ("mean_score", "prank")  # columns of stored members that are no parameters
MODEL = "model"  # the parameter of a space that names the class

# The usual value of each parameter: that of its library, or the nearest one in the grid.
_USUAL: Mapping[str, Mapping[str, Any]] = {
    "catboost": {
        "bootstrap_type": "MVS",
        "border_count": 254,
        "grow_policy": "SymmetricTree",
        "l2_leaf_reg": 3.0,
        "learning_rate": 0.05,
        "max_depth": 6,
        "min_data_in_leaf": 1,
        "n_estimators": 1000,
        "random_strength": 1.0,
    },
    "lgbm": {
        "boosting_type": "gbdt_0",
        "colsample_bynode": 1.0,
        "colsample_bytree": 1.0,
        "drop_rate": 0.1,
        "learning_rate": 0.1,
        "max_bin": 256,
        "max_depth": 100,
        "min_child_weight": 1,
        "min_data_in_leaf": 20,
        "min_split_gain": 0.0,
        "n_estimators": 100,
        "reg_alpha": 0.0,
        "reg_lambda": 0.5,
        "subsample": 1.0,
    },
    "skmlp": {
        "activation": "relu",
        "alpha": 0.0001,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-08,
        "layers": "128",
        "learning_rate_init": 0.001,
        "max_iter": 5000,
        "n_iter_no_change": 10,
        "n_knots": 5,
    },
    "xgboost": {
        "colsample_bylevel": 1.0,
        "colsample_bynode": 1.0,
        "colsample_bytree": 1.0,
        "gamma": 0.0,
        "learning_rate": 0.3,
        "max_depth": 6,
        "min_child_weight": 1,
        "n_estimators": 100,
        "reg_alpha": 0.0,
        "reg_lambda": 1.0,
        "subsample": 1.0,
    },
}


@dataclass(frozen=True)
class Config:
    """A model class and its hyperparameters, in the order of the grid."""

    model: str
    values: tuple[tuple[str, Any], ...]

    @property
    def by_name(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return dict(self.values)

    def x(self) -> dict[str, Any]:
        """Return the configuration as parameters of the space of `space_of`."""
        named = {f"{self.model}.{name}": value for name, value in self.values}
        return {MODEL: self.model, **named}


def config_of(x: Mapping[str, Any]) -> Config:
    """Return the configuration that parameters of the space of `space_of` mean."""
    model = x[MODEL]
    values = []
    for name, value in x.items():
        if name != MODEL:
            short = name.removeprefix(f"{model}.")
            values.append((short, value))
    return Config(model, tuple(values))


@dataclass(frozen=True)
class Values:
    """The values of one parameter, all of one type: str, int or float."""

    dtype: str
    values: tuple[Any, ...]

    @property
    def is_log(self) -> bool:
        """Whether distances between values are logarithmic."""
        if self.dtype == "str" or min(self.values) <= 0:
            return False
        return bool(max(self.values) / min(self.values) >= _LOG_FROM)

    def has(self, value: Any) -> bool:
        """Whether a value is one of these, and of their type; 1.0 is no int, 1 is a float."""
        if self.dtype == "float":
            return is_number(value) and value in self.values
        return type(value) is _DTYPES[self.dtype] and value in self.values

    def project(self, value: Any) -> Any:
        """Return the value that is meant. Raises UsageError where that cannot be known."""
        if self.dtype == "str":
            return self._named(value)
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise UsageError(f"{value!r} is no number") from None
        if not is_number(value) or not math.isfinite(value):
            raise UsageError(f"{value!r} is no finite number")
        if value in self.values:
            return self.values[self.values.index(value)]
        if self.is_log:
            if value <= 0:
                return self.values[0]
            return min(self.values, key=lambda one: abs(math.log(one / value)))
        return min(self.values, key=lambda one: abs(one - value))

    def _named(self, value: Any) -> str:
        word = str(value).strip().lower()
        starts = []
        for one in self.values:
            if one.lower() == word:
                return str(one)
            if word and one.lower().startswith(word):
                starts.append(one)
        if starts:
            return str(starts[0])
        known = ", ".join(self.values)
        raise UsageError(f"{value!r} is none of {known}")


@dataclass(frozen=True)
class Grid:
    """The parameters of one model class."""

    model: str
    parameters: Mapping[str, Values]

    def usual(self) -> Config:
        """Return the usual configuration: that of the library, as far as the grid has it."""
        known = _USUAL.get(self.model, {})
        found = []
        for name, values in self.parameters.items():
            value = known.get(name)
            if value is None or (values.dtype == "str" and not values.has(value)):
                middle = len(values.values) // 2
                value = values.values[middle]
            legal = values.project(value)
            found.append((name, legal))
        return Config(self.model, tuple(found))

    def sample(self, rng: Random) -> Config:
        """Return a random configuration."""
        found = []
        for name, values in self.parameters.items():
            value = rng.choice(values.values)
            found.append((name, value))
        return Config(self.model, tuple(found))

    def near(self, config: Config, rng: Random) -> Config:
        """Return a configuration that differs in one parameter, by one place in the grid."""
        changed = config.by_name
        several = [n for n, one in self.parameters.items() if len(one.values) > 1]
        name = rng.choice(several)
        values = self.parameters[name].values
        at = values.index(changed[name])
        neighbors = [place for place in (at - 1, at + 1) if 0 <= place < len(values)]
        place = rng.choice(neighbors)
        changed[name] = values[place]
        return Config(self.model, tuple(changed.items()))

    def check(self, given: Mapping[str, Any]) -> Config:
        """Return the configuration of exactly these values. Raises UsageError for any other."""
        unknown = [name for name in given if name not in self.parameters]
        if unknown:
            hint = suggestion(unknown[0], self.parameters)
            raise UsageError(f"{self.model} has no parameter {unknown[0]!r}: {hint}")
        found = []
        for name, values in self.parameters.items():
            if name not in given:
                raise UsageError(f"{self.model}: {name} is missing")
            value = given[name]
            if not values.has(value):
                what = f"{self.model}: {name}"
                raise UsageError(f"{what} is {value!r}, not in the grid")
            legal = values.project(value)
            found.append((name, legal))
        return Config(self.model, tuple(found))

    def project(
        self,
        given: Mapping[str, Any],
    ) -> tuple[Config, list[str]]:
        """Return the configuration that is meant, and a note on each value that was changed.

        A missing value is the usual one; a name that is no parameter is left out.

        Raises UsageError for a value that cannot be read, or no known name at all.
        """
        names = {name.strip().lower(): name for name in given}
        if not names.keys() & self.parameters.keys():
            raise UsageError(f"no parameter of {self.model} is given")
        usual = self.usual().by_name
        found = []
        notes = []
        for name, values in self.parameters.items():
            if name not in names:
                found.append((name, usual[name]))
                value = usual[name]
                notes.append(f"{name} was missing and is {value}")
                continue
            value = given[names[name]]
            try:
                legal = values.project(value)
            except UsageError as error:
                raise UsageError(f"{self.model}: {name}: {error}") from None
            found.append((name, legal))
            if not values.has(value):
                notes.append(f"{name} was {value!r} and is {legal!r}")
        for word, name in names.items():
            if word not in self.parameters and word not in SCORES:
                notes.append(f"{name} is no parameter and was left out")
        return Config(self.model, tuple(found)), notes


Grids = Mapping[str, Grid]


def builtin_grids() -> Grids:
    """Return the grids of CatBoost, LightGBM, scikit-learn's MLP and XGBoost."""
    data = json.loads(data_file("grids.json"))
    return {model: _grid_of(model, data[model], "the wheel") for model in sorted(data)}


def grids_in(folder: str | Path) -> Grids:
    """Return the grids below FOLDER/models/CLASS/hyperparameter_grid.json.

    Raises UsageError where there are none, or one cannot be read.
    """
    root = Path(folder) / "models"
    found = {}
    for path in sorted(root.glob("*/hyperparameter_grid.json")):
        model = path.parent.name
        found[model] = _grid_of(model, read_object(path), str(path))
    if not found:
        raise UsageError(
            f"--models-dir is {str(folder)!r}: it needs models/CLASS/hyperparameter_grid.json"
        )
    return found


def data_file(name: str) -> str:
    """Return the text of a data file of the package."""
    path = files(__package__) / "data" / name
    return path.read_text(encoding="utf-8")


def by_column(model: str, columns: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    """Return the values of a row by their columns. Raises UsageError where the numbers differ."""
    if len(row) != len(columns):
        raise UsageError(f"{model} has {len(row)} values for {len(columns)} columns")
    return dict(zip(columns, row, strict=True))


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file. Raises UsageError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no JSON object")
    return found


def _grid_of(
    model: str,
    data: Mapping[str, Any],
    where: str,
) -> Grid:
    parameters = {}
    for name, one in data.items():
        known = one if isinstance(one, dict) else {}
        values = known.get("values")
        dtype = str(known.get("dtype"))
        if dtype not in _DTYPES or not isinstance(values, list) or not values:
            raise UsageError(
                f"{where}: {name} needs a dtype (str, int or float) and a list of values"
            )
        kind = _DTYPES[dtype]
        try:
            legal = tuple(kind(value) for value in values)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{where}: {name}: {error}") from error
        if dtype != "str":
            legal = tuple(sorted(legal))
        parameters[name] = Values(dtype, legal)
    if not parameters:
        raise UsageError(f"{where}: the grid of {model} has no parameters")
    return Grid(model, parameters)


def space_of(grids: Grids) -> Space:
    """Return the space of all configurations: a model class, and its parameters.

    The parameters are named CLASS.NAME, and are there only where that class is chosen.
    """
    parameters: dict[str, Any] = {MODEL: Choice(*grids)}
    for model, grid in grids.items():
        usual = grid.usual().by_name
        for name, values in grid.parameters.items():
            parameters[f"{model}.{name}"] = Choice(
                *values.values, when={MODEL: model}, default=usual[name]
            )
    return Space(parameters)


def distinct(configs: Iterable[Config]) -> list[Config]:
    """Return the configurations without repetitions, in their order."""
    return list(dict.fromkeys(configs))


def as_models(
    configs: Sequence[Config],
    grids: Grids,
) -> dict[str, Any]:
    """Return configurations in the form of models.json: a table for each class that occurs."""
    tables: dict[str, Any] = {}
    for model, grid in grids.items():
        rows = [list(one.by_name.values()) for one in configs if one.model == model]
        if rows:
            columns = list(grid.parameters)
            tables[model] = {"columns": columns, "values": rows}
    return {"models": tables}
