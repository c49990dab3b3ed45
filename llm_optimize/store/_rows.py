"""Rows of a store, and the records that they hold."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..records import Message, Plan, Proposal, Reply, Status, Trial, Usage


@dataclass(frozen=True)
class RunInfo:
    """One run as a list shows it."""

    name: str
    created_at: float  # seconds since the epoch
    stop_reason: str | None  # None: running, or killed
    trials: int  # finished ones
    best_score: float | None
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Pending:
    """A trial that was planned, and perhaps proposed, but not finished."""

    number: int
    plan: Plan
    proposal: Proposal | None


@dataclass(frozen=True)
class Call:
    """One model call as it was stored."""

    key: int
    trial: int
    index: int  # from 0, within the trial
    model: str
    messages: list[Message]
    reply: Reply | None  # None: on the wire at a kill, or failed
    error: str
    sent_at: float  # seconds since the epoch

    @property
    def uncertain(self) -> bool:
        """Whether nobody knows if it was answered and billed: it was on the wire when the program died."""
        return self.reply is None and not self.error


# Records to rows.


def from_plan(plan: Plan) -> str:
    """Return a plan as JSON; the trials in it by their numbers."""
    return json.dumps(
        {
            "parent": plan.parent.number if plan.parent else None,
            "context": [trial.number for trial in plan.context],
            "failures": [trial.number for trial in plan.failures],
            "transcript": plan.transcript,
            "hint": plan.hint,
        }
    )


def from_messages(messages: Sequence[Message]) -> bytes:
    """Return the messages of a request as compressed JSON: prompts repeat much of each other."""
    return zlib.compress(json.dumps(list(messages)).encode(), 1)


def from_proposal(proposal: Proposal) -> dict[str, Any]:
    """Return the columns that a proposal fills."""
    return {
        "x": None if proposal.x is None else json.dumps(proposal.x),
        "source": proposal.source,
        "usage": json.dumps(asdict(proposal.usage)),
    }


def from_trial(trial: Trial) -> dict[str, Any]:
    """Return the columns that a finished trial fills."""
    return {
        **from_proposal(Proposal(trial.x, trial.source, trial.usage)),
        "status": trial.status.value,
        "score": trial.score,
        "feedback": storable(trial.feedback),
        "metrics": json.dumps(dict(trial.metrics)),
        "instances": json.dumps(dict(trial.instances)),
        "output": storable(trial.output),
        "seconds": trial.seconds,
    }


def storable(text: str) -> str:
    """Replace what UTF-8 cannot hold (lone surrogates), which a hostile output may contain."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# Rows to records.


def to_plan(text: str, known: Mapping[int, Trial]) -> Plan:
    """Read a plan; `known` holds the finished trials by number."""
    plan = json.loads(text)
    return Plan(
        parent=None if plan["parent"] is None else known[plan["parent"]],
        context=tuple(known[number] for number in plan["context"]),
        failures=tuple(known[number] for number in plan["failures"]),
        transcript=plan["transcript"],
        hint=plan["hint"],
    )


def to_proposal(row: Any) -> Proposal | None:
    """Read the proposal of a trial that was not scored; None when it was not even proposed."""
    return None if row.x is None else Proposal(json.loads(row.x), row.source, Usage(**json.loads(row.usage)))


def to_trial(row: Any) -> Trial:
    """Read a finished trial."""
    return Trial(
        number=row.number,
        x=None if row.x is None else json.loads(row.x),
        status=Status(row.status),
        source=row.source,
        score=row.score,
        feedback=row.feedback,
        parent=row.parent,
        metrics=json.loads(row.metrics),
        instances=json.loads(row.instances),
        output=row.output,
        seconds=row.seconds,
        usage=Usage(**json.loads(row.usage)),
    )


def to_call(row: Any) -> Call:
    """Read a model call."""
    reply = json.loads(row.reply) if row.reply else None
    return Call(
        key=row.id,
        trial=row.trial,
        index=row.call_index,
        model=row.model,
        messages=json.loads(zlib.decompress(row.messages)),
        reply=Reply(**{**reply, "usage": Usage(**reply["usage"])}) if reply else None,
        error=row.error or "",
        sent_at=row.sent_at,
    )
