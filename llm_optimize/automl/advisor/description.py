"""A table of data as metadata: what a model reads of it, and what past tasks are compared by.

No value of the table leaves it but the range and moments of the target; columns have no names.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UnknownName, UsageError, require
from .library import BINARY, MULTICLASS, REGRESSION
from .options import METRICS

if TYPE_CHECKING:
    import pandas

_MAX_COLUMNS = 5_000
_MAX_CLASSES = 200
_FEW_VALUES = 20  # of whole numbers, which are then classes
_ID_NAMES = ("id", "index", "row_id", "rowid", "unnamed: 0", "uuid")
_USUAL_METRIC = {REGRESSION: "rmse", BINARY: "auc", MULTICLASS: "nll"}
_OF_NUMBERS = ("mae", "r2", "rmse", "rmsle")


@dataclass(frozen=True)
class Table:
    """Data that were checked.

    Args:
        features: the columns that are learned from; ids are dropped.
        target: of each row, without missing values.
        test: the same columns of further rows; None without any.
        kind: regression, binary classification or multi-class classification.
        metric: a name of `library.METRICS`.
        dropped: the names of columns that hold ids.
    """

    features: pandas.DataFrame
    target: pandas.Series[Any]
    test: pandas.DataFrame | None
    kind: str
    metric: str
    dropped: tuple[str, ...]


def read_csv(path: str | Path) -> pandas.DataFrame:
    """Return the table of a CSV file. Raises UsageError where it has none, and MissingExtra."""
    require("pandas", needed_by="reading tables")
    import pandas

    try:
        frame = pandas.read_csv(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:  # also what pandas raises for an empty file
        reason = str(error).splitlines()[0]
        raise UsageError(f"{path} is no table in CSV: {reason}") from error
    if frame.empty:
        raise UsageError(f"{path} has no rows: give a header and at least 10 rows")
    return frame


def table_of(
    data: pandas.DataFrame,
    target: str,
    metric: str | None = None,
    test: pandas.DataFrame | None = None,
) -> Table:
    """Return data that can be learned from.

    Args:
        data: rows with a target; rows without one are left out.
        target: the name of the column to predict.
        metric: of the score; None takes rmse, auc or nll.
        test: further rows, with or without the target.

    Raises UsageError, in a sentence, for data that cannot be learned from; UnknownName for a column
    or metric that does not exist.
    """
    if metric is not None and metric not in METRICS:
        raise UnknownName("metric", metric, METRICS)
    columns = [str(column) for column in data.columns]
    if target not in columns:
        raise UnknownName("column (the target)", target, columns)
    if len(columns) > _MAX_COLUMNS:
        raise UsageError(
            f"the table has {len(columns)} columns, and {_MAX_COLUMNS} are possible: "
            "choose the ones that matter"
        )
    data = data[data[target].notna()]
    if len(data) < 10:
        raise UsageError(
            f"{len(data)} rows have a value of {target!r}: at least 10 are needed"
        )
    values = data[target]
    kind = _kind(values, metric)
    features = data.drop(columns=[target])
    empty = [str(name) for name in features if features[name].isna().all()]
    if empty:
        raise UsageError(
            f"the column {empty[0]!r} has no value at all: remove it"
            + (f", and {len(empty) - 1} others" if len(empty) > 1 else "")
        )
    dropped = tuple(str(name) for name in features if _is_id(features[name]))
    features = features.drop(columns=list(dropped))
    if not len(features.columns):
        raise UsageError("the table has no column to learn from besides ids")
    further = None
    if test is not None:
        further = _same_columns(test, features)
    metric = metric or _USUAL_METRIC[kind]
    if metric == "rmsle":
        least = float(values.min())
        if least < 0:
            raise UsageError(f"rmsle needs a target of 0 or more, not {least:g}")
    return Table(features, values, further, kind, metric, dropped)


def _kind(
    values: pandas.Series[Any],
    metric: str | None,
) -> str:
    """Return the kind of task, by the metric, else by the values."""
    from pandas.api.types import is_bool_dtype, is_float_dtype, is_numeric_dtype

    count = int(values.nunique())
    if count < 2:
        raise UsageError(
            f"all rows have the same target, {values.iloc[0]!r}: there is nothing to predict"
        )
    numeric = is_numeric_dtype(values) and not is_bool_dtype(values)
    if metric is None:
        whole = not is_float_dtype(values) or bool((values % 1 == 0).all())
        is_regression = numeric and not (whole and count <= _FEW_VALUES)
    else:
        is_regression = metric in _OF_NUMBERS
    if is_regression and not numeric:
        first = values.iloc[0]
        raise UsageError(f"{metric} needs a target of numbers, not {first!r}")
    if is_regression:
        greatest = float(values.abs().max())
        if not math.isfinite(greatest):
            raise UsageError("the target has infinite values: remove these rows")
        return REGRESSION
    if count > _MAX_CLASSES:
        raise UsageError(
            f"the target has {count} classes, and {_MAX_CLASSES} are possible: "
            f"for a number give a metric such as {_OF_NUMBERS[2]}"
        )
    if metric == "auc" and count > 2:
        raise UsageError(f"auc needs two classes, not {count}: take nll or accuracy")
    return BINARY if count == 2 else MULTICLASS


def _is_id(column: pandas.Series[Any]) -> bool:
    """Whether each row has a value of its own that says nothing: a name, or a running number."""
    from pandas.api.types import is_integer_dtype, is_numeric_dtype

    if column.nunique() < len(column):
        return False
    name = str(column.name).lower()
    if not is_numeric_dtype(column):
        return True
    if not is_integer_dtype(column):
        return False
    running = bool((column.diff().iloc[1:] == 1).all())
    return running or name in _ID_NAMES or name.endswith("_id")


def _same_columns(
    test: pandas.DataFrame, features: pandas.DataFrame
) -> pandas.DataFrame:
    missing = [str(name) for name in features if name not in test.columns]
    if missing:
        raise UsageError(
            f"the test rows have no column {missing[0]!r}, which the training rows have"
        )
    return test[list(features.columns)]


def describe(
    data: pandas.DataFrame,
    target: str,
    metric: str | None = None,
    *,
    test: pandas.DataFrame | None = None,
    name: str = "",
) -> dict[str, Any]:
    """Return the metadata of a table, for `recommend` and `support`.

    Args:
        data: a data frame, with the target.
        target: the name of the column to predict.
        metric: accuracy, auc, f1-micro, mae, nll, r2, rmse or rmsle; None takes rmse, auc or nll.
        test: further rows, with or without the target.
        name: of the data set.

    Raises:
        UsageError: the data cannot be learned from; its subclass UnknownName names a column or a
            metric that does not exist.
        MissingExtra: pandas is not installed.

    >>> import pandas
    >>> frame = pandas.DataFrame({"a": [1.5, 2, 4] * 5, "y": [0.1, 0.2, 0.4] * 5})
    >>> describe(frame, "y")["prediction_type"]
    'regression'
    """
    require("pandas", needed_by="advisor.describe")
    table = table_of(data, target, metric, test)
    return metadata_of_table(table, name)


def metadata_of_table(
    table: Table,
    name: str = "",
) -> dict[str, Any]:
    """Return the metadata of data that were checked."""
    import pandas

    rows = table.features
    if table.test is not None:
        rows = pandas.concat([rows, table.test], ignore_index=True)
    numeric = numeric_columns(rows)
    categorical = [column for column in rows if column not in numeric]
    by_column = rows.isna().sum()
    missing = int(by_column.sum())
    n_train = len(table.features)
    n_test = len(rows) - n_train
    cells = len(rows) * len(rows.columns)
    found: dict[str, Any] = {
        "name": name,
        "prediction_type": table.kind,
        "score_name": table.metric,
        "n_train": n_train,
        "n_test": n_test,
        "total_samples": len(rows),
        "features": _features(rows, numeric, categorical, table.dropped),
        "missing_data": {
            "has_missing": missing > 0,
            "total_missing_values": missing,
            "data_density": round(1 - missing / cells, 2),
        },
        "target_values": _target(table),
    }
    if n_test:
        found["train_test_ratio"] = round(n_train / n_test, 2)
    return found


def numeric_columns(rows: pandas.DataFrame) -> list[str]:
    """Return the columns of numbers with more than two values; the others are categorical."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    found = []
    for name in rows:
        column = rows[name]
        if is_numeric_dtype(column) and not is_bool_dtype(column):
            if column.nunique() > 2:
                found.append(name)
    return found


