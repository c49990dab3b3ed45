"""Exports of a run for other tools: JSON lines, CSV, and a study of Optuna.

Reads a stored run and writes one new file, atomically.
"""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InPython, UnknownName, UsageError, require
from ..records import Trial
from ..text import plain, show_x, visible
from .atomic import atomic_path
from .rendering import column_names, rows_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from ..store import Run

__all__ = ["FORMATS", "as_csv", "as_json_lines", "export"]

FORMATS = ("csv", "jsonl", "optuna")
_CATEGORY = (str, int, float, bool, type(None))  # what an option of Optuna can be
_FORMULA = ("=", "+", "-", "@")  # the beginnings of texts that a spreadsheet computes


def export(run: Run, form: str, file: Path, *, replace: bool = False) -> int:
    """Write the finished trials of a run into a file, atomically; return their number.

    Args:
        run: in a store, in progress or not.
        form: "csv", "jsonl" or "optuna" (an SQLite file with one study, named as the run).
        file: where to write.
        replace: whether an existing file is replaced.

    Raises:
        UnknownName: another form.
        UsageError: the file exists, or cannot be written.
        MissingExtra: the form is "optuna", and Optuna is not installed.
    """
    writers: dict[str, Callable[[Run, Sequence[Trial], Path], None]] = {
        "csv": lambda run, trials, file: _write(file, as_csv(trials)),
        "jsonl": lambda run, trials, file: _write(file, as_json_lines(trials)),
        "optuna": _write_study,
    }
    if form not in writers:
        raise UnknownName("format", form, writers)
    if file.exists() and not replace:
        raise UsageError(
            f"the file {file} exists: choose another, ",
            InPython("or remove it", shell="or replace it with --force"),
        )
    trials = in_order(run)
    with atomic_path(file) as unfinished:
        writers[form](run, trials, unfinished)
    return len(trials)


def in_order(run: Run) -> list[Trial]:
    """Return the finished trials of a run by number."""
    return sorted(run.trials(), key=lambda trial: trial.number)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")


# JSON lines and CSV.


def as_json_lines(trials: Sequence[Trial]) -> str:
    r"""Return a line of JSON for each trial, with all its fields; only ASCII.

    >>> from llm_optimize.records import Status
    >>> trial = Trial.of(0, "\x1b", Status.COMPLETE, "x0", score=1.0)
    >>> json.loads(as_json_lines([trial]))["x"]
    '\x1b'
    """
    lines = [json.dumps(plain(trial)) for trial in trials]
    return "".join(f"{line}\n" for line in lines)


def as_csv(trials: Sequence[Trial]) -> str:
    """Return a row for each trial below the names of the columns, those of `rendering.rows_of`.

    A text that a spreadsheet would compute begins with ', and control characters but line ends
    are written as text.

    >>> from llm_optimize.records import Status
    >>> as_csv([Trial.of(0, "=1+1", Status.COMPLETE, "x0", score=-1.0)]).splitlines()[1]
    "0,complete,-1.0,x0,,0.0,1,,,0,0,0,,,,,,,'=1+1"
    """
    rows = rows_of(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(_cell, column_names(rows)))
    for row in rows:
        writer.writerow(map(_cell, row.values()))
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if not isinstance(value, str):
        value = json.dumps(value, default=repr)
    text = visible(value)
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


# Optuna.


def _write_study(
    run: Run,
    trials: Sequence[Trial],
    file: Path,
) -> None:
    require("optuna", needed_by="an export to Optuna")
    import optuna

    task = str(run.settings.get("task", {}).get("description", ""))
    distributions = _distributions(run.settings.get("space") or {})

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(file, check_same_thread=False)

    # The creator opens the file instead of the URL, which could not hold every file name.
    options = {"creator": connect}
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=options)
    try:
        study = optuna.create_study(
            storage=storage, study_name=visible(run.name), direction=run.direction.value
        )
        study.set_user_attr("task", visible(task))
        study.add_trials([_frozen(trial, distributions) for trial in trials])
    finally:
        optuna.logging.set_verbosity(verbosity)
        storage.engine.dispose()


def _distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return Optuna's distribution of each parameter of a stored space, where it has one."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, BaseDistribution] = {}
    for name, parameter in space.items():
        match parameter:
            case {"kind": "float", "low": low, "high": high}:
                log = bool(parameter.get("log"))
                found[name] = FloatDistribution(low, high, log=log)
            case {"kind": "int", "low": low, "high": high}:
                log = bool(parameter.get("log"))
                found[name] = IntDistribution(low, high, log=log)
            case {"kind": "choice", "options": [*options]}:
                if all(isinstance(option, _CATEGORY) for option in options):
                    found[name] = CategoricalDistribution(options)
    return found


def _frozen(
    trial: Trial,
    distributions: Mapping[str, BaseDistribution],
) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    x = trial.x if isinstance(trial.x, dict) else {}
    params, used = {}, {}
    for name, distribution in distributions.items():
        if name in x and _is_inside(distribution, x[name]):
            params[name] = x[name]
            used[name] = distribution
    state = TrialState.FAIL if trial.score is None else TrialState.COMPLETE
    frozen = create_trial(
        state=state,
        value=trial.score,
        params=params,
        distributions=used,
        user_attrs=_attributes(trial),
    )
    if trial.finished_at:
        begun_at = trial.finished_at - trial.seconds
        frozen.datetime_start = datetime.fromtimestamp(begun_at)
        frozen.datetime_complete = datetime.fromtimestamp(trial.finished_at)
    return frozen


def _is_inside(distribution: Any, value: Any) -> bool:
    """Whether Optuna takes this value; x0 may lie outside of the space."""
    if not hasattr(distribution, "choices"):
        is_number = type(value) in (int, float)
        return is_number and distribution.low <= value <= distribution.high
    choices = [(type(choice), choice) for choice in distribution.choices]
    return (type(value), value) in choices  # 1 is not True


def _attributes(trial: Trial) -> dict[str, Any]:
    """Return what Optuna has no field for, as texts and numbers that JSON has."""
    values: dict[str, Any] = {
        "number": trial.number,
        "status": trial.status.value,
        "source": visible(trial.source),
        "parent": trial.parent,
        "feedback": visible(trial.feedback),
        "x": None if trial.x is None else visible(show_x(trial.x)),
        "calls": trial.usage.calls,
        "tokens": trial.usage.tokens,
        "cost_usd": trial.usage.cost_usd,
    }
    for name, value in trial.metrics.items():
        values[f"metric.{name}"] = value
    attributes = {}
    for name, value in values.items():
        if value is not None:
            attributes[name] = plain(value)
    return attributes
