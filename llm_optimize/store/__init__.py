"""Where runs live: one SQLite file by default, any SQLAlchemy URL on request.

Everything that is paid for is on disk before it is used: a request before it is sent, a reply before anything is done
with what it says, an x before it is scored, a score before it is shown. The stored rows are the only state of a run. One process
writes a run; any number read it, and others may write other runs of the same store.
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
from . import _rows as rows
from ._address import DEFAULT_URL, address_of, option_of
from ._copy import copy_run
from ._database import Tables, connect, for_writing, is_read_only, use_write_ahead_log
from ._hold import FileHold, Hold, RowHold, Taken
from ._migrate import is_current, make_current
from ._progress import Again, Begun, Progress, Seen
from ._rows import Call, Origin, Pending, RunInfo, Steer
from ._run import Run
from ._statements import Statements, Unfit
from ._trouble import as_users_see, read_only, translated
from ._whole import refuse_torn
from ._writer import Writer
from ._writes import Write

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

    A file that this user may read and not write can be looked at; whatever would write raises StoreError.

    Raises NotAStore when the URL or file is no database of this library, NewerStore when a newer version wrote it,
    UsageError when the URL cannot be understood, and StoreError when the database does not let us in: a full disk, no
    permission, a lock of another program that lasts longer than `wait_secs`. All methods may raise StoreError for
    these; nothing is damaged then, and the same call may be made again once the cause is gone.

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
        """Open the database at a path or URL (see `address_of`); a missing one is made only where `create` is true."""
        address = address_of(where)
        self.url = address.url
        self.tables = Tables()
        self._wait_secs = wait_secs
        self._holds: list[Hold] = []
        self._writers: list[Writer] = []
        self._file = address.file
        self._shown = address.shown
        self._read_only = is_read_only(address)
        self._engine = connect(
            address, create=create, read_only=self._read_only, wait_secs=wait_secs
        )
        self._statements = Statements(self.tables, self._engine.dialect)
        try:
            self._open_tables()
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[str, ...]:
        """The files in which the runs are, those of SQLite's journal included; none for a database elsewhere."""
        return (
            tuple(f"{self._file}{end}" for end in ("", "-wal", "-shm"))
            if self._file
            else ()
        )

    def _open_tables(self) -> None:
        with self.begin() as connection:
            refuse_torn(connection)
            current = is_current(connection, self.tables, self._shown)
        if not current:
            with self.begin(write=True) as connection:
                if not is_current(
                    connection, self.tables, self._shown
                ):  # nobody else was faster
                    make_current(connection, self.tables)
        if self._read_only:
            return
        with self._translated():
            use_write_ahead_log(self._engine, self._wait_secs)

    @contextmanager
    def begin(self, *, write: bool = False) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, committed at the end; one that writes says so beforehand.

        Raises NotAStore when the file is no database, and StoreError for whatever else the database refuses.
        """
        if write:
            self._refuse_reading_only()
        with self._translated(), self._engine.connect() as plain:
            connection = for_writing(plain) if write else plain
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
        outcomes = self._statements.write_all(lambda: self.begin(write=True), writes)
        return [
            self._error_of(one) if isinstance(one, Unfit) else one for one in outcomes
        ]

    def _error_of(self, unfit: Unfit) -> Exception:
        """Return what a user is told of a row that cannot be written."""
        return as_users_see(unfit.error, self._shown, self._wait_secs)

    def close_before_the_holds(self, writer: Writer) -> None:
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
            for hold in self._holds:
                hold.close()
        finally:
            self._engine.dispose()

    # Runs.

    def create_run(
        self, name: str, settings: Mapping[str, Any], func_version: str | None = None
    ) -> Run:
        """Start a run with this name and return it for writing; its settings are kept as JSON.

        `func_version` names the version of f; runs that name the same one share their scores (`known_score`).

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
        if (
            connection.execute(table.select().where(table.c.name == name)).first()
            is not None
        ):
            raise UsageError(
                f"a run named {name!r} exists in {self._shown}: resume it, or choose another name"
            )

    def run(self, name: str) -> Run:
        """Return the run of this name for reading, whoever writes it. Raises RunNotFound with the nearest names."""
        return Run(self, self._row(name))

    def hold(self, name: str, func_version: str | None = None) -> Run:
        """Return the run of this name for writing, until it or the store is closed or the process ends.

        A `func_version` that is given is that of the trials finished from now on; None leaves it as it was.

        Raises RunNotFound with the nearest names, and RunHeld when another process, or this one, holds it already.
        """
        self._refuse_reading_only()
        hold = self._take(name, self._row(name).id)
        try:
            if func_version is not None:
                table = self.tables.run
                with self.begin(write=True) as connection:
                    connection.execute(
                        table.update()
                        .where(table.c.name == name)
                        .values(func_version=func_version)
                    )
            run = Run(self, self._row(name), hold)
        except BaseException:
            hold.close()
            raise
        self._holds.append(hold)
        return run

    def _take(self, name: str, key: int) -> Hold:
        try:
            if self._file is not None:
                file = self._file.resolve()
                return FileHold(file.with_name(f"{file.name}-{key}.lock"))
            return RowHold(lambda: self.begin(write=True), self.tables, key)
        except Taken as taken:
            raise taken.as_error(name, self._shown) from None

    def _row(self, name: str) -> Any:
        table = self.tables.run
        with self.begin() as connection:
            row = connection.execute(
                table.select().where(table.c.name == name)
            ).one_or_none()
        if row is None:
            raise RunNotFound(name, self.names(), self._shown)
        return row

    def names(self) -> list[str]:
        """Return the names of all runs, oldest first."""
        import sqlalchemy as sa

        with self.begin() as connection:
            return list(
                connection.execute(
                    sa.select(self.tables.run.c.name).order_by(self.tables.run.c.id)
                ).scalars()
            )

    def runs(self) -> list[RunInfo]:
        """Return all runs, oldest first."""
        import sqlalchemy as sa

        run, trial = self.tables.run, self.tables.trial
        query = (
            sa.select(
                run,
                sa.func.count(trial.c.finished).label("trials"),
                sa.func.max(trial.c.score).label("best"),
            )
            .select_from(
                run.outerjoin(
                    trial,
                    sa.and_(trial.c.run_id == run.c.id, trial.c.finished.is_not(None)),
                )
            )
            .group_by(run.c.id)
            .order_by(run.c.id)
        )
        with self.begin() as connection:
            return [rows.to_info(row) for row in connection.execute(query)]

    def steer(self, name: str, kind: str, text: str = "") -> Steer:
        """Tell the process that goes on with a run what it shall do; whoever may write the store may steer.

        Args:
            name: of the run.
            kind: "stop" ends it, "pause" lets it begin nothing new until "go", "hint" is for the model to read.
            text: of the hint.

        Raises RunNotFound, UnknownName for another kind, and UsageError for a hint without a text.
        """
        if kind not in rows.STEERS:
            raise UnknownName("kind of steering", kind, rows.STEERS)
        if kind == "hint" and not text.strip():
            raise UsageError("the hint is empty: write one sentence for the model")
        now, key, text = time.time(), self._row(name).id, rows.storable(text)
        values = {"run_id": key, "kind": kind, "text": text, "given_at": now}
        with self.begin(write=True) as connection:
            found = connection.execute(
                self.tables.steer.insert().values(values)
            ).inserted_primary_key
        return Steer(found[0] if found else 0, kind, text, now)

    # What one run leaves to others.

    def fork(self, name: str, upto_trial: int, new_name: str | None = None) -> Run:
        """Start a run that begins with trials 0 to `upto_trial` of another, and return it for reading.

        Its settings are those of the other run. The trials keep their numbers, and their scores, replies and usage come
        along; `Run.origin` says where they come from and `Run.inherited` what they had used there. Trials that were
        not finished are left behind. Without a `new_name` it is the old one with a number.

        Raises RunNotFound, and UsageError when the new name is taken or trial `upto_trial` is not finished.
        """
        origin = self.run(name)
        finished = {trial.number for trial in origin.trials()}
        if upto_trial not in finished:
            raise UsageError(
                f"the run {name!r} cannot be forked at trial {upto_trial}: "
                + (
                    f"its finished trials are {min(finished)} to {max(finished)}"
                    if finished
                    else "no trial is finished"
                )
            )
        new = new_name or rows.next_name(name, self.names())
        with self.begin(write=True) as connection:
            self._refuse_taken(connection, new)
            copy_run(connection, self.tables, Origin(name, upto_trial), new)
        return self.run(new)

    def replies(self, name: str) -> list[Reply]:
        """Return the replies of a run in the order of its trials: a scripted model made of them replays it for nothing.

        Raises RunNotFound with the nearest names.
        """
        calls = sorted(
            self.run(name).calls(), key=lambda call: (call.trial, call.index, call.key)
        )
        first = {
            (call.trial, call.index): call.reply
            for call in reversed(calls)
            if call.reply is not None
        }
        return [first[place] for place in sorted(first)]

    def known_score(self, func_version: str, key: str) -> Trial | None:
        """Return a trial, of any run of this store, that this version of f has judged; None when there is none.

        `key` is `text.key_of(x)`. A failure by time-out is not reused, nor is what another trial's score was copied to.
        A score is preferred to a failure, and of equals the first one is taken.
        """
        table = self.tables.trial
        query = (
            table.select()
            .where(
                table.c.score_key == rows.score_key(func_version, key),
                table.c.finished.is_not(None),
            )
            .order_by(table.c.score.is_(None), table.c.finished_at)
            .limit(1)
        )
        with self.begin() as connection:
            row = connection.execute(query).first()
        return None if row is None else rows.to_trial(row)
