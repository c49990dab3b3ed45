"""A model's answer, read: rows that are in the grids, rows that were moved there, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError
from ...propose.language.json_object import last_json_object
from .grids import SCORES, Config, Grids, by_column
from .library import table_of


@dataclass(frozen=True)
class Recommended:
    """One configuration, and where it comes from.

    Args:
        config: the configuration; it is in the grids.
        source: "model", "projected" (of the model, but moved onto the grid), "support" (a member of
            a past task), "neighbor" (of one of the others), "usual", "random".
        notes: what was changed.
    """

    config: Config
    source: str
    notes: tuple[str, ...] = ()

    def x(self) -> dict[str, Any]:
        """Return it as parameters of `advisor.space()`."""
        return self.config.x()


@dataclass(frozen=True)
class Reading:
    """What an answer holds.

    Args:
        rows: the configurations that can be used, each once.
        problems: what is wrong with it, in sentences without a full stop.
    """

    rows: tuple[Recommended, ...]
    problems: tuple[str, ...]


def read_answer(text: str, grids: Grids) -> Reading:
    """Return the configurations of an answer.

    The answer is a JSON object with "models", in a fence or in prose; nearly JSON is read, too. A
    row with values off the grid is projected; one that cannot be read, or is there already, is
    left out with a problem.
    """
    found = last_json_object(text)
    if found is None:
        return Reading((), ("it holds no JSON object",))
    models = found.get("models", found)
    if not isinstance(models, Mapping) or not models:
        return Reading((), ('the object has no "models" with tables',))
    rows: dict[Config, Recommended] = {}
    problems: list[str] = []
    for model, table in models.items():
        if model not in grids:
            problems.append(
                f"{model!r} is no model class; there are {', '.join(grids)}"
            )
            continue
        try:
            columns, values = table_of(table, model)
        except UsageError as error:
            problems.append(str(error))
            continue
        for number, row in enumerate(values, start=1):
            try:
                one = _row(model, columns, row, grids)
            except UsageError as error:
                problems.append(f"row {number}: {error}")
                continue
            if one.config in rows:
                problems.append(f"row {number} of {model} is there twice")
            else:
                rows[one.config] = one
    usable = tuple(rows.values())
    return Reading(usable, tuple(problems))


def _row(
    model: str,
    columns: Sequence[str],
    row: Sequence[Any],
    grids: Grids,
) -> Recommended:
    given = by_column(model, columns, row)
    for name in SCORES:
        given.pop(name, None)
    grid = grids[model]
    config, notes = grid.project(given)
    source = "projected" if notes else "model"
    return Recommended(config, source, tuple(notes))
