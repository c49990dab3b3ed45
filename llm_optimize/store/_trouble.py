"""What the database says when it refuses, and what that means to a user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import NotAStore, StoreError
from ..text import one_line

if TYPE_CHECKING:
    import sqlalchemy as sa

_SAFE = "what was written before is safe"
_SENTENCES = {  # the beginnings of SQLite's names of errors
    "SQLITE_FULL": f"the disk of the store {{store}} is full: make space, then resume the run; {_SAFE}",
    "SQLITE_IOERR": (
        "the store {store} cannot be written or read ({reason}): is the disk full, a limit on file sizes reached, or "
        f"the disk failing? Mend it, then resume the run; {_SAFE}"
    ),
    "SQLITE_READONLY": (
        "the store {store} is read-only: get permission to write the file and its folder, where SQLite keeps two more "
        f"files, or copy it to a folder of yours, or choose another store; {_SAFE}"
    ),
    "SQLITE_CANTOPEN": (
        "the store {store} cannot be opened: get permission to read and write the file and its folder, where SQLite "
        "keeps two more files, or copy the store to a folder of yours"
    ),
    "SQLITE_BUSY": (
        f"the store {{store}} was locked by another program for {{wait:g}} s: end that program, then resume; {_SAFE}"
    ),
    "SQLITE_PROTOCOL": (
        "the store {store} lies where files cannot be locked, as on some network file systems: move it to a local disk"
    ),
}
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")


def read_only(store: str) -> StoreError:
    """Return what is said where a store can be read and not written."""
    return StoreError(_SENTENCES["SQLITE_READONLY"].format(store=store))


@contextmanager
def translated(store: str, wait_secs: float) -> Iterator[None]:
    """Raise StoreError, or NotAStore for what is no whole database, in place of the database's own errors."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        raise as_users_see(error, store, wait_secs) from error


def as_users_see(error: Exception, store: str, wait_secs: float) -> Exception:
    """Return the StoreError, or NotAStore, that says what an error of the database means; another error as it is."""
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
    reason, name = (
        one_line(str(error.orig), 300),
        getattr(error.orig, "sqlite_errorname", ""),
    )
    if name.startswith(_DAMAGED):
        return NotAStore(
            f"{store} is no database, or no whole one ({reason}): choose another store, or restore it from a copy"
        )
    for beginning, sentence in _SENTENCES.items():
        if name.startswith(beginning):
            return StoreError(
                sentence.format(store=store, reason=reason, wait=wait_secs)
            )
    return StoreError(
        f"the store {store} cannot be used: {reason}; {_SAFE}, mend it and resume"
    )
