"""Trial: one candidate, from its proposal to its evaluation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict, Unpack

from ..identity import X, key_of
from ..text import one_line, show_number
from .display import renderer
from .values import Status, Usage

KNOWN = "known"  # source of a trial whose score the user had before the run
_EXCEPTION = re.compile(r"\w*(Error|Exception|Group|Interrupt|Exit|Warning)\b")
_MAX_WHY_CHARS = 200
_MAX_KEPT_KEY = 1_000  # characters


class _Keyed:
    """A slot for the key of x. It is not a dataclass field: not compared, shown or stored."""

    __slots__ = ("_key",)
    _key: str


@dataclass(frozen=True, slots=True)
class Proposal(_Keyed):
    """The next x, or why there is none."""

    x: X | None
    source: str
    usage: Usage = field(default_factory=Usage)
    problem: str = ""  # why there is no x; empty when there is one
    decision: Mapping[str, Any] = field(default_factory=dict)  # of a gate
    # What was repaired in the reply; the trial's feedback begins with it.
    note: str = ""
    # The trial that x was built on, where that is not the plan's parent.
    parent: int | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """`identity.key_of(x)`, equal for all x that are the same for f; empty where there is no x.

        It is computed once. A key of more than 1,000 characters is not kept but computed again
        each time, unless it is x itself: a run of thousands of long candidates must not hold each
        of them twice.
        """
        try:
            known = self._key
        except AttributeError:
            known = "" if self.x is None else key_of(self.x)
            if known is self.x or len(known) <= _MAX_KEPT_KEY:
                object.__setattr__(self, "_key", known)
        return known

    def with_usage(self, usage: Usage) -> Proposal:
        """Return the same x with another usage; its key is not computed again."""
        return self._keeping_key(replace(self, usage=usage))

    def with_note(self, note: str) -> Proposal:
        """Return the same x with another note; its key is not computed again."""
        return self._keeping_key(replace(self, note=note))

    def with_decision(self, decision: Mapping[str, Any]) -> Proposal:
        """Return the same x with what a gate decided; its key is not computed again."""
        return self._keeping_key(replace(self, decision=decision))

    def _keeping_key(self, changed: Proposal) -> Proposal:
        try:
            object.__setattr__(changed, "_key", self._key)
        except AttributeError:
            return changed  # the key was not computed yet
        return changed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What became of an x when f was called: a score, a failure, or nothing yet."""

    status: Status
    # Higher is better; finite. Only a complete trial or a duplicate has one.
    score: float | None = None
    feedback: str = ""  # of f, and nothing else
    metrics: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(default_factory=dict)  # score by example
    output: str = ""  # what f printed, clipped: head and tail
    seconds: float = 0.0  # wall clock of all calls of f, one after the other
    stage: str = ""  # that x did not pass: a name of the user's, or one of `evaluate`
    # Calls of f; of several stages those of the last, or 1 where an earlier one ended it.
    scorings: int = 1
    # Of each scoring that gave one, in order; may be left empty for a single scoring.
    scores: tuple[float, ...] = ()
    # Of the score as a mean of scores; None for a single one.
    standard_error: float | None = None
    # Why a scoring was repeated: a process of the sandbox died. It is part of `output`, too.
    scored_again: str = ""
    # Why f itself is broken, whatever x is, and how to mend it; empty where x may be to blame. It
    # is for the session in which f was called, and not stored.
    fault: str = field(default="", compare=False)

    @classmethod
    def open(cls) -> Evaluation:
        """Return the evaluation of a trial that waits for its score: f was not called yet.

        >>> Evaluation.open().status.value, Evaluation.open().scorings
        ('pending', 0)
        """
        return cls(Status.PENDING, scorings=0)

    def reused(self) -> Evaluation:
        """Return this evaluation for another trial with the same x: f was not called again."""
        return replace(self, scorings=0)

    @property
    def failed_scorings(self) -> int:
        """How many scorings gave no score, where the scores of the others are known."""
        if not self.scores:
            return 0
        return max(0, self.scorings - len(self.scores))

    @property
    def summary(self) -> str:
        """The mean of several scorings as a sentence; empty for a single one or without a score.

        >>> Evaluation(Status.COMPLETE, 0.5, scorings=3, scores=(0.4, 0.6)).summary
        'mean of 2 scorings, besides 1 without a score: 0.5'
        """
        failed = self.failed_scorings
        if self.score is None or len(self.scores) + failed < 2:
            return ""
        sentence = f"mean of {len(self.scores)} scorings"
        if failed:
            sentence += f", besides {failed} without a score"
        sentence += f": {show_number(self.score)}"
        if self.standard_error is not None:
            sentence += f" (standard error {self.standard_error:.2g})"
        return sentence


