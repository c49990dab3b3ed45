"""A run is written by one process: a lock on a file beside an SQLite store, a row in any other database."""

from __future__ import annotations

import json
import logging
import os
import secrets
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import RunHeld, StoreError
from ._holder import Holder, this_process

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ._database import Tables

_log = logging.getLogger("llm_optimize")
_READ_SECS = 0.5  # how long a new holder may take to write its name
_FAR_BEYOND_THE_NAME = (
    1 << 30
)  # where Windows, whose locks keep readers out as well, locks one byte
_WAIT = "wait until it has ended, or end it"
_UNKNOWN = Holder(0, "", "")


class Hold(Protocol):
    """The right to write a run, until it is closed or the process ends."""

    @property
    def held(self) -> bool:
        """Whether the right is still ours."""

    def close(self) -> None:
        """Give the right back; a second time nothing happens."""


class Taken(Exception):
    """Somebody has the right already."""

    def __init__(self, holder: Holder, repair: str) -> None:
        """Take who has it, and what to do about it."""
        self.holder = holder
        self.repair = (
            "that is this very process, close it there first"
            if holder.is_me
            else repair
        )
        super().__init__(holder)

    def as_error(self, name: str, store: str) -> RunHeld:
        """Return what a user is told of a run of this name."""
        return RunHeld(name, store, self.holder.pid, self.holder.host, self.repair)


class FileHold:
    """A lock of the operating system, which goes with the process; the file names the holder to others."""

    def __init__(self, path: Path) -> None:
        """Lock the file at `path`. Raises Taken, or StoreError when the file cannot be made."""
        try:
            descriptor = _locked(path)
        except OSError as error:
            raise StoreError(
                f"the lock file {path} cannot be written ({error.strerror}): make space, get permission to write in "
                "this folder, or choose another store"
            ) from error
        self._release = weakref.finalize(self, _unlock, path, descriptor)
        _let_go_in_children(self, descriptor)

    @property
    def held(self) -> bool:
        """Whether the lock is still ours; a forked child never has it."""
        return self._release.alive

    def close(self) -> None:
        """Unlock and remove the file."""
        self._release()

    def detach(self) -> bool:
        """Forget the lock without a trace; return whether there was one."""
        return self._release.detach() is not None


def _let_go_in_children(hold: FileHold, descriptor: int) -> None:
    """Close a forked child's copy of the lock, which would outlive us; programs that we start get none."""
    known = weakref.ref(hold)

    def let_go() -> None:
        this = known()
        if this is not None and this.detach():
            os.close(descriptor)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=let_go)


def _locked(path: Path) -> int:
    """Return a descriptor that holds the lock on the file that is at `path` now, not on one removed meanwhile."""
    while True:
        descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666
        )
        try:
            if not _lock(descriptor):
                raise _taken(_read_name(path), path)
            if _is_at(descriptor, path):
                _write_name(path, descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _taken(holder: Holder, path: Path) -> Taken:
    if holder.pid and holder.is_gone:
        return Taken(
            holder,
            f"it has ended, but left a program behind that keeps {path} open, end that one",
        )
    return Taken(holder, _WAIT)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR_BEYOND_THE_NAME, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True
else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write_name(path: Path, descriptor: int) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(asdict(this_process())).encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _read_name(path: Path) -> Holder:
    deadline = time.monotonic() + _READ_SECS
    while True:
        try:
            return Holder(**json.loads(path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            if time.monotonic() > deadline:
                return _UNKNOWN
            time.sleep(0.01)


def _unlock(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # Windows removes no open file
        path.unlink()
    os.close(descriptor)


class RowHold:
    """A row with our name; whoever finds it asks whether we are alive."""

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[sa.Connection]],
        tables: Tables,
        run: int,
    ) -> None:
        """Write the row of a run. Raises Taken when a living process has one, or any process of another host."""
        self._begin = begin
        self._table = tables.holder
        self._pid = os.getpid()
        self._token = secrets.token_hex(16)
        row = {**asdict(this_process()), "token": self._token}
        with begin() as connection:
            one_at_a_time = (
                tables.run.select().where(tables.run.c.id == run).with_for_update()
            )
            connection.execute(one_at_a_time)
            self._remove_the_dead(connection, run)
            connection.execute(tables.holder.insert().values(run_id=run, **row))
        self._open = True

    def _remove_the_dead(self, connection: sa.Connection, run: int) -> None:
        table = self._table
        row = connection.execute(
            table.select().where(table.c.run_id == run)
        ).one_or_none()
        if row is None:
            return
        holder = Holder(row.pid, row.host, row.started)
        if not holder.is_gone:
            raise Taken(
                holder,
                f"{_WAIT}; if that host is gone for good, delete its row in `holder`"
                if holder.is_far
                else _WAIT,
            )
        connection.execute(table.delete().where(table.c.token == row.token))

    @property
    def held(self) -> bool:
        """Whether the row is still ours; a forked child never has it."""
        return self._open and os.getpid() == self._pid

    def close(self) -> None:
        """Remove the row; where the database is out of reach it counts until this process has ended."""
        if self.held:
            self._open = False
            try:
                with self._begin() as connection:
                    connection.execute(
                        self._table.delete().where(self._table.c.token == self._token)
                    )
            except StoreError as error:
                _log.warning(
                    "the run stays held until this process has ended: %s", error
                )
