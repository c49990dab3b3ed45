"""Locks on runs: one process at a time writes a run.

Beside an SQLite store lies one lock file for each run that is being written; the operating system
unlocks it when the process ends, however it ends. Any other database has a row for each such run
with the name of its process, and the next process that wants to write the run finds out whether
that one is still alive. Who is refused gets an error that names the process.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import sys
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..errors import RunHeld, StoreError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .database import Tables

_log = logging.getLogger("llm_optimize")
_LINUX = sys.platform == "linux"
_READ_SECS = 0.5  # how long a new holder may take to write its name
# Windows locks keep readers out as well, so that the locked byte lies far beyond the name.
_LOCKED_BYTE = 1 << 30
_WAIT = "wait until it has ended, or end it"


# Processes.
#
# A pid alone names no process: the kernel gives it to another one later, and a container has pids
# of its own. So a holder is known by its host, its pid and the time at which it started, on Linux
# together with the boot (its random id) and the pid namespace in which that pid means something.


@dataclass(frozen=True)
class Holder:
    """A process that writes a run."""

    pid: int
    host: str
    started: str  # in the form of its operating system

    @property
    def is_me(self) -> bool:
        """Whether it is this very process."""
        return self == this_process()

    @property
    def is_far(self) -> bool:
        """Whether it runs on another machine, where nobody here can see if it is alive."""
        return self.host != socket.gethostname()

    @property
    def is_hidden(self) -> bool:
        """Whether nobody here can see if it is alive: on another machine, or in a container."""
        namespace, _, _ = self.started.rpartition(" ")
        return self.is_far or (_LINUX and namespace != _pid_namespace())

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended."""
        if self.is_far:
            return False
        if self.is_hidden:
            # It began before a reboot, and is gone; or in another container, where it may live on.
            boot, _, _ = self.started.partition(" ")
            return boot != _boot()
        return _started(self.pid) != self.started


_UNKNOWN = Holder(0, "", "")


def this_process() -> Holder:
    """Return the process that runs this code."""
    pid = os.getpid()
    return Holder(pid, socket.gethostname(), _started(pid))


