"""Incremental reads of a run: what is newer than a cursor, at a cost independent of its length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..records import Trial
from . import rows
from .rows import RunInfo
from .states import State

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
    connection: sa.Connection, tables: Tables, row: Any, seen: Seen
) -> Progress:
    """Read what is newer in the run of a row than the cursor.

    Trials are selected by their numbers, which have an index; the order of finishing has none.
    """
    newer = _trials_after(connection, tables, row.id, seen)
    again = _scorings_after(connection, tables, row.id, seen)
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


def known_score(connection: sa.Connection, tables: Tables, key: str) -> Trial | None:
    """Read the first trial with a key of version and x, one with a score rather than another."""
    table = tables.trial
    column = table.c
    is_finished = column.finished.is_not(None)
    query = table.select()
    query = query.where(column.score_key == key, is_finished)
    has_none = column.score.is_(None)
    query = query.order_by(has_none, column.finished_at).limit(1)
    row = connection.execute(query).first()
    if row is None:
        return None
    return rows.to_trial(row)


def infos(
    connection: sa.Connection,
    tables: Tables,
    name: str | None,
    state_of: Callable[[sa.Connection, Any], State],
) -> list[RunInfo]:
    """Read all runs as a list shows them, oldest first; with a name only that one."""
    import sqlalchemy as sa

    run, trial = tables.run, tables.trial
    finished = trial.c.finished.is_not(None)
    of_run = finished & (trial.c.run_id == run.c.id)
    is_new = trial.c.finished_at >= run.c.session_at
    new = sa.case((is_new, 1), else_=0)
    scorings = sa.func.coalesce(trial.c.scorings, 1)
    query = sa.select(
        run,
        sa.func.count(trial.c.finished).label("trials"),
        sa.func.max(trial.c.score).label("highest"),
        sa.func.min(trial.c.score).label("lowest"),
        sa.func.sum(scorings).label("scorings"),
        sa.func.max(trial.c.finished_at).label("last_at"),
        sa.func.sum(new).label("session_trials"),
    )
    joined = run.outerjoin(trial, of_run)
    query = query.select_from(joined)
    if name is not None:
        query = query.where(run.c.name == name)
    key = run.c.id
    query = query.group_by(key).order_by(key)
    found = connection.execute(query).all()
    rescored = _rescored(connection, tables)
    listed = []
    for row in found:
        info = rows.to_info(row, state_of(connection, row))
        if row.id in rescored:
            scores = rescored[row.id]
            best = max(scores, key=info.direction.turned, default=None)
            info = replace(info, best_score=best, rescored=True)
        listed.append(info)
    return listed


def _rescored(connection: sa.Connection, tables: Tables) -> dict[int, list[float]]:
    """Return all scores, as they are known last, of runs in which trials were scored again."""
    import sqlalchemy as sa

    trial, again = tables.trial.c, tables.again.c
    latest: dict[int, dict[int, float | None]] = {}
    verdicts = sa.select(again.run_id, again.trial, again.verdict)
    for row in connection.execute(verdicts.order_by(again.id)):
        of_run = latest.setdefault(row.run_id, {})
        verdict = rows.verdict_of(row)
        of_run[row.trial] = verdict["score"]
    found: dict[int, list[float]] = {}
    for run, of_run in latest.items():
        scores = sa.select(trial.number, trial.score)
        finished = trial.finished.is_not(None)
        scores = scores.where(trial.run_id == run, finished)
        known = found.setdefault(run, [])
        for number, first_score in connection.execute(scores):
            score = of_run.get(number, first_score)
            if score is not None:
                known.append(score)
    return found
