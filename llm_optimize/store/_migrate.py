"""New tables, and the way from earlier formats to the present one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import NewerStore, NotAStore
from ._database import VERSION, Tables

if TYPE_CHECKING:
    import sqlalchemy as sa

_NEW_COLUMNS: dict[
    int, dict[str, tuple[str, ...]]
] = {  # by the format that brought them
    2: {
        "run": ("func_version", "fork_of", "fork_at"),
        "trial": ("seed", "score_key"),
        "call": ("cost_usd",),
    },
    3: {
        "run": ("test_scores",),
        "trial": ("scorings", "standard_error", "stage", "lesson", "decision", "note"),
    },
    4: {"trial": ("scores",)},
}
_NEW_TABLES = {2: ("holder",), 3: ("scored_again", "steer"), 4: ()}


def is_current(connection: sa.Connection, tables: Tables, store: str) -> bool:
    """Return whether the tables are there in the present format.

    Raises NotAStore when the database is of something else, NewerStore when a later version of this library wrote it.
    """
    import sqlalchemy as sa

    names = set(sa.inspect(connection).get_table_names())
    if names and "llm_optimize" not in names:
        raise NotAStore(
            f"{store} is a database of something else: it holds {', '.join(sorted(names)[:5])}"
        )
    version = (
        connection.execute(sa.select(tables.version.c.version)).scalar_one_or_none()
        if names
        else 0
    )
    if version is None:
        raise NotAStore(
            f"{store} does not say which format it has: choose another store, or restore it from a copy"
        )
    if version > VERSION:
        raise NewerStore(
            f"{store} was written by a newer llm_optimize (format {version}, this one knows {VERSION}): "
            "upgrade llm_optimize, or choose another store"
        )
    return bool(version == VERSION)


def make_current(connection: sa.Connection, tables: Tables) -> None:
    """Make the tables, or bring those of an earlier format to the present one."""
    import sqlalchemy as sa

    if not sa.inspect(connection).get_table_names():
        tables.metadata.create_all(connection)
        connection.execute(tables.version.insert().values(version=VERSION))
        return
    old = connection.execute(sa.select(tables.version.c.version)).scalar_one()
    for version in range(old + 1, VERSION + 1):
        _add_columns(connection, tables, _NEW_COLUMNS[version])
        for name in _NEW_TABLES[version]:
            tables.metadata.tables[name].create(connection, checkfirst=False)
    for index in tables.trial.indexes:
        index.create(connection, checkfirst=True)
    connection.execute(tables.version.update().values(version=VERSION))


def _add_columns(
    connection: sa.Connection, tables: Tables, new: Mapping[str, Sequence[str]]
) -> None:
    import sqlalchemy as sa

    for name, columns in new.items():
        table = tables.metadata.tables[name]
        for column in columns:
            declared = sa.schema.CreateColumn(table.c[column]).compile(
                dialect=connection.dialect
            )
            connection.exec_driver_sql(
                f"ALTER TABLE {connection.dialect.identifier_preparer.format_table(table)} ADD COLUMN {declared}"
            )
