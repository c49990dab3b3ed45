"""Store of runs: one SQLite file by default, any SQLAlchemy URL on request.

Whatever costs money or time is on disk before it is used: a request before it is sent, a reply
before it is read, an x before it is scored, a score before it is shown. The stored rows are the
only state of a run. One process writes a run; any number of others read it, and others may write
other runs of the same store.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import InPython, RunNotFound, UnknownName, UsageError
from ..records import Reply, Trial
from . import manage, rows
from .address import DEFAULT_URL, address_of, option_of
from .command import command_line
from .database import (
    Tables,
    connect,
    copy_to,
    empty_log,
    for_writing,
    is_read_only,
    use_write_ahead_log,
)
from .faults import as_users_see, read_only, refuse_torn, translated
from .fork import copy_run, refuse_unfinished
from .lock import FileLock, Lock, Locked, RowLock, is_held, is_locked, lock_path
from .migrate import is_current, make_current
from .reading import Again, Begun, Progress, Seen, infos, known_score
from .rows import Call, Origin, Pending, RunInfo, Steer
from .run import Run
from .statements import Statements, Unfit
from .states import STATES, State, state_of
from .writer import Writer
from .writes import Write

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "DEFAULT_URL",
    "STATES",
    "Again",
    "Begun",
    "Call",
    "Origin",
    "Pending",
    "Progress",
    "Run",
    "RunInfo",
    "Seen",
    "State",
    "Steer",
    "Store",
    "Writer",
    "command_line",
    "option_of",
]


class Store:
    """A database of runs.

    A file that this user may read but not write can be looked at; every method that writes raises
    StoreError then. One of an earlier format is brought to the present one when it is opened; where
    it may not be written, a temporary copy of it is.

    Args:
        where: path or URL of the database, see `address_of`.
        create: whether a missing one is made.
        wait_secs: how long to wait for a lock of another program.

    Raises NotAStore when the URL or file is not a database of this library, NewerStore when a newer
    version wrote it, UsageError when the URL cannot be understood, and StoreError when the database
    refuses: a full disk, no permission, a lock of another program that lasts longer than
    `wait_secs`. All methods may raise StoreError for these; nothing is damaged then, and the same
    call may be made again once the cause is gone.

    >>> store = Store("runs.db")
    >>> run = store.create_run("amber", {"seed": 1})
    >>> store.names()
    ['amber']
    >>> store.close()
    """

    def __init__(
        self,
        where: str | os.PathLike[str] = DEFAULT_URL,
        *,
        create: bool = True,
        wait_secs: float = 30.0,
    ) -> None:
        address = address_of(where)
        self.url = address.url
        self.tables = Tables()
        self._wait_secs = wait_secs
        self._locks: list[Lock] = []
        self._writers: list[Writer] = []
        self._copy: weakref.finalize[Any, Any] | None = None  # removes it
        self._address = address
        self._file = address.file
        self._shown = address.shown
        self._read_only = is_read_only(address)
        self._engine = connect(
            address,
            create=create,
            read_only=self._read_only,
            wait_secs=wait_secs,
        )
        self._statements = Statements(self.tables, self._engine.dialect)
        try:
            self._open_tables()
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[str, ...]:
        """The files of an SQLite store with those of its journal; none for another database."""
        if self._file is None:
            return ()
        return (f"{self._file}", f"{self._file}-wal", f"{self._file}-shm")

    def _open_tables(self) -> None:
        with self.begin() as connection:
            refuse_torn(connection)
            current = is_current(connection, self.tables, self._shown)
        if not current and self._read_only:
            self._read_a_copy()
        elif not current:
            with self.begin(write=True) as connection:
                # Another process may have made the tables since.
                if not is_current(connection, self.tables, self._shown):
                    make_current(connection, self.tables)
        if self._read_only:
            return
        with translated(self._shown, self._wait_secs):
            use_write_ahead_log(self._engine, self._wait_secs)

    def _read_a_copy(self) -> None:
        """Read a store of an earlier format, which may not be written, from a migrated copy."""
        self._engine.dispose()
        folder = tempfile.TemporaryDirectory(prefix="llm_optimize-")
        self._copy = weakref.finalize(self, folder.cleanup)
        with translated(self._shown, self._wait_secs):
            self._engine = copy_to(f"{folder.name}/runs.db", self._address)
            with self._engine.begin() as connection:
                make_current(connection, self.tables)

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, which is committed at the end.

        With `write` it waits for other writers at its beginning.

        Raises NotAStore when the file is not a database, and StoreError for what else the database
        refuses.
        """
        if write:
            self._refuse_reading_only()
        with (
            translated(self._shown, self._wait_secs),
            self._engine.connect() as connection,
        ):
            if write:
                connection = for_writing(connection)
            with connection.begin():
                yield connection

    def _refuse_reading_only(self) -> None:
        if self._read_only:
            raise read_only(self._shown)

    def write(self, write: Write) -> int | None:
        """Write one row; return its key where that is asked for."""
        try:
            with self.begin(write=True) as connection:
                return self._statements.write(connection, write)
        except Unfit as unfit:
            raise self._error_of(unfit) from unfit.error

    def write_all(self, writes: Sequence[Write]) -> list[int | BaseException | None]:
        """Write rows in one transaction; return for each its key, or why it alone is not written.

        Raises StoreError when the database fails; then no row is written.
        """
        written = self._statements.write_all(lambda: self.begin(write=True), writes)
        outcomes: list[int | BaseException | None] = []
        for outcome in written:
            if isinstance(outcome, Unfit):
                outcomes.append(self._error_of(outcome))
            else:
                outcomes.append(outcome)
        return outcomes

    def _error_of(self, unfit: Unfit) -> Exception:
        """Return the error that a user sees for a row that cannot be written."""
        return as_users_see(unfit.error, self._shown, self._wait_secs)

    def close_before_the_locks(self, writer: Writer) -> None:
        """Close a writer when the store is closed, while its run may still be written."""
        self._writers = [one for one in self._writers if not one.closed]
        self._writers.append(writer)

    def close(self) -> None:
        """Write what the writers still have, close the database, and let others write its runs."""
        try:
            for writer in self._writers:
                writer.close()
            for lock in self._locks:
                lock.close()
        finally:
            self._engine.dispose()
            if self._copy is not None:
                self._copy()

    # Runs.

    def create_run(
        self, name: str, settings: Mapping[str, Any], func_version: str | None = None
    ) -> Run:
        """Start a run with this name and return it for writing; its settings are kept as JSON.

        `func_version` names the version of f; runs with the same one share their scores (see
        `known_score`).

        Raises UsageError when the name is taken.
        """
        row = {
            "name": name,
            "created_at": time.time(),
            "settings": json.dumps(settings),
            "func_version": func_version,
        }
        with self.begin(write=True) as connection:
            self._refuse_taken(connection, name)
            connection.execute(self.tables.run.insert().values(row))
        return self.hold(name)

    def _refuse_taken(self, connection: sa.Connection, name: str) -> None:
        table = self.tables.run
        query = table.select().where(table.c.name == name)
        if connection.execute(query).first() is not None:
            raise UsageError(
                f"a run named {name!r} exists in {self._shown}: go on with it by ",
                InPython("load_if_exists=True", shell="--resume"),
                ", or choose another name",
            )

    def run(self, name: str) -> Run:
        """Return the run of this name for reading, also while another process writes it.

        Raises RunNotFound with the nearest names.
        """
        return Run(self, self._row(name))

    def hold(self, name: str, func_version: str | None = None) -> Run:
        """Return the run of this name for writing.

        No other process can write it until it or the store is closed, or this process ends. A
        `func_version` is that of the trials that are finished from now on; None leaves it as it
        was.

        Raises RunNotFound with the nearest names, and RunHeld when another process, or this one,
        holds it already.
        """
        self._refuse_reading_only()
        lock = self._lock(name, self._row(name).id)
        try:
            if func_version is not None:
                table = self.tables.run
                update = table.update().where(table.c.name == name)
                with self.begin(write=True) as connection:
                    connection.execute(update.values(func_version=func_version))
            # Read once more: another writer may have changed the row before the lock was ours.
            run = Run(self, self._row(name), lock)
        except BaseException:
            lock.close()
            raise
        self._locks.append(lock)
        return run

    def _lock(self, name: str, key: int) -> Lock:
        try:
            if self._file is None:
                return RowLock(lambda: self.begin(write=True), self.tables, key)
            return FileLock(lock_path(self._file, key))
        except Locked as locked:
            raise locked.as_error(name, self._shown) from None

    def _row(self, name: str) -> Any:
        table = self.tables.run
        query = table.select().where(table.c.name == name)
        with self.begin() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise self._not_found(name)
        return row

    def _not_found(self, name: str) -> RunNotFound:
        return RunNotFound(name, self.names(), self._shown)

    def names(self) -> list[str]:
        """Return the names of all runs, oldest first."""
        import sqlalchemy as sa

        table = self.tables.run
        query = sa.select(table.c.name).order_by(table.c.id)
        with self.begin() as connection:
            return list(connection.execute(query).scalars())

    def runs(self, name: str | None = None) -> list[RunInfo]:
        """Return all runs, oldest first; with a name only that run, if there is one."""
        with self.begin() as connection:
            return infos(connection, self.tables, name, self._state)

    def info(self, name: str) -> RunInfo:
        """Return one run as a list shows it. Raises RunNotFound with the nearest names."""
        found = self.runs(name)
        if not found:
            raise self._not_found(name)
        return found[0]

    def state(self, name: str) -> State:
        """Return whether a run goes on. Raises RunNotFound with the nearest names."""
        row = self._row(name)
        with self.begin() as connection:
            return self._state(connection, row)

    def _state(self, connection: sa.Connection, row: Any) -> State:
        if self._file is None:
            is_written = is_held(connection, self.tables, row.id)
        else:
            is_written = is_locked(lock_path(self._file, row.id))
        return state_of(connection, self.tables, row, is_written=is_written)

    def delete(
        self, *names: str, all_below: bool = False, compact: bool = False
    ) -> int:
        """Delete runs with all that is stored of them; return how many.

        Forks of them stay: they have copies of the trials.

        Args:
            names: of the runs.
            all_below: whether NAME also stands for all runs NAME/..., those of a comparison.
            compact: whether the file is made smaller. That takes as long as to copy it, and twice
                its space for the moment.

        Raises RunNotFound, UsageError for the name of a comparison without `all_below`, and RunHeld
        where a living process writes one of them; no run is deleted then.

        >>> store = Store("runs.db")
        >>> store.create_run("amber", {}).close()
        >>> store.delete("amber"), store.names()
        (1, [])
        >>> store.close()
        """
        meant = self.meant_by(*names, all_below=all_below)
        with self._held(meant) as keys, self.begin(write=True) as connection:
            manage.remove(connection, self.tables, keys)
        with translated(self._shown, self._wait_secs):
            empty_log(self._engine, compact=compact)
        return len(meant)

    def meant_by(self, *names: str, all_below: bool = False) -> list[str]:
        """Return the runs that `delete` would delete. Raises RunNotFound and UsageError as it."""
        return manage.meant_by(names, self.names(), self._shown, all_below=all_below)

    def rename(self, old: str, new: str) -> None:
        """Rename a run, or all runs of a comparison, OLD/... to NEW/...

        Raises RunNotFound, UsageError for a name that is taken or cannot be one, and RunHeld where
        a living process writes one of them.
        """
        renamed = manage.new_names(old, new, self.names())
        if not renamed:
            raise self._not_found(old)
        with self._held(renamed), self.begin(write=True) as connection:
            for before, after in renamed.items():
                if before != after:
                    manage.rename(connection, self.tables, before, after)

    def tag(self, name: str, *words: str, remove: bool = False) -> tuple[str, ...]:
        """Add tags to a run, or take them away, and return those that it has then.

        A running one may be tagged, too. The name of a comparison stands for all its runs.

        Raises RunNotFound, and UsageError for a word with blanks or commas, or of more than 40
        characters.
        """
        known = self.names()
        tags: tuple[str, ...] = ()
        meant = [name] if name in known else manage.below(name, known)
        if not meant:
            raise self._not_found(name)
        with self.begin(write=True) as connection:
            for one in meant:
                tags = manage.tag(connection, self.tables, one, words, remove=remove)
        return tags

    @contextmanager
    def _held(self, names: Iterable[str]) -> Iterator[list[int]]:
        """Hold runs, so that no process writes them, and yield their keys."""
        locks: list[Lock] = []
        keys: list[int] = []
        self._refuse_reading_only()
        try:
            for name in names:
                key = self._row(name).id
                locks.append(self._lock(name, key))
                keys.append(key)
            yield keys
        finally:
            for lock in locks:
                lock.close()

    def steer(self, name: str, kind: str, text: str = "") -> Steer:
        """Send a control command to the process that writes a run.

        Any user who may write the store may send one.

        Args:
            name: of the run.
            kind: "stop" ends it, "pause" lets it begin nothing new until "go", "hint" is for the
                model to read.
            text: of the hint; with "stop" who asks for it, such as "an agent", empty for the user.

        Raises RunNotFound, UnknownName for another kind, and UsageError for a hint without a text,
        and where no living process would read it: the run is dead, or has finished.
        """
        if kind not in rows.STEERS:
            raise UnknownName("kind of steering", kind, rows.STEERS)
        if kind == "hint" and not text.strip():
            raise UsageError("the hint is empty: write one sentence for the model")
        self.state(name).refuse_steering(name)
        now = time.time()
        run_key = self._row(name).id
        text = rows.storable(text)
        values = {"run_id": run_key, "kind": kind, "text": text, "given_at": now}
        insert = self.tables.steer.insert().values(values)
        with self.begin(write=True) as connection:
            new_key = connection.execute(insert).inserted_primary_key
        return Steer(new_key[0] if new_key else 0, kind, text, now)

    # What other runs take from one.

    def fork(self, name: str, upto_trial: int, new_name: str | None = None) -> Run:
        """Start a run with trials 0 to `upto_trial` of another, and return it for reading.

        Its settings are those of the other run. The trials keep their numbers, and their scores,
        replies and usage come along; `Run.origin` names the run that they come from, and
        `Run.inherited` returns what they had used there. Trials that were not finished are left
        out. Without a `new_name` it is the old one with a number.

        Raises RunNotFound, and UsageError when the new name is taken or trial `upto_trial` is not
        finished.
        """
        finished = [trial.number for trial in self.run(name).trials()]
        refuse_unfinished(Origin(name, upto_trial), finished)
        new = new_name or rows.next_name(name, self.names())
        with self.begin(write=True) as connection:
            self._refuse_taken(connection, new)
            copy_run(connection, self.tables, Origin(name, upto_trial), new)
        return self.run(new)

    def replies(self, name: str) -> list[Reply]:
        """Return the replies of a run in the order of its trials.

        A scripted model with these replies replays the run at no cost. Of several replies to one
        call the first counts.

        Raises RunNotFound with the nearest names.
        """
        calls = self.run(name).calls()
        calls.sort(key=lambda call: (call.trial, call.index, call.key))
        first: dict[tuple[int, int], Reply] = {}
        for call in calls:
            if call.reply is not None:
                first.setdefault((call.trial, call.index), call.reply)
        return list(first.values())

    def known_score(self, func_version: str, key: str) -> Trial | None:
        """Return a trial of any run of this store with this x and version of f, or None.

        `key` is `identity.key_of(x)`. Neither a time-out nor a score that was copied from another
        trial is reused. A score is preferred to a failure, and of equals the first one is taken.
        """
        of_same = rows.score_key(func_version, key)
        with self.begin() as connection:
            return known_score(connection, self.tables, of_same)
