"""Faults of a database: what they mean to a user, and the one that SQLite does not see."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotAStore, StoreError
from ..text import one_line

if TYPE_CHECKING:
    import sqlalchemy as sa

_SAFE = "what was written before is safe"
# By the beginning of SQLite's name of the error.
_SENTENCES = {
    "SQLITE_FULL": (
        "the disk of the store {store} is full: make space, then resume the run; "
        f"{_SAFE}"
    ),
    "SQLITE_IOERR": (
        "the store {store} cannot be written or read ({reason}): is the disk full, "
        "a limit on file sizes reached, or the disk failing? Mend it, then resume the run; "
        f"{_SAFE}"
    ),
    "SQLITE_READONLY": (
        "the store {store} is read-only: get permission to write the file and its folder, "
        "where SQLite keeps two more files, or copy it to a folder of yours, "
        f"or choose another store; {_SAFE}"
    ),
    "SQLITE_CANTOPEN": (
        "the store {store} cannot be opened: get permission to read and write the file and its "
        "folder, where SQLite keeps two more files, or copy the store to a folder of yours"
    ),
    "SQLITE_BUSY": (
        "the store {store} was locked by another program for {wait:g} s: "
        f"end that program, then resume; {_SAFE}"
    ),
    "SQLITE_PROTOCOL": (
        "the store {store} lies where files cannot be locked, "
        "as on some network file systems: move it to a local disk"
    ),
}
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")

# https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_WAL_HEADER = struct.Struct(">16x8s8x")  # the salt
_FRAME_HEADER = struct.Struct(">I4x8s8x")  # the number of the frame's page, the salt


def read_only(store: str) -> StoreError:
    """Return the error for a store that may be read but not written."""
    return StoreError(_SENTENCES["SQLITE_READONLY"].format(store=store))


@contextmanager
def translated(store: str, wait_secs: float) -> Iterator[None]:
    """Raise StoreError or NotAStore in place of the database's own errors."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise as_users_see(error, store, wait_secs) from error


def as_users_see(error: Exception, store: str, wait_secs: float) -> Exception:
    """Return the StoreError or NotAStore for a database's error; any other error as it is."""
    import sqlalchemy as sa

    if isinstance(error, sa.exc.DBAPIError):
        return _as_store_error(error, store, wait_secs)
    if isinstance(error, sa.exc.SQLAlchemyError):
        return StoreError(
            f"the store {store} cannot be used: {error}; {_SAFE}, mend it and resume"
        )
    return error


def _as_store_error(
    error: sa.exc.DBAPIError, store: str, wait_secs: float
) -> StoreError:
    reason = one_line(str(error.orig), 300)
    name = getattr(error.orig, "sqlite_errorname", "")
    if name.startswith(_DAMAGED):
        return NotAStore(
            f"{store} is not a database, or no whole one ({reason}): "
            "choose another store, or restore it from a copy"
        )
    for beginning, sentence in _SENTENCES.items():
        if name.startswith(beginning):
            filled = sentence.format(store=store, reason=reason, wait=wait_secs)
            return StoreError(filled)
    return StoreError(
        f"the store {store} cannot be used: {reason}; {_SAFE}, mend it and resume"
    )


# A file that is cut off, as by a copy that broke off, is the one damage that SQLite does not
# report: it reads the missing pages as zeros, and rows are gone without a word. The database's own
# header knows how many pages there are. A page beyond the end of the file is not damage if the log
# has it: SQLite appends pages to the log, and moves them into the file later.


def refuse_torn(connection: sa.Connection) -> None:
    """Raise NotAStore when a page is neither in the SQLite file nor in its write-ahead log.

    The transaction of the connection keeps others from emptying the log meanwhile.
    """
    if connection.dialect.name != "sqlite":
        return
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    page_size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    path = Path(str(connection.engine.url.database))
    file_size = path.stat().st_size
    missing = set(range(file_size // page_size + 1, pages + 1))
    if not missing:
        return
    in_log = set(_pages_in_log(Path(f"{path}-wal"), page_size))
    if not missing <= in_log:
        raise NotAStore(
            f"{path} is cut off: {file_size} bytes of {pages * page_size}; "
            "restore it from a copy"
        )


def _pages_in_log(path: Path, page_size: int) -> Iterator[int]:
    """Yield the numbers of the pages in a log.

    The log is a header and frames, each of a small header and one page. It is not cut when it is
    emptied, but written anew from the start with another salt: a frame with a salt other than that
    of the file's header is a leftover, and so are all after it.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(_WAL_HEADER.size)
        if len(header) < _WAL_HEADER.size:
            return
        (salt,) = _WAL_HEADER.unpack(header)
        while True:
            frame = file.read(_FRAME_HEADER.size)
            if len(frame) < _FRAME_HEADER.size:
                return
            page, own_salt = _FRAME_HEADER.unpack(frame)
            if own_salt != salt:
                return
            yield page
            file.seek(page_size, os.SEEK_CUR)
