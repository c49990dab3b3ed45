"""Incremental reads of a run: what is newer than a cursor, at a cost independent of its length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records import Trial
from . import rows

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .database import Tables


@dataclass(frozen=True)
class Begun:
    """A trial that was begun and is not finished."""

    number: int
    parent: int | None
    source: str  # who wrote its x; empty until the x is there


@dataclass(frozen=True)
class Again:
    """The result of further scorings of a finished trial."""

    key: int  # grows with time
    trial: int
    score: float | None
    standard_error: float | None
    scorings: int
    after: int = 0  # how many trials were finished by then


@dataclass(frozen=True)
class Progress:
    """The news of a run."""

    finished: tuple[Trial, ...]  # in the order of finishing, as they were scored first
    again: tuple[Again, ...]  # in the order of scoring
    begun: tuple[Begun, ...]  # by number
    stop_reason: str | None  # None: it goes on, or was killed


@dataclass(frozen=True)
class Seen:
    """A cursor: how far a reader knows a run."""

    above: int = -1  # it knows all trials up to this number
    finished: int = 0  # and so many finished trials in all
    again: int = 0  # and all further scorings up to this key


def progress(
    connection: sa.Connection, tables: Tables, run: int, seen: Seen
) -> Progress:
    """Read what is newer than the cursor.

    Trials are selected by their numbers, which have an index; the order of finishing has none.
    """
    newer = _trials_after(connection, tables, run, seen)
    of_run = tables.run.select().where(tables.run.c.id == run)
    row = connection.execute(of_run).one()
    again = _scorings_after(connection, tables, run, seen)
    done = [trial for trial in newer if trial.finished is not None]
    done.sort(key=lambda trial: trial.finished)
    begun: list[Begun] = []
    for trial in sorted(newer, key=lambda trial: trial.number):
        if trial.finished is None:
            begun.append(Begun(trial.number, trial.parent, trial.source or ""))
    finished = tuple(map(rows.to_trial, done))
    return Progress(finished, again, tuple(begun), row.stop_reason)


def _trials_after(
    connection: sa.Connection, tables: Tables, run: int, seen: Seen
) -> list[Any]:
    column = tables.trial.c
    unknown = column.finished.is_(None) | (column.finished > seen.finished)
    query = tables.trial.select().where(
        column.run_id == run,
        column.number > seen.above,
        unknown,
    )
    return list(connection.execute(query))


def _scorings_after(
    connection: sa.Connection, tables: Tables, run: int, seen: Seen
) -> tuple[Again, ...]:
    column = tables.again.c
    query = tables.again.select()
    query = query.where(column.run_id == run, column.id > seen.again)
    query = query.order_by(column.id)
    return tuple(_to_again(row) for row in connection.execute(query))


def _to_again(row: Any) -> Again:
    verdict = rows.verdict_of(row)
    return Again(
        row.id,
        row.trial,
        verdict["score"],
        verdict["standard_error"],
        verdict["scorings"],
        row.after,
    )


def one_trial(
    connection: sa.Connection, tables: Tables, run: int, number: int
) -> Trial | None:
    """Read a finished trial as it was scored last; None when there is none of this number."""
    trial, again = tables.trial, tables.again
    finished = trial.select().where(
        trial.c.run_id == run,
        trial.c.number == number,
        trial.c.finished.is_not(None),
    )
    row = connection.execute(finished).one_or_none()
    if row is None:
        return None
    scorings = again.select()
    scorings = scorings.where(again.c.run_id == run, again.c.trial == number)
    scorings = scorings.order_by(again.c.id.desc()).limit(1)
    last = connection.execute(scorings).first()
    first_scored = rows.to_trial(row)
    if last is None:
        return first_scored
    return rows.scored_again(first_scored, last)
