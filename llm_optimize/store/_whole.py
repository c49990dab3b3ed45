"""Whether an SQLite file has all its pages: SQLite reads a page that was cut off as zeros, and says nothing."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NotAStore

if TYPE_CHECKING:
    import sqlalchemy as sa

_WAL_HEADER = struct.Struct(
    ">16x8s8x"
)  # the salt, https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_FRAME_HEADER = struct.Struct(">I4x8s8x")  # the number of its page, the salt


def refuse_torn(connection: sa.Connection) -> None:
    """Raise NotAStore when a page is neither in the SQLite file nor in its write-ahead log.

    The transaction of the connection keeps others from emptying the log meanwhile.
    """
    if connection.dialect.name != "sqlite":
        return
    pages, size = (
        connection.exec_driver_sql(f"PRAGMA {fact}").scalar_one()
        for fact in ("page_count", "page_size")
    )
    path = Path(str(connection.engine.url.database))
    missing = set(range(path.stat().st_size // size + 1, pages + 1))
    if missing and not missing <= set(_pages_in_log(Path(f"{path}-wal"), size)):
        raise NotAStore(
            f"{path} is cut off: {path.stat().st_size} bytes of {pages * size}; restore it from a copy"
        )


def _pages_in_log(path: Path, size: int) -> Iterator[int]:
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(_WAL_HEADER.size)
        if len(header) < _WAL_HEADER.size:
            return
        (salt,) = _WAL_HEADER.unpack(header)
        while len(frame := file.read(_FRAME_HEADER.size)) == _FRAME_HEADER.size:
            page, own_salt = _FRAME_HEADER.unpack(frame)
            if own_salt != salt:
                return
            yield page
            file.seek(size, 1)