def _features(
    rows: pandas.DataFrame,
    numeric: list[str],
    categorical: list[str],
    dropped: tuple[str, ...],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "total": len(rows.columns),
        "numeric_features": len(numeric),
        "categorical_features": len(categorical),
        "dropped_ids": len(dropped),
    }
    if numeric:
        numbers = rows[numeric]
        ranges = numbers.max() - numbers.min()
        found["numerical_range_avg"] = _rounded(ranges.mean(), 2)
        skews = numbers.skew().abs()
        found["numerical_skewness_median"] = _rounded(skews.median(), 3)
    if categorical:
        counts = rows[categorical].nunique()
        found["unique_values_per_categorical"] = {
            "min": int(counts.min()),
            "max": int(counts.max()),
            "median": int(counts.median()),
            "mode": int(counts.mode().iloc[0]),
        }
    return found


def _target(table: Table) -> Mapping[str, Any]:
    values = table.target
    if table.kind != REGRESSION:
        shares = values.value_counts(normalize=True)
        return {
            "unique_target_classes_count": len(shares),
            "least_class_share": _rounded(shares.min(), 4),
            "greatest_class_share": _rounded(shares.max(), 4),
        }
    return {
        "target_min": _rounded(values.min(), 3),
        "target_max": _rounded(values.max(), 3),
        "target_mean": _rounded(values.mean(), 3),
        "target_median": _rounded(values.median(), 3),
        "target_std": _rounded(values.std(), 3),
        "target_skewness": _rounded(values.skew(), 3),
        "target_kurtosis": _rounded(values.kurt(), 3),
    }


def _rounded(value: Any, digits: int) -> float | None:
    """Return a number that JSON takes; None where it is none."""
    number = float(value)
    if not math.isfinite(number):
        return None
    return round(number, digits)
