"""Database of a store: its tables, and the connections to it."""

from __future__ import annotations

import os
import time
import urllib.parse
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotAStore, StoreError, UsageError
from .address import DEFAULT_URL, Address

if TYPE_CHECKING:
    import sqlalchemy as sa

VERSION = 5  # of the tables below; migrate.py leads there from earlier ones
_RETRY_SECS = 0.01


class Tables:
    """The tables of a store. All times in them are seconds since the epoch."""

    def __init__(self) -> None:
        import sqlalchemy as sa

        self.metadata = sa.MetaData()
        version = sa.Column("version", sa.Integer, nullable=False)
        self.version = sa.Table("llm_optimize", self.metadata, version)
        self.run = _run_table(self.metadata)
        self.trial = _trial_table(self.metadata)
        self.call = _call_table(self.metadata)
        self.holder = _holder_table(self.metadata)
        self.again = _again_table(self.metadata)
        self.steer = _steer_table(self.metadata)


def _run_table(metadata: sa.MetaData) -> sa.Table:
    import sqlalchemy as sa

    return sa.Table(
        "run",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),  # JSON
        sa.Column("stop_reason", sa.Text),
        sa.Column("func_version", sa.Text),  # of f, as the user names it
        sa.Column("fork_of", sa.String(200)),  # the run that the first trials come from
        sa.Column("fork_at", sa.Integer),  # the last of them
        sa.Column("test_scores", sa.Text),  # JSON, by trial
        sa.Column("tags", sa.Text),  # JSON
        sa.Column("session_at", sa.Float),  # when the run was last begun or resumed
    )


