"""The scoring of one configuration: cross-validation, in a sandbox, predictions kept in a file."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from .description import Table, numeric_columns
from .estimators import fit_predict, import_packages, make
from .grids import config_of
from .library import REGRESSION
from .scores import score

if TYPE_CHECKING:
    import numpy
    import pandas
    from numpy.typing import NDArray

    Array = NDArray[numpy.float64]

_DATA = "data.npz"


@dataclass(frozen=True)
class Predictions:
    """What one configuration predicts.

    Args:
        out_of_fold: for each training row, by the model of the fold that it was left out of.
        test: for each test row, the mean over the models of all folds.
    """

    out_of_fold: Array
    test: Array


@dataclass(frozen=True)
class CrossValidation:
    """f of a run over configurations: the out-of-fold score of one, higher is better.

    Args:
        folder: with the data, where predictions are written; see `prepare`.
        metric: of the score.
        kind: of the task.
        folds: of the cross-validation.
        seed: of the folds and the models.
        models: the classes that are trained.
    """

    folder: str
    metric: str
    kind: str
    folds: int
    seed: int
    models: tuple[str, ...] = ()

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # The fork server of the sandbox loads this function: the packages are imported once there,
        # not in each of its children, where that takes longer than many a training.
        import_packages(state["models"])
        self.__dict__.update(state)

    def __call__(
        self,
        x: Mapping[str, Any],
    ) -> tuple[float, str]:
        """Return the score, and what it is."""
        import numpy as np

        config = config_of(x)
        path = Path(self.folder) / _DATA
        with np.load(path) as data:
            features = data["x"]
            y = data["y"]
            test = data["test"]
            categorical = tuple(data["categorical"].tolist())
        regression = self.kind == REGRESSION
        shape = (len(y),) if regression else (len(y), int(y.max()) + 1)
        out_of_fold = np.zeros(shape)
        tests = []
        for train, left_out in self._splits(features, y):
            estimator = make(
                config.model,
                config.by_name,
                regression=regression,
                seed=self.seed,
                categorical=categorical,
            )
            parts = (features[left_out], test)
            predicted = fit_predict(estimator, features[train], y[train], *parts)
            out_of_fold[left_out] = predicted[0]
            tests.append(predicted[1])
        mean = np.mean(tests, axis=0)
        value = score(self.metric, y, out_of_fold)
        self._write(x, out_of_fold, mean)
        return value, f"{self.metric} over {self.folds} folds: {abs(value):.6g}"

    def predictions(
        self,
        x: Mapping[str, Any],
    ) -> Predictions | None:
        """Return what a configuration predicts; None where its scoring did not end well."""
        import numpy as np

        path = self._path(x)
        if not path.exists():
            return None
        with np.load(path) as found:
            return Predictions(found["out_of_fold"], found["test"])

    def truth(self) -> tuple[Array, Array]:
        """Return the target of the training rows and of the test rows; the latter may be empty."""
        import numpy as np

        path = Path(self.folder) / _DATA
        with np.load(path) as data:
            return data["y"], data["y_test"]

    def _splits(self, features: Array, y: Array) -> Any:
        from sklearn.model_selection import KFold, StratifiedKFold

        cls = KFold if self.kind == REGRESSION else StratifiedKFold
        folds = cls(self.folds, shuffle=True, random_state=self.seed)
        return folds.split(features, y)

    def _path(self, x: Mapping[str, Any]) -> Path:
        text = json.dumps(x, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        name = digest[:24]
        return Path(self.folder) / f"{name}.npz"

    def _write(
        self,
        x: Mapping[str, Any],
        out_of_fold: Array,
        test: Array,
    ) -> None:
        """Write predictions at once: a scoring that is killed leaves none that look whole."""
        import numpy as np

        with tempfile.NamedTemporaryFile(
            dir=self.folder, suffix=".part", delete=False
        ) as part:
            np.savez(part, out_of_fold=out_of_fold, test=test)
        os.replace(part.name, self._path(x))


def prepare(
    table: Table,
    truth: pandas.Series[Any] | None,
    f: CrossValidation,
) -> None:
    """Write the data of a table into the folder of a scoring function.

    Categories become codes, the same for training and test rows, and classes numbers from 0.

    Args:
        table: training rows, and test rows.
        truth: the target of the test rows, where that is known.
        f: the scoring function.

    Raises UsageError for a class with fewer rows than folds, or one of the test rows that no
    training row has.
    """
    import numpy as np
    import pandas

    rows = table.features
    if table.test is not None:
        rows = pandas.concat([rows, table.test], ignore_index=True)
    numeric = numeric_columns(rows)
    categorical = []
    columns = []
    for place, name in enumerate(rows.columns):
        if name in numeric:
            values = rows[name].to_numpy(float, copy=True)
            strange = ~np.isfinite(values)
            values[strange] = np.nan
        else:
            codes, _ = pandas.factorize(rows[name], sort=True)
            values = np.where(codes < 0, np.nan, codes.astype(float))
            categorical.append(place)
        columns.append(values)
    matrix = np.column_stack(columns)
    count = len(table.target)
    y, y_test = _targets(table, truth, f.folds)
    np.savez(
        Path(f.folder) / _DATA,
        x=matrix[:count],
        y=y,
        test=matrix[count:],
        y_test=y_test,
        categorical=np.array(categorical, int),
    )


def _targets(
    table: Table,
    truth: pandas.Series[Any] | None,
    folds: int,
) -> tuple[Array, Array]:
    import numpy as np

    if table.kind == REGRESSION:
        known = np.array([]) if truth is None else truth.to_numpy(float)
        return table.target.to_numpy(float), known
    counts = table.target.value_counts()
    if counts.min() < folds:
        raise UsageError(
            f"the class {counts.idxmin()!r} has {counts.min()} rows, fewer than the {folds} folds: "
            "remove it, or take fewer folds"
        )
    classes = {value: code for code, value in enumerate(sorted(counts.index))}
    codes = table.target.map(classes)
    y = codes.to_numpy(int)
    if truth is None:
        return y, np.array([])
    strange = sorted(set(truth) - set(classes), key=str)
    if strange:
        raise UsageError(
            f"the test rows have the class {strange[0]!r}, which no training row has"
        )
    known = truth.map(classes)
    return y, known.to_numpy(int)
