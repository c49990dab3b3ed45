"""Rows of a store, and the records that they hold.

Functions only: records become columns, and rows become records. No database is touched here.
"""

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
from ..records import (
    Direction,
    Evaluation,
    Message,
    Plan,
    Proposal,
    Reply,
    Status,
    Trial,
    Usage,
)
from ..text import storable as storable
from .states import State

_MAX_SEED = 2**63 - 1  # the greatest number in a column of whole numbers


@dataclass(frozen=True)
class RunInfo:
    """One run as a list shows it."""

    name: str
    created_at: float  # seconds since the epoch
    stop_reason: str | None  # None: running, or killed
    trials: int  # finished ones
    best_score: float | None
    settings: Mapping[str, Any]
    state: State
    origin: Origin | None = None  # of a fork
    direction: Direction = Direction.MAXIMIZE
    tags: tuple[str, ...] = ()  # the user's own words, sorted
    session_at: float | None = None  # when it was last begun or resumed; None: unknown
    finished_at: float | None = None  # when the last finished trial was
    session_trials: int = 0  # trials that this session has finished
    scorings: int = 0  # of the trials, further scorings not counted
    rescored: bool = False  # whether some were scored again


@dataclass(frozen=True)
class Origin:
    """The run and trial at which a fork begins."""

    run: str
    trial: int  # the last one that the fork has in common with the run


@dataclass(frozen=True)
class Pending:
    """A trial that was planned, and perhaps proposed, but not finished."""

    number: int
    plan: Plan
    proposal: Proposal | None
    # When f has scored it, and something was left to do.
    evaluation: Evaluation | None = None

    def turned(self, direction: Direction) -> Pending:
        """Return it as the other side of the direction knows it."""
        evaluation = self.evaluation
        if evaluation is not None:
            evaluation = direction.evaluation(evaluation)
        return replace(self, plan=direction.plan(self.plan), evaluation=evaluation)


@dataclass(frozen=True)
class Steer:
    """A control command for a run."""

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
    reply: Reply | None  # None: it failed, or the program died before the reply came
    error: str
    sent_at: float  # seconds since the epoch
    cost_usd: float | None = None  # None: unknown, never 0

    @property
    def uncertain(self) -> bool:
        """Whether it may be billed: the program died after it was sent and before a reply came."""
        return self.reply is None and not self.error


# Records to rows.


