"""The beginning of one run as the beginning of another, copied inside the database."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ._database import Tables
    from ._rows import Origin


def copy_run(
    connection: sa.Connection, tables: Tables, origin: Origin, new_name: str
) -> None:
    """Write a run of the new name with the finished trials up to `origin.trial`, and with their calls."""
    import sqlalchemy as sa

    run, trial, call, again = tables.run, tables.trial, tables.call, tables.again
    old, new = run.c.name == origin.run, run.c.name == new_name
    row = {
        "name": new_name,
        "created_at": time.time(),
        "fork_of": origin.run,
        "fork_at": origin.trial,
    }
    _copy(connection, run, {**row, "stop_reason": None}, old)

    key = sa.select(run.c.id).where(new).scalar_subquery()
    of_old = sa.select(run.c.id).where(old).scalar_subquery()
    kept = sa.and_(
        trial.c.run_id == of_old,
        trial.c.number <= origin.trial,
        trial.c.finished.is_not(None),
    )
    order = sa.func.row_number().over(order_by=(trial.c.finished, trial.c.number))
    _copy(connection, trial, {"run_id": key, "finished": order}, kept)

    copied = sa.select(trial.c.number).where(trial.c.run_id == key)
    _copy(
        connection,
        call,
        {"run_id": key},
        sa.and_(call.c.run_id == of_old, call.c.trial.in_(copied)),
    )

    earlier = trial.alias()
    place = sa.select(sa.func.count()).select_from(
        earlier
    )  # of a further scoring among the trials that are kept
    place = place.where(
        earlier.c.run_id == of_old,
        earlier.c.number <= origin.trial,
        earlier.c.finished <= again.c.after,
    )
    others = (
        sa.select(trial.c.finished)
        .where(trial.c.run_id == of_old, trial.c.number == origin.trial)
        .scalar_subquery()
    )
    known_then = sa.and_(
        again.c.run_id == of_old, again.c.trial.in_(copied), again.c.after <= others
    )
    _copy(
        connection, again, {"run_id": key, "after": place.scalar_subquery()}, known_then
    )


def _copy(
    connection: sa.Connection, table: sa.Table, changed: dict[str, Any], where: Any
) -> None:
    """Insert the rows that are there already, with other values in some columns and a new key of their own."""
    import sqlalchemy as sa

    columns = [column for column in table.c if column.name != "id"]
    values = [
        _as_column(changed[column.name], column) if column.name in changed else column
        for column in columns
    ]
    query = sa.select(*values).where(where)
    if "id" in table.c:
        query = query.order_by(table.c.id)
    connection.execute(table.insert().from_select(columns, query))


def _as_column(value: Any, column: sa.Column[Any]) -> Any:
    import sqlalchemy as sa

    return (
        value if isinstance(value, sa.ColumnElement) else sa.literal(value, column.type)
    )
