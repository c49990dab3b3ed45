"""State of a run: whether it goes on, from its row, its lock and its control commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..text import one_line

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .database import Tables

STATES = ("running", "paused", "dead", "finished")


@dataclass(frozen=True)
class State:
    """Whether a run goes on.

    Attributes:
        word: "running"; "paused", by a command; "dead", where its process ended without a word; or
            "finished".
        why: a finished run ended, as `Result.stop_reason` says it; "forked" is a fork that was
            never resumed.

    >>> str(State("finished", "max_steps")), State("paused").goes_on
    ('finished (max_steps)', True)
    """

    word: str
    why: str = ""

    @property
    def goes_on(self) -> bool:
        """Whether a living process writes the run."""
        return self.word in ("running", "paused")

    def __str__(self) -> str:
        if not self.why:
            return self.word
        return f"{self.word} ({self.why})"

    def refuse_steering(self, name: str) -> None:
        """Raise UsageError where no process would read a control command."""
        if self.word == "dead":
            raise UsageError(
                f"the run {name!r} is dead, its process has ended: resume it first"
            )
        if self.word == "finished":
            why = one_line(self.why, 80)
            raise UsageError(
                f"the run {name!r} has finished ({why}): resume it first, with more steps "
                "where it has done all"
            )


def state_of(
    connection: sa.Connection, tables: Tables, run: Any, *, is_written: bool
) -> State:
    """Return the state of the run of a row, which a living process writes or not."""
    if run.stop_reason is not None:
        return State("finished", run.stop_reason)
    if not is_written:
        never_resumed = run.fork_of is not None and run.session_at is None
        return State("finished", "forked") if never_resumed else State("dead")
    # A pause is of the session in which it was given.
    steer = tables.steer.c
    query = tables.steer.select().where(
        steer.run_id == run.id,
        steer.kind.in_(("pause", "go", "stop")),
        steer.given_at >= (run.session_at or 0.0),
    )
    query = query.order_by(steer.id.desc()).limit(1)
    last = connection.execute(query).first()
    if last is not None and last.kind == "pause":
        return State("paused")
    return State("running")