def _trial_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of trials; plan, x, metrics, instances, usage and decision are JSON."""
    import sqlalchemy as sa

    return sa.Table(
        "trial",
        metadata,
        sa.Column("run_id", sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("parent", sa.Integer),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("source", sa.Text),
        sa.Column("x", sa.Text),
        sa.Column("score", sa.Float),
        sa.Column("feedback", sa.Text),
        sa.Column("metrics", sa.Text),
        sa.Column("instances", sa.Text),
        sa.Column("output", sa.Text),
        sa.Column("seconds", sa.Float),
        sa.Column("usage", sa.Text),
        sa.Column("finished", sa.Integer),  # 1, 2, ... in the order of finishing
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("finished_at", sa.Float),
        sa.Column("seed", sa.BigInteger),
        sa.Column("score_key", sa.String(32)),  # of the version of f and of x
        sa.Column("scorings", sa.Integer),
        sa.Column("standard_error", sa.Float),
        sa.Column("stage", sa.Text),
        sa.Column("lesson", sa.Text),
        sa.Column("decision", sa.Text),
        sa.Column("note", sa.Text),  # of a proposal; where it has no x, why
        # JSON. NULL in a row of format 3 or older, where `feedback` is the complete text.
        sa.Column("scores", sa.Text),
        sa.Index("trial_by_score_key", "score_key"),
    )


def _call_table(metadata: sa.MetaData) -> sa.Table:
    import sqlalchemy as sa

    return sa.Table(
        "call",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.ForeignKey("run.id"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("call_index", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("messages", sa.LargeBinary, nullable=False),  # JSON, zlib
        sa.Column("reply", sa.Text),  # JSON of records.Reply
        sa.Column("error", sa.Text),
        sa.Column("sent_at", sa.Float, nullable=False),
        sa.Column("received_at", sa.Float),
        sa.Column("cost_usd", sa.Float),
        sa.Index("call_by_trial", "run_id", "trial"),
    )


def _holder_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of locks, for a database that is not a file which could be locked."""
    import sqlalchemy as sa

    run = sa.ForeignKey("run.id")
    return sa.Table(
        "holder",
        metadata,
        sa.Column("run_id", run, primary_key=True, autoincrement=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        # Distinguishes a process from a later one with the same pid.
        sa.Column("started", sa.Text, nullable=False),
        sa.Column("token", sa.String(32), nullable=False),
    )


def _again_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of the further scorings of finished trials."""
    import sqlalchemy as sa

    return sa.Table(
        "scored_again",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.ForeignKey("run.id"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        # How many trials were finished by then.
        sa.Column("after", sa.Integer, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),  # JSON of what changed
        sa.Column("scored_at", sa.Float, nullable=False),
        sa.Index("scored_again_by_run", "run_id"),
    )


def _steer_table(metadata: sa.MetaData) -> sa.Table:
    """Return the table of the control commands that are sent to runs."""
    import sqlalchemy as sa

    return sa.Table(
        "steer",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.ForeignKey("run.id"), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("given_at", sa.Float, nullable=False),
        sa.Index("steer_by_run", "run_id"),
    )


# Connections.


def connect(
    address: Address, *, create: bool, read_only: bool, wait_secs: float
) -> sa.Engine:
    """Return an engine for a database. Raises UsageError or NotAStore where there can be none."""
    import sqlalchemy as sa

    if address.file is None:
        return _connect_elsewhere(address)
    _check_file(address, create=create)
    url = sa.URL.create("sqlite", database=str(address.file))
    if read_only:
        # A new connection for each transaction: how a file is read depends on whether a log lies
        # beside it (see `_open_for_reading`), and that may change between two transactions.
        creator = partial(_open_for_reading, address)
        engine = sa.create_engine(url, poolclass=sa.NullPool, creator=creator)
    else:
        engine = sa.create_engine(url)
    sa.event.listen(engine, "connect", partial(_prepare_sqlite, wait_secs))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _connect_elsewhere(address: Address) -> sa.Engine:
    import sqlalchemy as sa

    try:
        parsed = sa.make_url(address.url)
        engine = sa.create_engine(parsed)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UsageError(
            f"the store {address.shown!r} is not a database URL that works here ({error}): "
            f"try {DEFAULT_URL}"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        raise UsageError(
            f"the driver of the store {address.shown!r} is unknown here: "
            "write sqlite:/// and the path"
        )
    return engine


def is_read_only(address: Address) -> bool:
    """Return whether this user may not write or make an SQLite file, or files beside it."""
    if address.file is None:
        return False
    places = [address.file.parent]
    if os.path.exists(address.file):
        places.insert(0, address.file)
    as_now = os.access in os.supports_effective_ids
    return not all(os.access(place, os.W_OK, effective_ids=as_now) for place in places)


def _open_for_reading(address: Address) -> Any:
    """Open a file that may not be written, or whose folder may not.

    SQLite needs two more files beside a database in WAL mode: the log, and an index to it in shared
    memory. Here it cannot make them. Where a log exists, a process is writing, or was killed while
    it wrote. SQLite then reads with the files that are there (`mode=ro`), and raises an error where
    it cannot. Where there is no log, the file alone is complete, and it is read without any lock
    (`immutable`), which needs no other file. A writer that comes later brings a log with it, which
    the next transaction sees.
    """
    import sqlite3

    log = address.log
    how = "mode=ro&immutable=1"
    if log.exists() and log.stat().st_size:
        how = "mode=ro"
    file = urllib.parse.quote(os.fsencode(str(address.file)))
    return sqlite3.connect(f"file:{file}?{how}", uri=True, check_same_thread=False)


def copy_to(path: str, address: Address) -> sa.Engine:
    """Copy an SQLite file that may not be written to a path, and return an engine for the copy."""
    import sqlite3

    import sqlalchemy as sa

    with closing(_open_for_reading(address)) as source:
        with closing(sqlite3.connect(path)) as target:
            source.backup(target)
    engine = sa.create_engine(sa.URL.create("sqlite", database=path))
    sa.event.listen(engine, "connect", partial(_prepare_sqlite, 0.0))
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _check_file(address: Address, *, create: bool) -> None:
    path = Path(str(address.file))
    shown = address.shown.removeprefix("sqlite:///")
    try:
        if path.is_dir():
            raise NotAStore(
                f"{shown} is a folder, a store is a file: "
                f"add a file name, such as {shown}/runs.db"
            )
        if not path.parent.is_dir():
            folder, _ = os.path.split(shown)
            hint = ""
            if shown.startswith("~"):
                hint = "write the folder of ~ in full, or "
            raise NotAStore(
                f"the folder {folder} of the store {shown} does not exist: "
                f"{hint}make it, or choose another"
            )
        if not path.exists() or path.stat().st_size == 0:
            _check_absent(address, shown, create=create)
    except OSError as error:
        raise StoreError(
            f"the store {shown} cannot be reached ({error.strerror}): choose another"
        ) from error


def _check_absent(address: Address, shown: str, *, create: bool) -> None:
    # SQLite takes a log without its database for a leftover, and deletes it.
    if address.log.exists() and address.log.stat().st_size:
        raise NotAStore(
            f"{shown} is missing or empty, but {shown}-wal holds what was written last: "
            f"restore {shown} from a copy, or remove {shown}-wal to begin anew"
        )
    if not create:
        raise NotAStore(
            f"there is no store {shown}: start a run first, or name another with --store"
        )


# SQLite. Three things are not left to Python's driver:
#
# - It would begin a transaction before the first statement that writes, and none before one that
#   reads. So it is switched off, and each transaction begins where `Store.begin` says.
# - A transaction that reads first and writes then fails at once when another has written between.
#   One that will write says so at its beginning (BEGIN IMMEDIATE), and there it waits its turn.
# - In WAL mode a commit is one append to the log, and readers go on in the state before it. With
#   `synchronous = FULL` the log is flushed to the disk at each commit, so that a commit survives
#   the loss of power; with NORMAL, which is common in this mode, the last commits would be lost.


def _prepare_sqlite(wait_secs: float, connection: Any, _record: Any) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(wait_secs * 1000)}")
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    statement = options.get("begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def for_writing(connection: sa.Connection) -> sa.Connection:
    """Return the connection such that its next transaction waits for other writers at its start."""
    return connection.execution_options(begin="BEGIN IMMEDIATE")


def use_write_ahead_log(engine: sa.Engine, wait_secs: float) -> None:
    """Switch an SQLite file to WAL mode, where readers and the writer never block each other.

    The file remembers it. Processes that switch at the same time do not wait for each other, as
    `busy_timeout` does not hold for this statement: all but one are refused, and try again here.
    """
    if engine.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + wait_secs
    # The mode cannot be changed within a transaction, hence a connection that begins none.
    with engine.connect().execution_options(begin="") as connection:
        while not _switched(connection, last_try=time.monotonic() > deadline):
            time.sleep(_RETRY_SECS)


def empty_log(engine: sa.Engine, *, compact: bool) -> None:
    """Move the log of an SQLite file into it, and with `compact` leave out its unused pages.

    Until then the log holds what was deleted. Readers that look at an older state delay it.
    """
    if engine.dialect.name != "sqlite":
        return
    with engine.connect().execution_options(begin="") as connection:
        if compact:
            connection.exec_driver_sql("VACUUM")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")


def _switched(connection: sa.Connection, *, last_try: bool) -> bool:
    import sqlalchemy as sa

    try:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    except sa.exc.OperationalError as error:
        name = getattr(error.orig, "sqlite_errorname", "")
        if last_try or not name.startswith("SQLITE_BUSY"):
            raise
        return False
    return True
