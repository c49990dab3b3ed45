"""The statements that write rows: compiled once for a database, since building one costs twenty times its execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._database import Tables
from ._writes import Write

if TYPE_CHECKING:
    import sqlalchemy as sa

Shape = tuple[
    str, tuple[str, ...], tuple[str, ...], bool
]  # of a Write: all of it but the values
Begin = Callable[[], AbstractContextManager["sa.Connection"]]
_PLACE = "place_"  # before the names of the columns that tell the row


class Unfit(Exception):
    """A row cannot be written by its own fault; the database is well."""

    def __init__(self, error: Exception) -> None:
        """Take what the database or its driver said."""
        self.error = error
        super().__init__(error)


@dataclass(frozen=True)
class _Statement:
    sql: str
    names: (
        tuple[str, ...] | None
    )  # of the parameters in their order; None: they are given by name
    returns_key: bool
    last_row_is_key: bool


class Statements:
    """Writes rows into the tables of one database.

    Rows of the same table that fill the same columns share a statement. It is compiled when the first of them is
    written and then handed to the driver as text, past SQLAlchemy's own building and caching of statements.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        """Take the tables, and whose SQL it is."""
        self._tables = tables.metadata.tables
        self._dialect = dialect
        self._compiled: dict[Shape, _Statement] = {}

    def write(self, connection: sa.Connection, write: Write) -> int | None:
        """Write one row inside a transaction; return its key where that is asked for.

        Raises Unfit when this row is at fault, and SQLAlchemy's errors when the database is.
        """
        import sqlalchemy as sa

        statement = self._statement(write)
        named = {
            **write.values,
            **{_PLACE + name: value for name, value in write.place.items()},
        }
        given = (
            named
            if statement.names is None
            else tuple(map(named.__getitem__, statement.names))
        )
        try:
            result = connection.exec_driver_sql(statement.sql, given)
        except sa.exc.DBAPIError as error:
            if _is_of_the_row(error):
                raise Unfit(error) from error
            raise
        except (
            ValueError,
            TypeError,
            OverflowError,
        ) as error:  # of the driver, before it asks the database
            raise Unfit(error) from error
        if statement.returns_key:
            return int(result.scalar_one())
        return result.lastrowid if statement.last_row_is_key else None

    def write_all(
        self, begin: Begin, writes: Sequence[Write]
    ) -> list[int | Unfit | None]:
        """Write rows in one transaction, in order; return for each its key, or why this one alone is not written.

        The first attempt takes no precautions. Where a row is at fault PostgreSQL refuses the whole transaction, so
        that there is a second attempt in which each row has a savepoint to which it can be taken back.
        """
        try:
            with begin() as connection:
                return [self.write(connection, write) for write in writes]
        except Unfit:
            with begin() as connection:
                return [self._write_or_not(connection, write) for write in writes]

    def _write_or_not(
        self, connection: sa.Connection, write: Write
    ) -> int | Unfit | None:
        try:
            with connection.begin_nested():
                return self.write(connection, write)
        except Unfit as unfit:
            return unfit

    def _statement(self, write: Write) -> _Statement:
        shape = (write.table, tuple(write.values), tuple(write.place), write.wants_key)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(write)
        return self._compiled[shape]

    def _compile(self, write: Write) -> _Statement:
        import sqlalchemy as sa

        table = self._tables[write.table]
        values = {
            column: sa.bindparam(column, type_=table.c[column].type)
            for column in write.values
        }
        statement: Any = table.update() if write.place else table.insert().inline()
        for column in write.place:
            statement = statement.where(
                table.c[column] == sa.bindparam(_PLACE + column)
            )
        statement = statement.values(values)
        returns_key = write.wants_key and self._dialect.insert_returning
        if returns_key:
            statement = statement.returning(table.c.id)
        compiled = statement.compile(dialect=self._dialect)
        names = tuple(compiled.positiontup) if compiled.positional else None
        return _Statement(
            str(compiled), names, returns_key, write.wants_key and not returns_key
        )


def _is_of_the_row(error: sa.exc.DBAPIError) -> bool:
    import sqlalchemy as sa

    of_the_row = (
        sa.exc.DataError,
        sa.exc.IntegrityError,
        sa.exc.InterfaceError,
        sa.exc.NotSupportedError,
        sa.exc.ProgrammingError,
    )
    return isinstance(error, of_the_row) and not error.connection_invalidated
