"""Fork of a run: its first trials become the first trials of another, inside the database."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .database import Tables
    from .rows import Origin


def refuse_unfinished(origin: Origin, finished: Collection[int]) -> None:
    """Raise UsageError where the last trial of a fork is none of the finished ones."""
    if origin.trial in finished:
        return
    reason = "no trial is finished"
    if finished:
        first, last = min(finished), max(finished)
        reason = f"its finished trials are {first} to {last}"
    raise UsageError(
        f"the run {origin.run!r} cannot be forked at trial {origin.trial}: {reason}"
    )


def copy_run(
    connection: sa.Connection, tables: Tables, origin: Origin, new_name: str
) -> None:
    """Write a new run with the finished trials up to `origin.trial`, and with their calls."""
    import sqlalchemy as sa

    run, trial, call, again = tables.run, tables.trial, tables.call, tables.again
    old = run.c.name == origin.run
    new = run.c.name == new_name
    changed = {
        "name": new_name,
        "created_at": time.time(),
        "fork_of": origin.run,
        "fork_at": origin.trial,
        "stop_reason": None,
        "tags": None,
        "session_at": None,
    }
    _copy(connection, run, changed, old)
    old_key = sa.select(run.c.id).where(old).scalar_subquery()
    new_key = sa.select(run.c.id).where(new).scalar_subquery()

    # Trials are kept by their numbers. With several workers, trials with greater numbers may have
    # finished among them, so the order of finishing is counted anew: 1, 2, ... without gaps.
    kept = sa.and_(
        trial.c.run_id == old_key,
        trial.c.number <= origin.trial,
        trial.c.finished.is_not(None),
    )
    order = sa.func.row_number()
    order_kept = order.over(order_by=(trial.c.finished, trial.c.number))
    _copy(connection, trial, {"run_id": new_key, "finished": order_kept}, kept)

    copied = sa.select(trial.c.number).where(trial.c.run_id == new_key)
    calls = sa.and_(call.c.run_id == old_key, call.c.trial.in_(copied))
    _copy(connection, call, {"run_id": new_key}, calls)

    # Further scorings come along if they were known when trial `origin.trial` finished. Each is
    # placed by how many trials had finished by then, and of these only the kept ones count now.
    earlier = trial.alias()
    kept_before = sa.select(sa.func.count()).select_from(earlier)
    kept_before = kept_before.where(
        earlier.c.run_id == old_key,
        earlier.c.number <= origin.trial,
        earlier.c.finished <= again.c.after,
    )
    fork_point = sa.select(trial.c.finished)
    fork_point = fork_point.where(
        trial.c.run_id == old_key, trial.c.number == origin.trial
    )
    known_then = sa.and_(
        again.c.run_id == old_key,
        again.c.trial.in_(copied),
        again.c.after <= fork_point.scalar_subquery(),
    )
    place = kept_before.scalar_subquery()
    _copy(connection, again, {"run_id": new_key, "after": place}, known_then)


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    changed: Mapping[str, Any],
    where: sa.ColumnElement[bool],
) -> None:
    """Insert copies of rows, with new keys and with other values in the changed columns."""
    import sqlalchemy as sa

    columns: list[sa.Column[Any]] = []
    values: list[sa.ColumnElement[Any]] = []
    for column in table.c:
        if column.name == "id":
            continue
        value = changed.get(column.name, column)
        if not isinstance(value, sa.ColumnElement):
            value = sa.literal(value, column.type)
        columns.append(column)
        values.append(value)
    query = sa.select(*values).where(where)
    if "id" in table.c:
        query = query.order_by(table.c.id)
    connection.execute(table.insert().from_select(columns, query))
