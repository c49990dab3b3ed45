"""Where runs live: one SQLite file by default, any SQLAlchemy URL on request.

Everything that is paid for is on disk before anything else happens: a request before it is sent, a reply before it is
parsed, an x before it is scored, a score before it is shown. The stored rows are the only state of a run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import NewerStore, NotAStore, RunNotFound, StoreError, UsageError
from ..records import Message, Plan, Proposal, Reply, Status, Trial
from . import _rows as rows
from ._database import DEFAULT_URL, VERSION, Tables, as_store_error, connect, use_write_ahead_log
from ._rows import Call, Pending, RunInfo

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["DEFAULT_URL", "Call", "Pending", "Run", "RunInfo", "Store"]


class Store:
    """A database of runs.

    Raises NotAStore when the URL or file is no database of this library, NewerStore when a newer version wrote it,
    UsageError when the URL cannot be understood, and StoreError when the database does not let us in.
    """

    def __init__(self, url: str = DEFAULT_URL, *, create: bool = True) -> None:
        """Open the database at `url`; a missing one is made only where `create` is true."""
        self.url = url if "://" in url else f"sqlite:///{url}"
        self.tables = Tables()
        self._engine = connect(self.url, create=create)
        try:
            self._open_tables()
        except BaseException:
            self.close()
            raise

    @property
    def files(self) -> tuple[str, ...]:
        """The files in which the runs are, those of SQLite's journal included; none for a database elsewhere."""
        file = self._engine.url.database if self._engine.url.get_backend_name() == "sqlite" else None
        return tuple(os.path.abspath(file + end) for end in ("", "-wal", "-shm")) if file else ()

    def _open_tables(self) -> None:
        import sqlalchemy as sa

        with self.begin() as connection:
            names = set(sa.inspect(connection).get_table_names())
            if names and "llm_optimize" not in names:
                raise NotAStore(f"{self.url} is a database of something else: it holds {', '.join(sorted(names)[:5])}")
            if not names:
                self.tables.metadata.create_all(connection)
                connection.execute(self.tables.version.insert().values(version=VERSION))
            version = connection.execute(sa.select(self.tables.version.c.version)).scalar_one()
        if version > VERSION:
            raise NewerStore(
                f"{self.url} was written by a newer llm_optimize (format {version}, this one knows {VERSION}): "
                "upgrade llm_optimize, or choose another store"
            )
        with self._translated():
            use_write_ahead_log(self._engine)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Yield a connection inside one transaction, committed at the end.

        Raises NotAStore when the file is no database, and StoreError for whatever else the database refuses.
        """
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.DBAPIError as error:
            raise as_store_error(self.url, error) from error

    def close(self) -> None:
        """Close the database; what was written stays."""
        self._engine.dispose()

    def create_run(self, name: str, settings: Mapping[str, Any]) -> Run:
        """Start a run with this name; its settings are kept as JSON. Raises UsageError when the name is taken."""
        import sqlalchemy as sa

        if name in self.names():
            raise UsageError(f"a run named {name!r} exists in {self.url}: resume it, or choose another name")
        row = {"name": name, "created_at": time.time(), "settings": json.dumps(settings)}
        with self.begin() as connection:
            key = connection.execute(sa.insert(self.tables.run).values(row)).inserted_primary_key
        return Run(self, name, _only(key), settings)

    def run(self, name: str) -> Run:
        """Return the run of this name. Raises RunNotFound with the nearest names."""
        import sqlalchemy as sa

        table = self.tables.run
        with self.begin() as connection:
            row = connection.execute(sa.select(table).where(table.c.name == name)).one_or_none()
        if row is None:
            raise RunNotFound(name, self.names(), self.url)
        return Run(self, name, row.id, json.loads(row.settings))

    def names(self) -> list[str]:
        """Return the names of all runs, oldest first."""
        import sqlalchemy as sa

        with self.begin() as connection:
            return list(connection.execute(sa.select(self.tables.run.c.name).order_by(self.tables.run.c.id)).scalars())

    def runs(self) -> list[RunInfo]:
        """Return all runs, oldest first."""
        import sqlalchemy as sa

        run, trial = self.tables.run, self.tables.trial
        query = (
            sa.select(run, sa.func.count(trial.c.finished).label("trials"), sa.func.max(trial.c.score).label("best"))
            .select_from(run.outerjoin(trial, sa.and_(trial.c.run_id == run.c.id, trial.c.finished.is_not(None))))
            .group_by(run.c.id)
            .order_by(run.c.id)
        )
        with self.begin() as connection:
            found = connection.execute(query).all()
        return [
            RunInfo(row.name, row.created_at, row.stop_reason, row.trials, row.best, json.loads(row.settings))
            for row in found
        ]


class Run:
    """One run in a store: every step of a trial is one commit."""

    def __init__(self, store: Store, name: str, key: int, settings: Mapping[str, Any]) -> None:
        """Take the row of the table of runs; `Store.create_run` and `Store.run` make these."""
        self.store = store
        self.name = name
        self.settings = settings
        self._key = key

    def plan(self, number: int, plan: Plan) -> None:
        """Write that trial `number` is begun, and what it builds on."""
        values = {
            "run_id": self._key,
            "number": number,
            "status": Status.PENDING.value,
            "parent": plan.parent.number if plan.parent else None,
            "plan": rows.from_plan(plan),
            "created_at": time.time(),
        }
        with self.store.begin() as connection:
            connection.execute(self.store.tables.trial.insert().values(values))

    def sent(self, trial: int, index: int, model: str, messages: Sequence[Message]) -> int:
        """Write a model call that is about to be sent; return its key."""
        values = {
            "run_id": self._key,
            "trial": trial,
            "call_index": index,
            "model": model,
            "messages": rows.from_messages(messages),
            "sent_at": time.time(),
        }
        with self.store.begin() as connection:
            statement = self.store.tables.call.insert().values(values)
            return _only(connection.execute(statement).inserted_primary_key)

    def received(self, call: int, reply: Reply) -> None:
        """Write the reply of a call, before anybody reads it."""
        self._end_call(call, reply=json.dumps(asdict(reply)))

    def call_failed(self, call: int, error: str) -> None:
        """Write that a call ended without a reply."""
        self._end_call(call, error=rows.storable(error))

    def _end_call(self, call: int, **values: str) -> None:
        table = self.store.tables.call
        with self.store.begin() as connection:
            connection.execute(table.update().where(table.c.id == call).values(**values, received_at=time.time()))

    def propose(self, number: int, proposal: Proposal) -> None:
        """Write the x of a trial, not yet scored."""
        self._update(number, **rows.from_proposal(proposal))

    def finish(self, trial: Trial, order: int) -> None:
        """Write a finished trial; `order` counts the finished ones, and is the order in which others learn of it."""
        self._update(trial.number, **rows.from_trial(trial), finished=order, finished_at=time.time())

    def _update(self, number: int, **values: Any) -> None:
        table = self.store.tables.trial
        statement = table.update().where(table.c.run_id == self._key, table.c.number == number).values(**values)
        with self.store.begin() as connection:
            connection.execute(statement)

    def end(self, stop_reason: str | None) -> None:
        """Write why the run ended; None says that it goes on."""
        table = self.store.tables.run
        with self.store.begin() as connection:
            connection.execute(table.update().where(table.c.id == self._key).values(stop_reason=stop_reason))

    def trials(self) -> list[Trial]:
        """Return the finished trials in the order in which they were finished."""
        return [rows.to_trial(row) for row in self._rows(finished=True)]

    def pending(self) -> list[Pending]:
        """Return the trials that were begun and not finished, by number."""
        begun = self._rows(finished=False)
        known = {trial.number: trial for trial in self.trials()} if begun else {}
        return [Pending(row.number, rows.to_plan(row.plan, known), rows.to_proposal(row)) for row in begun]

    def _rows(self, *, finished: bool) -> Sequence[Any]:
        table = self.store.tables.trial
        ended = table.c.finished.is_not(None) if finished else table.c.finished.is_(None)
        query = table.select().where(table.c.run_id == self._key, ended).order_by(table.c.finished, table.c.number)
        with self.store.begin() as connection:
            return connection.execute(query).all()

    def calls(self, trial: int | None = None) -> list[Call]:
        """Return the model calls of one trial, or of the whole run, in the order of sending."""
        table = self.store.tables.call
        query = table.select().where(table.c.run_id == self._key).order_by(table.c.id)
        if trial is not None:
            query = query.where(table.c.trial == trial)
        with self.store.begin() as connection:
            return [rows.to_call(row) for row in connection.execute(query)]


def _only(key: Sequence[Any] | None) -> int:
    if not key:
        raise StoreError("the database did not return the key of a new row: use a database that does")
    return int(key[0])
