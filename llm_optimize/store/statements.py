"""Statements that write rows, compiled once: to build one costs twenty times its execution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .database import Tables
from .writes import Write

if TYPE_CHECKING:
    import sqlalchemy as sa

# A Write without its values: table, columns, columns that identify the row, whether it wants a key.
Shape = tuple[str, tuple[str, ...], tuple[str, ...], bool]
Begin = Callable[[], AbstractContextManager["sa.Connection"]]
_PLACE = "place_"  # before the names of the columns that identify the row


class Unfit(Exception):
    """The database refuses a row for a fault of this row alone."""

    def __init__(self, error: Exception) -> None:
        self.error = error  # of the database or its driver
        super().__init__(error)


@dataclass(frozen=True)
class _Statement:
    sql: str
    # The parameters in their order; None where the driver takes them by name.
    names: tuple[str, ...] | None
    returns_key: bool
    last_row_is_key: bool


class Statements:
    """Writes rows into the tables of one database.

    Rows of the same table that fill the same columns share a statement. It is compiled when the
    first of them is written, and then handed to the driver as text, past SQLAlchemy's own building
    and caching of statements.
    """

    def __init__(self, tables: Tables, dialect: sa.Dialect) -> None:
        self._tables = tables.metadata.tables
        self._dialect = dialect
        self._compiled: dict[Shape, _Statement] = {}

    def write(self, connection: sa.Connection, write: Write) -> int | None:
        """Write one row inside a transaction; return its key where that is asked for.

        Raises Unfit when this row is at fault, and SQLAlchemy's errors when the database is.
        """
        import sqlalchemy as sa

        statement = self._statement(write)
        parameters: Any = dict(write.values)
        for name, value in write.place.items():
            parameters[_PLACE + name] = value
        if statement.names is not None:
            parameters = tuple(map(parameters.__getitem__, statement.names))
        try:
            result = connection.exec_driver_sql(statement.sql, parameters)
        except sa.exc.DBAPIError as error:
            if _is_of_the_row(error):
                raise Unfit(error) from error
            raise
        # The driver raises these before it asks the database.
        except (ValueError, TypeError, OverflowError) as error:
            raise Unfit(error) from error
        if statement.returns_key:
            return int(result.scalar_one())
        if statement.last_row_is_key:
            return int(result.lastrowid)
        return None

    def write_all(
        self, begin: Begin, writes: Sequence[Write]
    ) -> list[int | Unfit | None]:
        """Write rows in one transaction, in order.

        Returns for each its key, or why it alone is not written.

        The first attempt takes no precautions. Where a row is at fault PostgreSQL refuses the whole
        transaction. So there is a second attempt, in which each row has a savepoint: a row that is
        refused is rolled back to it, and the others are written.
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
        columns, place = tuple(write.values), tuple(write.place)
        shape = (write.table, columns, place, write.wants_key)
        if shape not in self._compiled:
            self._compiled[shape] = self._compile(write)
        return self._compiled[shape]

    def _compile(self, write: Write) -> _Statement:
        import sqlalchemy as sa

        table = self._tables[write.table]
        statement: Any
        if write.place:
            statement = table.update()
        else:
            statement = table.insert().inline()
        for column in write.place:
            parameter: Any = sa.bindparam(_PLACE + column)
            statement = statement.where(table.c[column] == parameter)
        values = {}
        for column in write.values:
            kind = table.c[column].type
            values[column] = sa.bindparam(column, type_=kind)
        statement = statement.values(values)
        # A new key is either returned by the statement itself (RETURNING), or the driver knows it.
        returns_key = write.wants_key and self._dialect.insert_returning
        if returns_key:
            statement = statement.returning(table.c.id)
        compiled = statement.compile(dialect=self._dialect)
        names = None
        if compiled.positional:
            names = tuple(compiled.positiontup)
        last_row_is_key = write.wants_key and not returns_key
        return _Statement(str(compiled), names, returns_key, last_row_is_key)


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