class Facts(TypedDict, total=False):
    """Further keyword arguments of `Trial.of`: each is a field of one of the three records."""

    metrics: Mapping[str, float]
    instances: Mapping[str, float]
    output: str
    seconds: float
    usage: Usage
    seed: int | None
    scorings: int
    scores: tuple[float, ...]
    standard_error: float | None
    stage: str
    lesson: str
    decision: Mapping[str, Any]
    note: str
    finished_at: float


@dataclass(frozen=True, slots=True)
class Trial:
    """One x and what became of it; `Trial.of` makes one from plain values.

    A trial holds the number of its parent, not its plan: a plan holds trials and these would hold
    their plans, so that the last trial of a run would keep all others alive. The store has each
    plan by the numbers of its trials.
    """

    number: int  # from 0, never reused
    proposal: Proposal  # x, and who wrote it
    evaluation: Evaluation  # what f returned for it
    parent: int | None = None  # the trial that it was built on
    seed: int | None = None  # of f's random numbers; fits into 63 bits
    lesson: str = ""  # what a model concluded from it: why, and what to do instead
    # Seconds since the epoch; 0 while it is not finished.
    finished_at: float = field(default=0.0, compare=False)

    def __new__(cls, *args: Any, **words: Any) -> Self:
        """Refuse the flat arguments that a trial had before it was made of records."""
        flat = len(args) > 1 and not isinstance(args[1], Proposal)
        if flat or not words.keys() <= _FIELDS:
            raise TypeError(
                "a Trial is made of a Proposal and an Evaluation: write "
                "Trial.of(number, x, status, source, score=..., feedback=...) "
                "to make one of plain values"
            )
        return object.__new__(cls)

    @classmethod
    def of(
        cls,
        number: int,
        x: X | None,
        status: Status,
        source: str,
        score: float | None = None,
        feedback: str = "",
        parent: int | None = None,
        **more: Unpack[Facts],
    ) -> Trial:
        """Return a trial made of plain values, for tests and plug-ins.

        Args:
            number: of the trial, from 0.
            x: the candidate; None where there is none, and then `feedback` says why.
            status: what became of it.
            source: who wrote x.
            score: higher is better.
            feedback: of f.
            parent: the trial that x was built on.
            more: any other field of `Proposal`, `Evaluation` or `Trial`.

        Raises TypeError for a word that is not a field.

        >>> trial = Trial.of(1, "x = 1", Status.COMPLETE, "model:m", score=0.5, seconds=2.0)
        >>> trial.evaluation.seconds, trial.proposal.source
        (2.0, 'model:m')
        """
        facts: dict[str, Any] = dict(more)
        of_trial = _take(facts, ("seed", "lesson", "finished_at"))
        of_proposal = _take(facts, ("usage", "decision", "note"))
        if x is None:
            proposal = Proposal(x, source, problem=feedback, **of_proposal)
            evaluation = Evaluation(status, score, **facts)
        else:
            proposal = Proposal(x, source, **of_proposal)
            evaluation = Evaluation(status, score, feedback, **facts)
        return cls(number, proposal, evaluation, parent, **of_trial)

    def with_lesson(self, lesson: str, usage: Usage) -> Trial:
        """Return the trial with a lesson, and the usage of the call that wrote it added."""
        proposal = self.proposal.with_usage(self.proposal.usage + usage)
        return replace(self, proposal=proposal, lesson=lesson)

    def facts(self) -> dict[str, Any]:
        """Return all facts of the trial by name, as they are exported; its feedback is whole."""
        facts = {name: getattr(self, name) for name in _FACTS}
        facts["scores"] = self.evaluation.scores
        facts["scored_again"] = self.evaluation.scored_again
        return facts

    def _repr_html_(self) -> str:
        return renderer().trial_html(self)

    @property
    def feedback(self) -> str:
        """What models and people read about the trial.

        First what was repaired in the reply, or why there is no x; then the feedback of f; then
        the mean of several scorings. It is put together of these parts each time.
        """
        proposal, evaluation = self.proposal, self.evaluation
        first = proposal.problem if proposal.x is None else proposal.note
        parts = (first, evaluation.feedback, evaluation.summary)
        return "\n".join(part for part in parts if part)

    @property
    def x(self) -> X | None:
        """The candidate; None when none could be read from the reply."""
        return self.proposal.x

    @property
    def key(self) -> str:
        """Equal for all x that are the same for f, see `identity.key_of`; empty without an x."""
        return self.proposal.key

    @property
    def source(self) -> str:
        """Who wrote x: x0, user, model:NAME, mutation, ..."""
        return self.proposal.source

    @property
    def usage(self) -> Usage:
        """What the model calls for this trial used."""
        return self.proposal.usage

    @property
    def decision(self) -> Mapping[str, Any]:
        """What a gate decided, and why; empty without a gate."""
        return self.proposal.decision

    @property
    def status(self) -> Status:
        """What became of it."""
        return self.evaluation.status

    @property
    def score(self) -> float | None:
        """Higher is better; only a complete trial or a duplicate has one; finite."""
        return self.evaluation.score

    @property
    def scored(self) -> bool:
        """Whether it can be compared with others."""
        return self.evaluation.score is not None

    @property
    def metrics(self) -> Mapping[str, float]:
        """Further named numbers of f."""
        return self.evaluation.metrics

    @property
    def instances(self) -> Mapping[str, float]:
        """Scores per example."""
        return self.evaluation.instances

    @property
    def output(self) -> str:
        """What f printed, clipped: head and tail."""
        return self.evaluation.output

    @property
    def seconds(self) -> float:
        """Wall clock of f(x)."""
        return self.evaluation.seconds

    @property
    def stage(self) -> str:
        """The stage, of several, that x did not pass."""
        return self.evaluation.stage

    @property
    def scorings(self) -> int:
        """Calls of f for this x; the score is their mean."""
        return self.evaluation.scorings

    @property
    def standard_error(self) -> float | None:
        """Of the mean; None for a single scoring."""
        return self.evaluation.standard_error


