"""Rows of a store, and the records that they hold."""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..errors import StoreError, UsageError
from ..records import Evaluation, Message, Plan, Proposal, Reply, Status, Trial, Usage
from ..text import storable as storable

_MAX_SEED = 2**63 - 1  # what a column of whole numbers holds


@dataclass(frozen=True)
class RunInfo:
    """One run as a list shows it."""

    name: str
    created_at: float  # seconds since the epoch
    stop_reason: str | None  # None: running, or killed
    trials: int  # finished ones
    best_score: float | None
    settings: Mapping[str, Any]
    origin: Origin | None = None  # of a fork


@dataclass(frozen=True)
class Origin:
    """Where the first trials of a fork come from."""

    run: str
    trial: int  # the last of them


@dataclass(frozen=True)
class Pending:
    """A trial that was planned, and perhaps proposed, but not finished."""

    number: int
    plan: Plan
    proposal: Proposal | None
    evaluation: Evaluation | None = (
        None  # when f has scored it, and there was more to do
    )


@dataclass(frozen=True)
class Steer:
    """What somebody who watches a run wants of it."""

    key: int  # grows with time
    kind: str  # stop | pause | go | hint
    text: str  # of a hint: a sentence for the model
    given_at: float  # seconds since the epoch


STEERS = ("stop", "pause", "go", "hint")


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
    cost_usd: float | None = None  # None: unknown, never 0

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
    other_parent = {} if proposal.parent is None else {"parent": proposal.parent}
    return {**other_parent, **_written(proposal)}


def _written(proposal: Proposal) -> dict[str, Any]:
    said = proposal.problem if proposal.x is None else proposal.note
    return {
        "x": None if proposal.x is None else json.dumps(proposal.x),
        "source": proposal.source,
        "usage": json.dumps(asdict(proposal.usage)),
        "decision": json.dumps(dict(proposal.decision)),
        "note": storable(said),
    }


def from_trial(trial: Trial) -> dict[str, Any]:
    """Return the columns that a trial with an evaluation fills."""
    return {
        **_written(trial.proposal),
        **_from_evaluation(trial.evaluation),
        "parent": trial.parent,
        "seed": _storable_seed(trial),
        "lesson": storable(trial.lesson),
    }


def _from_evaluation(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "status": evaluation.status.value,
        "score": evaluation.score,
        "feedback": storable(evaluation.feedback),
        "metrics": json.dumps(dict(evaluation.metrics)),
        "instances": json.dumps(dict(evaluation.instances)),
        "output": storable(evaluation.output),
        "seconds": evaluation.seconds,
        "stage": evaluation.stage,
        "scorings": evaluation.scorings,
        "scores": json.dumps(evaluation.scores),
        "standard_error": evaluation.standard_error,
    }


_VERDICT = (
    "status",
    "score",
    "standard_error",
    "scorings",
    "scores",
    "feedback",
    "metrics",
    "seconds",
    "stage",
)


def from_verdict(trial: Trial) -> str:
    """Return as JSON what further scorings may change of a trial."""
    return storable(
        json.dumps({name: getattr(trial.evaluation, name) for name in _VERDICT})
    )


def _storable_seed(trial: Trial) -> int | None:
    if trial.seed is not None and abs(trial.seed) > _MAX_SEED:
        raise UsageError(
            f"the seed of trial {trial.number} is {trial.seed}: it must not exceed {_MAX_SEED}"
        )
    return trial.seed


def score_key(func_version: str, key: str) -> str:
    """Return 32 characters that stand for a version of f and an x."""
    text = json.dumps([func_version, key])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def score_key_of(trial: Trial, func_version: str | None) -> str | None:
    """Return under what the verdict of f is found again; None when nobody may rely on it."""
    reusable = (Status.COMPLETE, Status.FAILED, Status.INVALID)
    if func_version is None or trial.x is None or trial.status not in reusable:
        return None
    return score_key(func_version, trial.key)


def next_name(name: str, taken: Collection[str]) -> str:
    """Return the name with the first number that makes it new.

    >>> next_name("amber", ["amber", "amber-2"])
    'amber-3'
    """
    return next(
        new for number in itertools.count(2) if (new := f"{name}-{number}") not in taken
    )


# Rows to records.


@contextmanager
def undamaged(what: str) -> Iterator[None]:
    """Raise StoreError when a row does not hold what was written into it."""
    try:
        yield
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise StoreError(
            f"{what} is damaged in the store ({error!r}): restore the store from a copy"
        ) from error


def to_info(row: Any) -> RunInfo:
    """Read a run with its number of trials and its best score."""
    with undamaged(f"the run {row.name!r}"):
        settings = json.loads(row.settings)
    return RunInfo(
        row.name,
        row.created_at,
        row.stop_reason,
        row.trials,
        row.best,
        settings,
        to_origin(row),
    )


def to_origin(row: Any) -> Origin | None:
    """Read where a run comes from; None when it is no fork."""
    return None if row.fork_of is None else Origin(row.fork_of, row.fork_at)


def to_test_scores(row: Any) -> dict[int, float]:
    """Read the scores on examples that no model has seen, by trial."""
    with undamaged(f"the run {row.name!r}"):
        return {
            int(number): score
            for number, score in json.loads(row.test_scores or "{}").items()
        }


