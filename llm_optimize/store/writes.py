"""Writes to a store: each step of a trial is one row that is added or changed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..records import Message, Plan, Proposal, Reply, Status, Trial
from . import rows


@dataclass(frozen=True, slots=True)
class Write:
    """One row that is added, or changed if `place` is given.

    Args:
        table: its name.
        values: of the columns that are written.
        place: values of the columns that identify the row; empty for a new row.
        wants_key: whether the key that the database makes for a new row is asked for.
    """

    table: str
    values: Mapping[str, Any]
    place: Mapping[str, Any] = field(default_factory=dict)
    wants_key: bool = False


def plan(run: int, number: int, plan: Plan) -> Write:
    """Return the row of a trial that is begun."""
    parent = None if plan.parent is None else plan.parent.number
    values = {
        "run_id": run,
        "number": number,
        "status": Status.PENDING.value,
        "parent": parent,
        "plan": rows.from_plan(plan),
        "created_at": time.time(),
    }
    return Write("trial", values)


def sent(
    run: int,
    trial: int,
    index: int,
    model: str,
    messages: Sequence[Message],
) -> Write:
    """Return the row of a model call that is about to be sent."""
    values = {
        "run_id": run,
        "trial": trial,
        "call_index": index,
        "model": model,
        "messages": rows.from_messages(messages),
        "sent_at": time.time(),
    }
    return Write("call", values, wants_key=True)


def received(call: int, reply: Reply) -> Write:
    """Return the columns that the reply of a call fills."""
    values = {
        "reply": json.dumps(asdict(reply)),
        "cost_usd": reply.usage.cost_usd,
        "received_at": time.time(),
    }
    return Write("call", values, {"id": call})


def call_failed(call: int, error: str) -> Write:
    """Return the columns that a call without a reply fills."""
    values = {"error": rows.storable(error), "received_at": time.time()}
    return Write("call", values, {"id": call})


def propose(run: int, number: int, proposal: Proposal) -> Write:
    """Return the columns that the x of a trial fills."""
    place = {"run_id": run, "number": number}
    return Write("trial", rows.from_proposal(proposal), place)


def judge(run: int, trial: Trial) -> Write:
    """Return the columns that an evaluation fills, of a trial that is not finished yet.

    Raises UsageError when the trial's seed does not fit into 63 bits.
    """
    place = {"run_id": run, "number": trial.number}
    return Write("trial", rows.from_trial(trial), place)


def finish(run: int, func_version: str | None, trial: Trial, order: int) -> Write:
    """Return a finished trial. Raises UsageError when its seed does not fit into 63 bits."""
    values = {
        **rows.from_trial(trial),
        "score_key": rows.score_key_of(trial, func_version),
        "finished": order,
        "finished_at": trial.finished_at or time.time(),
    }
    place = {"run_id": run, "number": trial.number}
    return Write("trial", values, place)


def score_again(run: int, trial: Trial, after: int) -> Write:
    """Return the row of further scorings of a finished trial."""
    values = {
        "run_id": run,
        "trial": trial.number,
        "after": after,
        "verdict": rows.from_verdict(trial),
        "scored_at": time.time(),
    }
    return Write("scored_again", values)


def end(run: int, stop_reason: str | None) -> Write:
    """Return the reason for which a run ended; None begins a session of it."""
    values: dict[str, Any] = {"stop_reason": stop_reason}
    if stop_reason is None:
        values["session_at"] = time.time()
    return Write("run", values, {"id": run})


def change(run: int, settings: Mapping[str, Any]) -> Write:
    """Return the settings with which a run goes on."""
    values = {"settings": json.dumps(settings)}
    return Write("run", values, {"id": run})


def test(run: int, scores: Mapping[int, float]) -> Write:
    """Return the scores on examples that no model has seen."""
    values = {"test_scores": json.dumps(dict(scores))}
    return Write("run", values, {"id": run})