def from_plan(plan: Plan) -> str:
    """Return a plan as JSON, with the numbers of its trials."""
    parent = None if plan.parent is None else plan.parent.number
    return json.dumps(
        {
            "parent": parent,
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
    columns = _proposal_columns(proposal)
    if proposal.parent is not None:
        columns["parent"] = proposal.parent
    return columns


def _proposal_columns(proposal: Proposal) -> dict[str, Any]:
    if proposal.x is None:
        x, note = None, proposal.problem
    else:
        x, note = json.dumps(proposal.x), proposal.note
    return {
        "x": x,
        "source": proposal.source,
        "usage": json.dumps(asdict(proposal.usage)),
        "decision": json.dumps(dict(proposal.decision)),
        "note": storable(note),
    }


def from_trial(trial: Trial) -> dict[str, Any]:
    """Return the columns that a trial with an evaluation fills.

    Raises UsageError when the trial's seed does not fit into 63 bits.
    """
    return {
        **_proposal_columns(trial.proposal),
        **_evaluation_columns(trial.evaluation),
        "parent": trial.parent,
        "seed": _storable_seed(trial),
        "lesson": storable(trial.lesson),
    }


def _evaluation_columns(evaluation: Evaluation) -> dict[str, Any]:
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
    "instances",
    "output",
    "seconds",
    "stage",
)


def from_verdict(trial: Trial) -> str:
    """Return as JSON the fields of an evaluation that further scorings may change."""
    evaluation = trial.evaluation
    verdict = {name: getattr(evaluation, name) for name in _VERDICT}
    for name in ("metrics", "instances"):
        verdict[name] = dict(verdict[name])
    return storable(json.dumps(verdict))


def _storable_seed(trial: Trial) -> int | None:
    if trial.seed is not None and abs(trial.seed) > _MAX_SEED:
        raise UsageError(
            f"the seed of trial {trial.number} is {trial.seed}: "
            f"it must not exceed {_MAX_SEED}"
        )
    return trial.seed


def score_key(func_version: str, key: str) -> str:
    """Return 32 characters that stand for a version of f and an x."""
    text = json.dumps([func_version, key])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def score_key_of(trial: Trial, func_version: str | None) -> str | None:
    """Return the key under which other runs find a score; None when they must not use it."""
    reusable = (Status.COMPLETE, Status.FAILED, Status.INVALID)
    if func_version is None or trial.x is None or trial.status not in reusable:
        return None
    return score_key(func_version, trial.key)


def next_name(name: str, taken: Collection[str]) -> str:
    """Return the name with the first number that makes it new.

    >>> next_name("amber", ["amber", "amber-2"])
    'amber-3'
    """
    names = (f"{name}-{number}" for number in itertools.count(2))
    return next(new for new in names if new not in taken)


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


def to_info(row: Any, state: State) -> RunInfo:
    """Read a run with its number of trials and its best score."""
    with undamaged(f"the run {row.name!r}"):
        settings = json.loads(row.settings)
        direction = Direction.of_settings(settings)
    best = row.highest
    if direction is Direction.MINIMIZE:
        best = row.lowest
    return RunInfo(
        row.name,
        row.created_at,
        row.stop_reason,
        row.trials,
        best,
        settings,
        state,
        to_origin(row),
        direction,
        to_tags(row),
        row.session_at,
        row.last_at,
        row.session_trials or 0,
        row.scorings or 0,
    )


def to_tags(row: Any) -> tuple[str, ...]:
    """Read the tags of a run."""
    with undamaged(f"the run {row.name!r}"):
        return tuple(json.loads(row.tags or "[]"))


def to_origin(row: Any) -> Origin | None:
    """Read the origin of a fork; None for a run that is not a fork."""
    if row.fork_of is None:
        return None
    return Origin(row.fork_of, row.fork_at)


def to_test_scores(row: Any) -> dict[int, float]:
    """Read the scores on examples that no model has seen, by trial."""
    with undamaged(f"the run {row.name!r}"):
        scores = json.loads(row.test_scores or "{}")
        return {int(number): score for number, score in scores.items()}


def to_open(row: Any) -> Trial:
    """Read a trial that has an x and waits for its score."""
    with undamaged(f"trial {row.number}"):
        return Trial(row.number, _to_proposal(row), Evaluation.open(), row.parent)


def to_pending(row: Any, known: Mapping[int, Trial]) -> Pending:
    """Read a trial that was not finished; `known` holds the finished ones by number."""
    proposal = evaluation = None
    with undamaged(f"trial {row.number}"):
        columns = json.loads(row.plan)
        plan = _to_plan(columns, known)
        if row.x is not None:
            proposal = _to_proposal(row)
            if row.parent != columns["parent"]:  # the proposer chose another one
                proposal = replace(proposal, parent=row.parent)
        if row.status != Status.PENDING:
            evaluation = _to_evaluation(row)
        return Pending(row.number, plan, proposal, evaluation)


def _to_plan(plan: Mapping[str, Any], known: Mapping[int, Trial]) -> Plan:
    parent = None
    if plan["parent"] is not None:
        parent = known[plan["parent"]]
    return Plan(
        parent=parent,
        context=tuple(known[number] for number in plan["context"]),
        failures=tuple(known[number] for number in plan["failures"]),
        transcript=plan["transcript"],
        hint=plan["hint"],
    )


def _to_proposal(row: Any) -> Proposal:
    """Read a proposal: an x, or the problem for which there is none."""
    usage = Usage(**json.loads(row.usage))
    decision = _to_dict(row.decision)
    source = sys.intern(row.source)  # thousands of trials have the same
    if row.x is not None:
        x = json.loads(row.x)
        return Proposal(x, source, usage, decision=decision, note=_note(row))
    problem = row.feedback if _is_of_format_3(row) else row.note
    return Proposal(None, source, usage, problem=problem or "", decision=decision)


def _to_dict(text: str | None) -> dict[str, Any]:
    """Read a JSON object; most trials have an empty one, which needs no parser."""
    if text is None or text == "{}":
        return {}
    return dict(json.loads(text))


def _to_evaluation(row: Any) -> Evaluation:
    scorings = row.scorings
    if scorings is None:  # in formats 1 and 2 there was only one
        scorings = 1
    return Evaluation(
        Status(row.status),
        row.score,
        _feedback(row),
        _to_dict(row.metrics),
        _to_dict(row.instances),
        row.output,
        row.seconds,
        row.stage or "",
        scorings,
        tuple(json.loads(row.scores or "[]")),
        row.standard_error,
    )


BRIEF = ("number", "status", "source", "score", "scorings", "usage", "finished")


def to_brief(row: Any) -> Trial:
    """Read as much of a finished trial as its columns `BRIEF` tell."""
    with undamaged(f"trial {row.number}"):
        scorings = 1 if row.scorings is None else row.scorings
        usage = Usage(**json.loads(row.usage))
        evaluation = Evaluation(Status(row.status), row.score, scorings=scorings)
        proposal = Proposal(None, row.source, usage, problem="not read")
        return Trial(row.number, proposal, evaluation)


def to_trial(row: Any) -> Trial:
    """Read a finished trial."""
    with undamaged(f"trial {row.number}"):
        return Trial(
            row.number,
            _to_proposal(row),
            _to_evaluation(row),
            row.parent,
            row.seed,
            row.lesson or "",
            row.finished_at or 0.0,
        )


# Rows of formats 1 to 3: their feedback is the complete text, which begins with the note on the
# proposal and ends with a summary of several scorings. The note has a column of its own, so it is
# cut off here. The summary stays in the feedback: the scores that it was made of are not known, so
# that the record cannot make it a second time.


def _is_of_format_3(row: Any) -> bool:
    return row.scores is None and row.status != Status.PENDING


def _note(row: Any) -> str:
    note: str = row.note or ""
    if not _is_of_format_3(row):
        return note
    # The feedback of a duplicate was that of the first trial with its x, without the note.
    begins = f"{row.feedback}\n".startswith(f"{note}\n")
    return note if begins else ""


def _feedback(row: Any) -> str:
    feedback: str = row.feedback
    if not _is_of_format_3(row):
        return feedback
    if row.x is None:
        return ""
    return _without_note(feedback, _note(row))


def _without_note(feedback: str, note: str) -> str:
    if not note:
        return feedback
    return feedback.removeprefix(note).removeprefix("\n")


# Further scorings of a finished trial.


def scored_again(trial: Trial, row: Any) -> Trial:
    """Return a finished trial with the result of further scorings of it."""
    verdict = verdict_of(row)
    if "scores" in verdict:
        verdict["scores"] = tuple(verdict["scores"])
    else:
        verdict["feedback"] = _without_note(verdict["feedback"], trial.proposal.note)
    return replace(trial, evaluation=replace(trial.evaluation, **verdict))


def verdict_of(row: Any) -> dict[str, Any]:
    """Read the fields of an evaluation that further scorings changed, by their names."""
    with undamaged(f"trial {row.trial}"):
        verdict: dict[str, Any] = json.loads(row.verdict)
        verdict["status"] = Status(verdict["status"])
        return verdict


# Model calls.


def _read_reply(text: str) -> Reply:
    reply = json.loads(text)
    reply["usage"] = Usage(**reply["usage"])
    return Reply(**reply)


def to_reply(row: Any) -> Reply:
    """Read the reply of a model call that has one."""
    with undamaged(f"a call of trial {row.trial}"):
        return _read_reply(row.reply)


def to_call(row: Any) -> Call:
    """Read a model call."""
    reply = None
    cost_usd = row.cost_usd
    with undamaged(f"call {row.id} of trial {row.trial}"):
        if row.reply is not None:
            reply = _read_reply(row.reply)
            if cost_usd is None:  # format 1 had it in the reply only
                cost_usd = reply.usage.cost_usd
        return Call(
            key=row.id,
            trial=row.trial,
            index=row.call_index,
            model=row.model,
            messages=json.loads(zlib.decompress(row.messages)),
            reply=reply,
            error=row.error or "",
            sent_at=row.sent_at,
            cost_usd=cost_usd,
        )