def to_pending(row: Any, known: Mapping[int, Trial]) -> Pending:
    """Read a trial that was not finished; `known` holds the finished ones by number."""
    with undamaged(f"trial {row.number}"):
        plan, proposal = (
            _to_plan(row.plan, known),
            None if row.x is None else _to_proposal(row),
        )
        evaluation = None if row.status == Status.PENDING else _to_evaluation(row)
    return Pending(row.number, plan, proposal, evaluation)


def _to_plan(text: str, known: Mapping[int, Trial]) -> Plan:
    plan = json.loads(text)
    return Plan(
        parent=None if plan["parent"] is None else known[plan["parent"]],
        context=tuple(known[number] for number in plan["context"]),
        failures=tuple(known[number] for number in plan["failures"]),
        transcript=plan["transcript"],
        hint=plan["hint"],
    )


def _to_proposal(row: Any) -> Proposal:
    """Read the proposal of a trial that was not finished; its parent is there where it is not that of the plan."""
    parent = None if row.parent == json.loads(row.plan)["parent"] else row.parent
    return replace(_to_written(row), parent=parent)


def _to_written(row: Any) -> Proposal:
    """Read who wrote which x, or why there is none."""
    usage, decision = Usage(**json.loads(row.usage)), _named(row.decision)
    source = sys.intern(row.source)  # thousands of trials have the same
    if row.x is not None:
        return Proposal(
            json.loads(row.x), source, usage, decision=decision, note=_note(row)
        )
    problem = row.feedback if _is_of_format_3(row) else row.note
    return Proposal(None, source, usage, problem=problem or "", decision=decision)


def _named(text: str | None) -> dict[str, Any]:
    """Read named values; most trials have none, which is seen without a parser."""
    return {} if text in (None, "{}") else dict(json.loads(str(text)))


def _to_evaluation(row: Any) -> Evaluation:
    """Read what f said of x."""
    return Evaluation(
        Status(row.status),
        row.score,
        _feedback(row),
        _named(row.metrics),
        _named(row.instances),
        row.output,
        row.seconds,
        row.stage or "",
        1 if row.scorings is None else row.scorings,  # formats 1 and 2 had only one
        tuple(json.loads(row.scores or "[]")),
        row.standard_error,
    )


def to_trial(row: Any) -> Trial:
    """Read a finished trial."""
    with undamaged(f"trial {row.number}"):
        return Trial(
            row.number,
            _to_written(row),
            _to_evaluation(row),
            row.parent,
            row.seed,
            row.lesson or "",
            row.finished_at or 0.0,
        )


# Rows of formats 1 to 3: their feedback is the complete text, which begins with the note on the proposal, and ends with
# what several scorings came to. The note is told from the rest, since it is known; the summary stays where it is, since
# the scores that it was made of are not known, so that the record does not make it a second time.


def _is_of_format_3(row: Any) -> bool:
    return row.scores is None and row.status != Status.PENDING


def _note(row: Any) -> str:
    note: str = row.note or ""
    begins = not _is_of_format_3(row) or f"{row.feedback}\n".startswith(f"{note}\n")
    return note if begins else ""  # a duplicate's feedback was without it


def _feedback(row: Any) -> str:
    feedback: str = row.feedback
    if not _is_of_format_3(row):
        return feedback
    return "" if row.x is None else _without_note(feedback, _note(row))


def _without_note(feedback: str, note: str) -> str:
    return feedback.removeprefix(note).removeprefix("\n") if note else feedback


# What further scorings came to.


def scored_again(trial: Trial, row: Any) -> Trial:
    """Return a finished trial with what further scorings of it came to."""
    verdict = verdict_of(row)
    if "scores" in verdict:
        verdict["scores"] = tuple(verdict["scores"])
    else:
        verdict["feedback"] = _without_note(verdict["feedback"], trial.proposal.note)
    return replace(trial, evaluation=replace(trial.evaluation, **verdict))


def verdict_of(row: Any) -> dict[str, Any]:
    """Read what further scorings changed of an evaluation, by the names of its fields."""
    with undamaged(f"trial {row.trial}"):
        verdict = json.loads(row.verdict)
        return {**verdict, "status": Status(verdict["status"])}


def _read_reply(text: str) -> Reply:
    reply = json.loads(text)
    return Reply(**{**reply, "usage": Usage(**reply["usage"])})


def to_reply(row: Any) -> Reply:
    """Read the reply of a model call that has one."""
    with undamaged(f"a call of trial {row.trial}"):
        return _read_reply(row.reply)


def to_call(row: Any) -> Call:
    """Read a model call."""
    with undamaged(f"call {row.id} of trial {row.trial}"):
        reply = None if row.reply is None else _read_reply(row.reply)
        usage = Usage() if reply is None else reply.usage
        return Call(
            key=row.id,
            trial=row.trial,
            index=row.call_index,
            model=row.model,
            messages=json.loads(zlib.decompress(row.messages)),
            reply=reply,
            error=row.error or "",
            sent_at=row.sent_at,
            cost_usd=usage.cost_usd
            if row.cost_usd is None
            else row.cost_usd,  # format 1 had it in the reply only
        )
