"""Store of runs: one SQLite file by default, any SQLAlchemy URL on request.

Whatever costs money or time is on disk before it is used: a request before it is sent, a reply
before it is read, an x before it is scored, a score before it is shown. The stored rows are the
only state of a run. One process writes a run; any number of others read it, and others may write
other runs of the same store.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import RunNotFound, UnknownName, UsageError
from ..records import Reply, Trial
from . import rows
from .address import DEFAULT_URL, address_of, option_of
from .database import Tables, connect, for_writing, is_read_only, use_write_ahead_log
from .faults import as_users_see, read_only, refuse_torn, translated
from .fork import copy_run
from .lock import FileLock, Lock, Locked, RowLock
from .migrate import is_current, make_current
from .reading import Again, Begun, Progress, Seen
from .rows import Call, Origin, Pending, RunInfo, Steer
from .run import Run
from .statements import Statements, Unfit
from .writer import Writer
from .writes import Write

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = [
    "DEFAULT_URL",
    "Again",
    "Begun",
    "Call",
    "Origin",
    "Pending",
    "Progress",
    "Run",
    "RunInfo",
    "Seen",
    "Steer",
    "Store",
    "Writer",
    "option_of",
]


class Store:
    """A database of runs.

    A file that this user may read but not write can be looked at; every method that writes raises
    StoreError then.

    Args:
        where: path or URL of the database, see `address_of`.
        create: whether a missing one is made.
        wait_secs: how long to wait for a lock of another program.

    Raises NotAStore when the URL or file is no database of this library, NewerStore when a newer
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
        if not current:
            with self.begin(write=True) as connection:
                # Another process may have made the tables since.
                if not is_current(connection, self.tables, self._shown):
                    make_current(connection, self.tables)
        if self._read_only:
            return
        with self._translated():
            use_write_ahead_log(self._engine, self._wait_secs)

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, which is committed at the end.

        With `write` it waits for other writers at its beginning.

        Raises NotAStore when the file is no database, and StoreError for whatever else the database
        refuses.
        """
        if write:
            self._refuse_reading_only()
        with self._translated(), self._engine.connect() as connection:
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

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self._shown, self._wait_secs)

    def close(self) -> None:
        """Write what the writers still have, close the database, and let others write its runs."""
        try:
            for writer in self._writers:
                writer.close()
            for lock in self._locks:
                lock.close()
        finally:
            self._engine.dispose()

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
                f"a run named {name!r} exists in {self._shown}: "
                "resume it, or choose another name"
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
                self._change_func_version(name, func_version)
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
            # Through links to the file, so that all its names lead to one lock.
            file = self._file.resolve()
            return FileLock(file.with_name(f"{file.name}-{key}.lock"))
        except Locked as locked:
            raise locked.as_error(name, self._shown) from None

    def _change_func_version(self, name: str, func_version: str) -> None:
        table = self.tables.run
        update = table.update().where(table.c.name == name)
        with self.begin(write=True) as connection:
            connection.execute(update.values(func_version=func_version))

    def _row(self, name: str) -> Any:
        table = self.tables.run
        query = table.select().where(table.c.name == name)
        with self.begin() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise RunNotFound(name, self.names(), self._shown)
        return row

    def names(self) -> list[str]:
        """Return the names of all runs, oldest first."""
        import sqlalchemy as sa

        table = self.tables.run
        query = sa.select(table.c.name).order_by(table.c.id)
        with self.begin() as connection:
            return list(connection.execute(query).scalars())

    def runs(self) -> list[RunInfo]:
        """Return all runs, oldest first."""
        import sqlalchemy as sa

        run, trial = self.tables.run, self.tables.trial
        of_run = trial.c.run_id == run.c.id
        finished = trial.c.finished.is_not(None)
        query = sa.select(
            run,
            sa.func.count(trial.c.finished).label("trials"),
            sa.func.max(trial.c.score).label("highest"),
            sa.func.min(trial.c.score).label("lowest"),
        )
        joined = run.outerjoin(trial, sa.and_(of_run, finished))
        query = query.select_from(joined)
        query = query.group_by(run.c.id).order_by(run.c.id)
        with self.begin() as connection:
            return [rows.to_info(row) for row in connection.execute(query)]

    def steer(self, name: str, kind: str, text: str = "") -> Steer:
        """Send a control command to the process that writes a run.

        Any user who may write the store may send one.

        Args:
            name: of the run.
            kind: "stop" ends it, "pause" lets it begin nothing new until "go", "hint" is for the
                model to read.
            text: of the hint.

        Raises RunNotFound, UnknownName for another kind, and UsageError for a hint without a text.
        """
        if kind not in rows.STEERS:
            raise UnknownName("kind of steering", kind, rows.STEERS)
        if kind == "hint" and not text.strip():
            raise UsageError("the hint is empty: write one sentence for the model")
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
        origin = self.run(name)
        finished = {trial.number for trial in origin.trials()}
        if upto_trial not in finished:
            reason = "no trial is finished"
            if finished:
                first, last = min(finished), max(finished)
                reason = f"its finished trials are {first} to {last}"
            raise UsageError(
                f"the run {name!r} cannot be forked at trial {upto_trial}: {reason}"
            )
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
        table = self.tables.trial
        of_same = table.c.score_key == rows.score_key(func_version, key)
        query = table.select()
        query = query.where(of_same, table.c.finished.is_not(None))
        query = query.order_by(table.c.score.is_(None), table.c.finished_at)
        query = query.limit(1)
        with self.begin() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return rows.to_trial(row)
