"""The tables of a store, and the way into its database."""

from __future__ import annotations

import os
import time
import urllib.parse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotAStore, StoreError, UsageError
from ._address import DEFAULT_URL, Address

if TYPE_CHECKING:
    import sqlalchemy as sa

VERSION = 4  # of the tables below; _migrate.py leads there from earlier ones
_RETRY_SECS = 0.01


class Tables:
    """The tables of a store."""

    def __init__(self) -> None:
        import sqlalchemy as sa

        self.metadata = sa.MetaData()
        self.version = sa.Table(
            "llm_optimize",
            self.metadata,
            sa.Column("version", sa.Integer, nullable=False),
        )
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
        sa.Column(
            "created_at", sa.Float, nullable=False
        ),  # this and the other times: seconds since the epoch
        sa.Column("settings", sa.Text, nullable=False),  # JSON
        sa.Column("stop_reason", sa.Text),
        sa.Column("func_version", sa.Text),  # of f, as the user names it
        sa.Column("fork_of", sa.String(200)),  # the run that the first trials come from
        sa.Column("fork_at", sa.Integer),  # the last of them
        sa.Column("test_scores", sa.Text),  # JSON, by trial
    )


def _trial_table(metadata: sa.MetaData) -> sa.Table:
    import sqlalchemy as sa

    return sa.Table(
        "trial",
        metadata,
        sa.Column("run_id", sa.ForeignKey("run.id"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("parent", sa.Integer),
        sa.Column(
            "plan", sa.Text, nullable=False
        ),  # JSON, and so are x, metrics, instances and usage
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
        sa.Column("decision", sa.Text),  # JSON
        sa.Column("note", sa.Text),  # of a proposal; where it has no x, why
        sa.Column(
            "scores", sa.Text
        ),  # JSON; in a row of format 3 or older NULL, and `feedback` is the complete text
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
    """Who writes which run, where the database is no file that the operating system could lock."""
    import sqlalchemy as sa

    return sa.Table(
        "holder",
        metadata,
        sa.Column(
            "run_id", sa.ForeignKey("run.id"), primary_key=True, autoincrement=False
        ),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column(
            "started", sa.Text, nullable=False
        ),  # tells a process from a later one with the same pid
        sa.Column("token", sa.String(32), nullable=False),
    )


def _again_table(metadata: sa.MetaData) -> sa.Table:
    """What further scorings of a finished trial came to."""
    import sqlalchemy as sa

    return sa.Table(
        "scored_again",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("run_id", sa.ForeignKey("run.id"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column(
            "after", sa.Integer, nullable=False
        ),  # how many trials were finished by then
        sa.Column("verdict", sa.Text, nullable=False),  # JSON of what changed
        sa.Column("scored_at", sa.Float, nullable=False),
        sa.Index("scored_again_by_run", "run_id"),
    )


def _steer_table(metadata: sa.MetaData) -> sa.Table:
    """What people who watch a run want of it."""
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


def connect(
    address: Address, *, create: bool, read_only: bool, wait_secs: float
) -> sa.Engine:
    """Return the way into a database. Raises UsageError or NotAStore where there can be none."""
    import sqlalchemy as sa

    if address.file is None:
        return _connect_elsewhere(address)
    _check_file(address, create=create)
    plain = sa.URL.create("sqlite", database=str(address.file))
    if read_only:  # a new connection for each transaction, so that `_open_for_reading` looks at the files each time
        engine = sa.create_engine(
            plain, poolclass=sa.NullPool, creator=partial(_open_for_reading, address)
        )
    else:
        engine = sa.create_engine(plain)
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
            f"the store {address.shown!r} is no database URL that works here ({error}): try {DEFAULT_URL}"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        raise UsageError(
            f"the driver of the store {address.shown!r} is unknown here: write sqlite:/// and the path"
        )
    return engine


def is_read_only(address: Address) -> bool:
    """Return whether this user may not write an SQLite file, or not make it, or not make two more files beside it."""
    if address.file is None:
        return False
    places = (
        (address.file, address.file.parent)
        if os.path.exists(address.file)
        else (address.file.parent,)
    )
    as_now = os.access in os.supports_effective_ids
    return not all(os.access(place, os.W_OK, effective_ids=as_now) for place in places)


def _open_for_reading(address: Address) -> Any:
    """Open a file that may not be written, or that lies where SQLite cannot make its two further files.

    Where those exist, somebody writes or was killed: SQLite then reads with them (`mode=ro`), and says so where it
    cannot. Where there is no log, the file alone is the whole truth, and it is read without any lock (`immutable`),
    which needs no further file. A writer that comes later brings a log with it, which the next transaction sees.
    """
    import sqlite3

    log = address.log
    how = "mode=ro" if log.exists() and log.stat().st_size else "mode=ro&immutable=1"
    file = urllib.parse.quote(os.fsencode(str(address.file)))
    return sqlite3.connect(f"file:{file}?{how}", uri=True, check_same_thread=False)


def _check_file(address: Address, *, create: bool) -> None:
    path = Path(str(address.file))
    shown = address.shown.removeprefix("sqlite:///")
    try:
        if path.is_dir():
            raise NotAStore(
                f"{shown} is a folder, a store is a file: add a file name, such as {shown}/runs.db"
            )
        if not path.parent.is_dir():
            raise NotAStore(_no_folder(shown))
        if not path.exists() or path.stat().st_size == 0:
            _check_absent(address, shown, create=create)
    except OSError as error:
        raise StoreError(
            f"the store {shown} cannot be reached ({error.strerror}): choose another"
        ) from error


def _no_folder(shown: str) -> str:
    folder, _ = os.path.split(shown)
    hint = "write the folder of ~ in full, or " if shown.startswith("~") else ""
    return f"the folder {folder} of the store {shown} does not exist: {hint}make it, or choose another"


def _check_absent(address: Address, shown: str, *, create: bool) -> None:
    if (
        address.log.exists() and address.log.stat().st_size
    ):  # which SQLite would throw away
        raise NotAStore(
            f"{shown} is missing or empty, but {shown}-wal holds what was written last: restore {shown} from a copy, "
            f"or remove {shown}-wal to begin anew"
        )
    if not create:
        raise NotAStore(
            f"there is no store {shown}: start a run first, or name another with --store"
        )


def _prepare_sqlite(wait_secs: float, connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction on its own
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {round(wait_secs * 1000)}")
    cursor.execute("PRAGMA synchronous = FULL")  # a commit survives the loss of power
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get("begin", "BEGIN")
    if statement:
        connection.exec_driver_sql(statement)


def for_writing(connection: sa.Connection) -> sa.Connection:
    """Return the connection such that its next transaction waits for other writers where it begins."""
    return connection.execution_options(begin="BEGIN IMMEDIATE")


def use_write_ahead_log(engine: sa.Engine, wait_secs: float) -> None:
    """Let readers never block the writer, nor the writer them; the file remembers it."""
    if engine.dialect.name != "sqlite":
        return
    deadline = time.monotonic() + wait_secs
    with engine.connect().execution_options(begin="") as connection:
        while not _switched(connection, last_try=time.monotonic() > deadline):
            time.sleep(_RETRY_SECS)


def _switched(connection: sa.Connection, *, last_try: bool) -> bool:
    """Switch to the log; where others do the same SQLite does not wait for them, but says at once that it is busy."""
    import sqlalchemy as sa

    try:
        connection.exec_driver_sql("PRAGMA journal_mode = WAL")
    except sa.exc.OperationalError as error:
        if last_try or not getattr(error.orig, "sqlite_errorname", "").startswith(
            "SQLITE_BUSY"
        ):
            raise
        return False
    return True
