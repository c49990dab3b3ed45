"""Migration: new tables, and the way from earlier formats to the present one.

Each format only adds columns and tables to the one before. New columns are empty in old rows, and
`rows` knows what an empty one means. All steps take place in one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ..errors import NewerStore, NotAStore
from .database import VERSION, Tables

if TYPE_CHECKING:
    import sqlalchemy as sa

# By the format that brought them.
_NEW_COLUMNS: dict[int, dict[str, tuple[str, ...]]] = {
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
    5: {"run": ("tags", "session_at")},
}
_NEW_TABLES = {2: ("holder",), 3: ("scored_again", "steer"), 4: (), 5: ()}


def is_current(connection: sa.Connection, tables: Tables, store: str) -> bool:
    """Return whether the tables exist in the present format; not so in a new database.

    Raises NotAStore when the database is of something else, NewerStore when a later version of this
    library wrote it.
    """
    import sqlalchemy as sa

    names = set(sa.inspect(connection).get_table_names())
    if not names:
        return False
    if "llm_optimize" not in names:
        some = ", ".join(sorted(names)[:5])
        raise NotAStore(f"{store} is a database of something else: it holds {some}")
    query = sa.select(tables.version.c.version)
    version = connection.execute(query).scalar_one_or_none()
    if version is None:
        raise NotAStore(
            f"{store} does not say which format it has: "
            "choose another store, or restore it from a copy"
        )
    if version > VERSION:
        raise NewerStore(
            f"{store} was written by a newer llm_optimize "
            f"(format {version}, this one knows {VERSION}): "
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
    query = sa.select(tables.version.c.version)
    old = connection.execute(query).scalar_one()
    for version in range(old + 1, VERSION + 1):
        _add_columns(connection, tables, _NEW_COLUMNS[version])
        for name in _NEW_TABLES[version]:
            table = tables.metadata.tables[name]
            table.create(connection, checkfirst=False)
    for index in tables.trial.indexes:
        index.create(connection, checkfirst=True)
    connection.execute(tables.version.update().values(version=VERSION))


def _add_columns(
    connection: sa.Connection, tables: Tables, new: Mapping[str, Sequence[str]]
) -> None:
    """Add columns by name to tables by name; SQLAlchemy has no statement for it."""
    import sqlalchemy as sa

    dialect = connection.dialect
    for name, columns in new.items():
        table = tables.metadata.tables[name]
        quoted = dialect.identifier_preparer.format_table(table)
        for column in columns:
            creation = sa.schema.CreateColumn(table.c[column])
            declared = creation.compile(dialect=dialect)
            connection.exec_driver_sql(f"ALTER TABLE {quoted} ADD COLUMN {declared}")
