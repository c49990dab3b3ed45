"""Past tasks: what is known of each data set, and which configurations did well on it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UnknownName, UsageError
from .grids import SCORES, Config, Grids, by_column, data_file, read_object

_log = logging.getLogger("llm_optimize")
PREFIX = "kaggle_"  # of the names of the tasks in the package

REGRESSION, BINARY, MULTICLASS = (
    "regression",
    "binary classification",
    "multi-class classification",
)


@dataclass(frozen=True)
class Member:
    """A configuration of a good blend of a past task.

    Args:
        config: the configuration.
        mean_score: of it alone, in the metric of its task; None where unknown.
        prank: its percentile rank among the people who worked on the task, 0 to 100, higher is
            better; None where there was no leaderboard.
    """

    config: Config
    mean_score: float | None
    prank: float | None


@dataclass(frozen=True)
class PastTask:
    """A data set that is known by its metadata; `members` are empty where none are known."""

    name: str
    metadata: Mapping[str, Any]
    members: tuple[Member, ...] = ()

    @property
    def is_regression(self) -> bool:
        """Whether the target is a number; else it is a class."""
        return is_regression(self.metadata)


def is_regression(metadata: Mapping[str, Any]) -> bool:
    """Whether a task with this metadata predicts a number."""
    return metadata.get("prediction_type") == REGRESSION


Library = Mapping[str, PastTask]


def builtin_tasks(grids: Grids) -> Library:
    """Return the 22 tasks of the package, ten of them with members.

    A member that other grids than the package's do not have is left out.
    """
    data = json.loads(data_file("tasks.json"))
    members = json.loads(data_file("members.json"))
    found = {}
    for name in sorted(data):
        tables = members.get(name, {"models": {}})
        good = members_of(tables, grids, name, exact=False)
        found[name] = PastTask(name, data[name], good)
    return found


def tasks_in(folder: str | Path, grids: Grids) -> Library:
    """Return the tasks below FOLDER/tasks/NAME, with metadata.json and top_10_submissions.json.

    The second file may be missing. Raises UsageError where there is no task, or one cannot be read.
    """
    root = Path(folder) / "tasks"
    found = {}
    for path in sorted(root.glob("*/metadata.json")):
        name = path.parent.name
        metadata = read_object(path).get("dataset")
        if not isinstance(metadata, dict):
            raise UsageError(f'{path} has no object "dataset"')
        top = path.with_name("top_10_submissions.json")
        members: tuple[Member, ...] = ()
        if top.exists():
            good = read_object(top)
            members = members_of(good, grids, str(top))
        found[name] = PastTask(name, metadata, members)
    if not found:
        raise UsageError(
            f"--tasks-dir is {str(folder)!r}: it needs tasks/NAME/metadata.json"
        )
    return found


def members_of(
    data: Mapping[str, Any],
    grids: Grids,
    where: str,
    *,
    exact: bool = True,
) -> tuple[Member, ...]:
    """Return the members of a file top_10_submissions.json.

    Args:
        data: the object of the file.
        grids: by model class; a class without a grid is passed over.
        where: the file, for messages.
        exact: raise for a row that is not in the grids; else it is left out.

    Raises UsageError.
    """
    found = []
    models = data.get("models")
    if not isinstance(models, dict):
        raise UsageError(f'{where} has no object "models"')
    for model, table in models.items():
        if model not in grids:
            _log.info("%s: the class %s has no grid, and is left out", where, model)
            continue
        title = f"{where}: {model}"
        columns, rows = table_of(table, title)
        for row in rows:
            try:
                member = _member(model, columns, row, grids)
                found.append(member)
            except UsageError as error:
                if exact:
                    raise UsageError(f"{where}: {error}") from None
    return tuple(found)


def _member(
    model: str,
    columns: list[str],
    row: list[Any],
    grids: Grids,
) -> Member:
    named = by_column(model, columns, row)
    mean_score = named.pop("mean_score", None)
    prank = named.pop("prank", None)
    config = grids[model].check(named)
    return Member(config, mean_score, prank)


def table_of(
    table: Any,
    where: str,
) -> tuple[list[str], list[list[Any]]]:
    """Return the columns and rows of a table of models.json. Raises UsageError."""
    known = table if isinstance(table, dict) else {}
    columns = known.get("columns")
    rows = known.get("values")
    if not isinstance(columns, list) or not isinstance(rows, list):
        raise UsageError(f'{where} needs the lists "columns" and "values"')
    if not all(isinstance(column, str) for column in columns):
        raise UsageError(f"{where}: columns must be names")
    different = set(columns)
    if len(different) < len(columns):
        raise UsageError(f"{where}: a column is named twice")
    if not all(isinstance(row, list) for row in rows):
        raise UsageError(f"{where}: each row of values must be a list")
    return columns, rows


def as_top(
    members: tuple[Member, ...],
    grids: Grids,
) -> dict[str, Any]:
    """Return members in the form of top_10_submissions.json."""
    tables: dict[str, Any] = {}
    for model, grid in grids.items():
        rows = []
        for one in members:
            if one.config.model == model:
                values = list(one.config.by_name.values())
                rows.append([*values, one.mean_score, one.prank])
        if rows:
            columns = [*grid.parameters, *SCORES]
            tables[model] = {"columns": columns, "values": rows}
    return {"models": tables}


def task_of(library: Library, name: str) -> PastTask:
    """Return the task of a name, with or without its prefix. Raises UnknownName."""
    for known in (name, PREFIX + name):
        if known in library:
            return library[known]
    raise UnknownName("task", name, library)
