"""The tables of a store, and the way into its database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotAStore, StoreError, UsageError

if TYPE_CHECKING:
    import sqlalchemy as sa

DEFAULT_URL = "sqlite:///runs.db"
VERSION = 1  # of the tables below
_BUSY_TIMEOUT_MS = 30_000  # how long a writer waits for another one


class Tables:
    """The tables of a store."""

    def __init__(self) -> None:
        import sqlalchemy as sa

        self.metadata = sa.MetaData()
        self.version = sa.Table("llm_optimize", self.metadata, sa.Column("version", sa.Integer, nullable=False))
        self.run = _run_table(self.metadata)
        self.trial = _trial_table(self.metadata)
        self.call = _call_table(self.metadata)


def _run_table(metadata: sa.MetaData) -> sa.Table:
    import sqlalchemy as sa

    return sa.Table(
        "run",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String(200), nullable=False, unique=True),
        sa.Column("created_at", sa.Float, nullable=False),  # this and the other times: seconds since the epoch
        sa.Column("settings", sa.Text, nullable=False),  # JSON
        sa.Column("stop_reason", sa.Text),
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
        sa.Column("plan", sa.Text, nullable=False),  # JSON, and so are x, metrics, instances and usage
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
        sa.Index("call_by_trial", "run_id", "trial"),
    )


def connect(url: str, *, create: bool) -> sa.Engine:
    """Return the way into the database at `url`. Raises UsageError or NotAStore where there can be none."""
    import sqlalchemy as sa

    try:
        parsed = sa.make_url(url)
        engine = sa.create_engine(parsed)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise UsageError(
            f"the store {url!r} is no database URL that works here ({error}): try {DEFAULT_URL}"
        ) from error
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite_path(parsed.database, create=create)
        sa.event.listen(engine, "connect", _prepare_sqlite)
    return engine


def _check_sqlite_path(database: str | None, *, create: bool) -> None:
    if database in (None, "", ":memory:"):
        raise UsageError("a store in memory would be lost with the program: name a file, such as sqlite:///runs.db")
    path = Path(str(database))
    if path.is_dir():
        raise NotAStore(f"{path} is a folder, a store is a file: add a file name, such as {path / 'runs.db'}")
    if not path.parent.is_dir():
        raise NotAStore(f"the folder {path.parent} of the store {path} does not exist: make it, or choose another")
    if not create and not path.exists():
        raise NotAStore(f"there is no store {path}: start a run first, or name another with --store")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
    cursor.execute("PRAGMA synchronous = FULL")  # a commit survives the loss of power
    cursor.close()


def use_write_ahead_log(engine: sa.Engine) -> None:
    """Let readers never block the writer, nor the writer them; the file remembers it."""
    if engine.dialect.name == "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")


def as_store_error(url: str, error: sa.exc.DBAPIError) -> StoreError:
    """Return what an error of the database means to a user."""
    reason = str(error.orig)
    if "not a database" in reason or "malformed" in reason:
        return NotAStore(f"{url} is no database ({reason}): choose another store, or restore this file from a copy")
    return StoreError(f"the store {url} cannot be used: {reason}; what was written before is safe, free it and resume")
