"""Runs for other tools: JSON lines, CSV, a study of Optuna."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra, UnknownName, UsageError
from ..records import Trial
from ..text import plain, show_x, visible
from .atomic import atomic_path
from .rendering import rows_of

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from ..store import Run

__all__ = ["FORMATS", "as_csv", "as_json_lines", "export"]

FORMATS = ("csv", "jsonl", "optuna")
_FORMULA = ("=", "+", "-", "@")  # how a text begins that a spreadsheet computes


def export(run: Run, form: str, file: Path) -> int:
    """Write the finished trials of a run into a new file; return how many they are.

    The file is there whole, or not at all.

    Args:
        run: in a store, in progress or not.
        form: "csv", "jsonl" or "optuna" (an SQLite file with one study, named as the run).
        file: must not exist.

    Raises:
        UnknownName: another form.
        UsageError: the file exists, or cannot be written.
        MissingExtra: Optuna is wanted and not installed.
    """
    writers: dict[str, Callable[[Run, Sequence[Trial], Path], None]] = {
        "csv": lambda run, trials, file: _write(file, as_csv(trials)),
        "jsonl": lambda run, trials, file: _write(file, as_json_lines(trials)),
        "optuna": _write_study,
    }
    if form not in writers:
        raise UnknownName("format", form, writers)
    if file.exists():
        raise UsageError(f"the file {file} exists: choose another, or remove it")
    trials = in_order(run)
    with atomic_path(file) as unfinished:
        writers[form](run, trials, unfinished)
    return len(trials)


def in_order(run: Run) -> list[Trial]:
    """Return the finished trials of a run by number."""
    return sorted(run.trials(), key=lambda trial: trial.number)


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8", newline="")


# Lines and columns.


def as_json_lines(trials: Sequence[Trial]) -> str:
    r"""Return a line of JSON for each trial, with all its fields; only ASCII.

    >>> from llm_optimize.records import Status
    >>> json.loads(as_json_lines([Trial.of(0, "\x1b", Status.COMPLETE, "x0", score=1.0)]))["x"]
    '\x1b'
    """
    return "".join(json.dumps(plain(trial)) + "\n" for trial in trials)


def as_csv(trials: Sequence[Trial]) -> str:
    """Return a row for each trial below the names of the columns; see `rendering.rows_of` for these.

    Texts that a spreadsheet would compute begin with ', and control characters but line ends are written as text.

    >>> from llm_optimize.records import Status
    >>> as_csv([Trial.of(0, "=1+1", Status.COMPLETE, "x0", score=-1.0)]).splitlines()[1]
    "0,complete,-1.0,x0,,0.0,1,,,0,0,0,,,,,,,'=1+1"
    """
    rows = rows_of(trials)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [_cell(name) for name in rows[0]]
        if rows
        else ["trial", "status", "score", "source", "x"]
    )
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = visible(value if isinstance(value, str) else json.dumps(value, default=repr))
    return f"'{text}" if text.lstrip().startswith(_FORMULA) else text


# Optuna.


def _write_study(run: Run, trials: Sequence[Trial], file: Path) -> None:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(
            'an export to Optuna needs it: pip install "llm_optimize[classical]"'
        ) from error
    distributions = _distributions(run.settings.get("space") or {})
    told = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    opened = {
        "creator": lambda: sqlite3.connect(file, check_same_thread=False)
    }  # a URL would not hold every name
    storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs=opened)
    try:
        study = optuna.create_study(
            storage=storage, study_name=visible(run.name), direction="maximize"
        )
        study.set_user_attr(
            "task", visible(str(run.settings.get("task", {}).get("description", "")))
        )
        study.add_trials([_frozen(trial, distributions) for trial in trials])
    finally:
        optuna.logging.set_verbosity(told)
        storage.engine.dispose()


def _distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Return Optuna's word for each parameter of a stored space; a kind that it has no word for is left out."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    found: dict[str, BaseDistribution] = {}
    for name, parameter in space.items():
        match parameter:
            case {"kind": "float", "low": low, "high": high}:
                found[name] = FloatDistribution(
                    low, high, log=bool(parameter.get("log"))
                )
            case {"kind": "int", "low": low, "high": high}:
                found[name] = IntDistribution(low, high, log=bool(parameter.get("log")))
            case {"kind": "choice", "options": [*options]}:
                if all(
                    option is None or isinstance(option, str | int | float | bool)
                    for option in options
                ):
                    found[name] = CategoricalDistribution(options)
    return found


def _frozen(trial: Trial, distributions: Mapping[str, BaseDistribution]) -> FrozenTrial:
    from optuna.trial import TrialState, create_trial

    x = trial.x if isinstance(trial.x, dict) else {}
    params = {
        name: x[name]
        for name, known in distributions.items()
        if name in x and _inside(known, x[name])
    }
    frozen = create_trial(
        state=TrialState.FAIL if trial.score is None else TrialState.COMPLETE,
        value=trial.score,
        params=params,
        distributions={name: distributions[name] for name in params},
        user_attrs=_attributes(trial),
    )
    if trial.finished_at:
        frozen.datetime_complete = datetime.fromtimestamp(trial.finished_at)
        frozen.datetime_start = datetime.fromtimestamp(
            trial.finished_at - trial.seconds
        )
    return frozen


def _inside(distribution: Any, value: Any) -> bool:
    """Whether Optuna takes this value; x0 need not be of the space."""
    if hasattr(distribution, "choices"):
        return any(
            value == option and type(value) is type(option)
            for option in distribution.choices
        )
    return (
        type(value) in (int, float) and distribution.low <= value <= distribution.high
    )


def _attributes(trial: Trial) -> dict[str, Any]:
    """Return what Optuna has no place for, as texts and numbers that JSON has."""
    values = {
        "number": trial.number,
        "status": trial.status.value,
        "source": visible(trial.source),
        "parent": trial.parent,
        "feedback": visible(trial.feedback),
        "x": None if trial.x is None else visible(show_x(trial.x)),
        "calls": trial.usage.calls,
        "tokens": trial.usage.tokens,
        "cost_usd": trial.usage.cost_usd,
        **{f"metric.{name}": value for name, value in trial.metrics.items()},
    }
    return {name: plain(value) for name, value in values.items() if value is not None}
