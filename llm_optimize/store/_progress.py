"""What a reader who follows a run has not seen of it yet; it costs little, however long the run is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records import Trial
from . import _rows as rows

if TYPE_CHECKING:
    import sqlalchemy as sa

    from ._database import Tables


@dataclass(frozen=True)
class Begun:
    """A trial that was begun and is not finished; who writes its x is empty until the x is there."""

    number: int
    parent: int | None
    source: str


@dataclass(frozen=True)
class Again:
    """What further scorings of a finished trial came to; `key` grows with time."""

    key: int
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
    """How far a reader knows a run."""

    above: int = -1  # it knows all trials up to this number
    finished: int = 0  # and so many finished trials in all
    again: int = 0  # and all further scorings up to this key


def progress(
    connection: sa.Connection, tables: Tables, run: int, seen: Seen
) -> Progress:
    """Read what is new to a reader; its trials are found by their numbers, which have an index."""
    trial, again = tables.trial, tables.again
    unknown = trial.c.finished.is_(None) | (trial.c.finished > seen.finished)
    asked = trial.select().where(
        trial.c.run_id == run, trial.c.number > seen.above, unknown
    )
    newer = connection.execute(asked).all()
    scored = (
        again.select()
        .where(again.c.run_id == run, again.c.id > seen.again)
        .order_by(again.c.id)
    )
    row = connection.execute(tables.run.select().where(tables.run.c.id == run)).one()
    done = sorted(
        (one for one in newer if one.finished is not None), key=lambda one: one.finished
    )
    return Progress(
        tuple(map(rows.to_trial, done)),
        tuple(_to_again(one) for one in connection.execute(scored)),
        tuple(sorted(_begun(newer), key=lambda begun: begun.number)),
        row.stop_reason,
    )


def _begun(newer: Iterable[Any]) -> Iterator[Begun]:
    for row in newer:
        if row.finished is None:
            yield Begun(row.number, row.parent, row.source or "")


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
    """Read a finished trial as it is known last; None when there is none of this number."""
    trial, again = tables.trial, tables.again
    asked = trial.select().where(
        trial.c.run_id == run, trial.c.number == number, trial.c.finished.is_not(None)
    )
    row = connection.execute(asked).one_or_none()
    if row is None:
        return None
    scored = (
        again.select()
        .where(again.c.run_id == run, again.c.trial == number)
        .order_by(again.c.id.desc())
    )
    last = connection.execute(scored.limit(1)).first()
    return (
        rows.to_trial(row)
        if last is None
        else rows.scored_again(rows.to_trial(row), last)
    )