_FIELDS = frozenset(one.name for one in fields(Trial))
_FACTS = (
    "number",
    "x",
    "status",
    "source",
    "score",
    "feedback",
    "parent",
    "metrics",
    "instances",
    "output",
    "seconds",
    "usage",
    "seed",
    "scorings",
    "standard_error",
    "stage",
    "lesson",
    "decision",
    "finished_at",
)


def _take(facts: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Remove these names from the facts, where they are, and return them."""
    return {name: facts.pop(name) for name in names if name in facts}


def rank(trial: Trial) -> tuple[bool, float, int]:
    """Return a sort key: failures lowest, then by score; of equals the earlier is higher."""
    score = trial.evaluation.score
    return (score is not None, score or 0.0, -trial.number)


@dataclass(frozen=True)
class Plan:
    """What to build the next x on."""

    parent: Trial | None  # None: nothing to build on yet
    context: tuple[Trial, ...] = ()  # others to show, in the order of showing
    failures: tuple[Trial, ...] = ()  # to show in a line each
    transcript: bool = False  # show context and parent as a conversation, oldest first
    hint: str = ""  # one more sentence for the model

    @property
    def parent_number(self) -> int | None:
        """The number of the parent; None where there is none."""
        if self.parent is None:
            return None
        return self.parent.number


def describe_failure(trial: Trial) -> str:
    """Return in one line why a trial has no score.

    >>> from llm_optimize.records import Status
    >>> feedback = "Traceback\\nZeroDivisionError: by zero"
    >>> describe_failure(Trial.of(3, "1/0", Status.FAILED, "x0", feedback=feedback))
    'failed: ZeroDivisionError: by zero'
    """
    reason, more = _reason(trial.feedback.strip().splitlines())
    stage = f" at {trial.stage}" if trial.stage else ""
    found = one_line(f"{trial.status.value}{stage}: {reason}", _MAX_WHY_CHARS)
    return f"{found} (+{more} lines)" if more else found


def _reason(lines: Sequence[str]) -> tuple[str, int]:
    """Return the line of a feedback that says what went wrong, and how many of it follow.

    Of an exception it is the first line of its message; of any other text the last line.
    """
    if not lines:
        return "no reason given", 0
    first = 0
    if lines[0].startswith("Traceback (most recent call last)"):
        first = 1
        while first < len(lines) - 1 and lines[first].startswith("  "):
            first += 1
    elif not _EXCEPTION.match(lines[0]):
        return lines[-1], 0
    return lines[first], len(lines) - first - 1