def _started(pid: int) -> str:
    """Return when a living process began; empty when there is none."""
    if not _LINUX:
        return _started_elsewhere(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the program's name in parentheses, and may hold spaces and parentheses.
    _, _, after_name = stat.rpartition(")")
    state, *fields = after_name.split()
    if state in "ZX":  # a zombie, or dead
        return ""
    ticks = fields[18]  # the 22nd field: clock ticks since the boot
    return f"{_pid_namespace()} {ticks}"


def _pid_namespace() -> str:
    return f"{_boot()} {os.readlink('/proc/self/ns/pid')}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()


def _started_elsewhere(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return ""
        return f"{process.create_time()}"
    except psutil.NoSuchProcess:
        return ""


# Locks.


class Lock(Protocol):
    """The right to write a run, until it is closed or the process ends."""

    @property
    def held(self) -> bool:
        """Whether this process still has the right."""

    def close(self) -> None:
        """Give the right back; a second time nothing happens."""


class Locked(Exception):
    """Another process, or another lock of this one, has the right already."""

    def __init__(self, holder: Holder, repair: str) -> None:
        if holder.is_me:
            repair = "that is this very process, close it there first"
        self.holder = holder
        self.repair = repair
        super().__init__(holder)

    def as_error(self, name: str, store: str) -> RunHeld:
        """Return the error that a user sees for a run of this name."""
        holder = self.holder
        return RunHeld(name, store, holder.pid, holder.host, self.repair)


def lock_path(store: Path, run: int) -> Path:
    """Return the path of the lock file of a run; through links, all names of a store have one."""
    file = store.resolve()
    return file.with_name(f"{file.name}-{run}.lock")


class FileLock:
    """A lock of the operating system on a file that names its holder.

    Raises Locked, or StoreError when the file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            descriptor = _open_locked(path)
        except OSError as error:
            raise StoreError(
                f"the lock file {path} cannot be written ({error.strerror}): make space, "
                "get permission to write in this folder, or choose another store"
            ) from error
        self._release = weakref.finalize(self, _unlock, path, descriptor)
        _release_in_children(self, descriptor)

    @property
    def held(self) -> bool:
        """Whether the lock is still ours; a forked child never has it."""
        return self._release.alive

    def close(self) -> None:
        """Unlock and remove the file."""
        self._release()

    def detach(self) -> bool:
        """Forget the lock, and leave the file as it is; return whether there was one."""
        return self._release.detach() is not None


# A lock belongs to the open file, and a fork shares its open files: the run would stay locked until
# the last child has closed them or ended. So a child closes its copy at birth. It must not remove
# the file, which is still locked by the parent; hence `detach`, which also makes the child's `held`
# false. Programs that are started with exec inherit nothing: Python opens files so (PEP 446).


def _release_in_children(lock: FileLock, descriptor: int) -> None:
    # Functions that are registered stay for the life of the process; the lock need not.
    reference = weakref.ref(lock)

    def release() -> None:
        living = reference()
        if living is not None and living.detach():
            os.close(descriptor)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=release)


# The lock file is removed when it is unlocked, so that none stay beside the store. Another process
# may have opened it just before that. It then locks a file that has no name any more, while a third
# one makes a new file of this name and locks that: two processes would write the run. So a process
# that has locked a file checks that it is still the one at the path, and begins again if it is not.


def _open_locked(path: Path) -> int:
    """Return a descriptor that holds the lock on the file at `path`."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            if not _lock(descriptor):
                raise _locked_by(_read_name(path), path)
            if _is_at(descriptor, path):
                _write_name(path, descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _locked_by(holder: Holder, path: Path) -> Locked:
    if holder.pid and holder.is_gone:
        return Locked(
            holder,
            f"it has ended, but left a program behind that keeps {path} open, end that one",
        )
    return Locked(holder, _WAIT)


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
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


# Whether a run is being written is asked by readers, who take no lock: one that is held even for a
# moment would let a writer that comes in this moment be refused. The name in the file answers.
# Only the holder in another container, or on another machine, has to be asked by the lock itself.


def is_locked(path: Path) -> bool:
    """Return whether a living process holds the lock file at `path`."""
    if not path.exists():
        return False
    holder = _read_name(path)
    if holder.is_gone:
        return False
    if not holder.pid or not holder.is_hidden or sys.platform == "win32":
        return path.exists()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return path.exists()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_held(connection: sa.Connection, tables: Tables, run: int) -> bool:
    """Return whether a process that is not known to have ended has the row of a run."""
    query = tables.holder.select().where(tables.holder.c.run_id == run)
    row = connection.execute(query).one_or_none()
    return row is not None and not Holder(row.pid, row.host, row.started).is_gone


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _write_name(path: Path, descriptor: int) -> None:
    name = json.dumps(asdict(this_process()))
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, name.encode())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _read_name(path: Path) -> Holder:
    """Return the holder that a lock file names; it writes its name a moment after it has locked."""
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


class RowLock:
    """A row of the table `holder` that names this process.

    Args:
        begin: begins a transaction that writes.
        tables: of the store.
        run: key of the run.

    Raises Locked when a living process has a row, or any process of another host.
    """

    def __init__(
        self,
        begin: Callable[[], AbstractContextManager[sa.Connection]],
        tables: Tables,
        run: int,
    ) -> None:
        self._begin = begin
        self._table = tables.holder
        self._pid = os.getpid()
        self._token = secrets.token_hex(16)
        row = {**asdict(this_process()), "token": self._token}
        of_run = tables.run.select().where(tables.run.c.id == run)
        with begin() as connection:
            # The row of the run is locked until the end of this transaction, so that of two
            # processes that come at once the second finds what the first has written.
            connection.execute(of_run.with_for_update())
            self._remove_if_gone(connection, run)
            connection.execute(tables.holder.insert().values(run_id=run, **row))
        self._open = True

    def _remove_if_gone(self, connection: sa.Connection, run: int) -> None:
        """Remove the row of a process that has ended. Raises Locked for any other process."""
        table = self._table
        of_run = table.select().where(table.c.run_id == run)
        row = connection.execute(of_run).one_or_none()
        if row is None:
            return
        holder = Holder(row.pid, row.host, row.started)
        if not holder.is_gone:
            repair = _WAIT
            if holder.is_far:
                repair += "; if that host is gone for good, delete its row in `holder`"
            raise Locked(holder, repair)
        self._delete(connection, row.token)

    def _delete(self, connection: sa.Connection, token: str) -> None:
        table = self._table
        connection.execute(table.delete().where(table.c.token == token))

    @property
    def held(self) -> bool:
        """Whether the row is still ours; a forked child never has it."""
        return self._open and os.getpid() == self._pid

    def close(self) -> None:
        """Remove the row; where the database is out of reach it counts until this process ends."""
        if not self.held:
            return
        self._open = False
        try:
            with self._begin() as connection:
                self._delete(connection, self._token)
        except StoreError as error:
            _log.warning("the run stays held until this process has ended: %s", error)
