"""A trial: what was proposed, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict, Unpack

from ..identity import X, key_of
from ..looks import TrialLooks
from ..text import one_line, show_number
from ._words import Status, Usage

_MAX_WHY_CHARS = 200
_MAX_KEPT_KEY = 1_000  # characters


class _Keyed:
    """Keeps the key of an x besides the fields of its record: it is no fact of its own."""

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
    note: str = ""  # what was mended in the reply; the trial's feedback begins with it
    parent: int | None = field(
        default=None, compare=False
    )  # what x was built on, where that is not the plan's parent

    @property
    def key(self) -> str:
        """`identity.key_of(x)`: what this x shares with others that are the same for f; empty where there is no x.

        It is computed once. A key of more than 1,000 characters is not kept but computed again each time, unless it is
        x itself: a run of thousands of long candidates must not hold each of them twice.
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
            return changed  # nobody asked for it yet
        return changed


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What f said of x: complete with a score, failed without one, or open."""

    status: Status
    score: float | None = (
        None  # higher is better; only a complete one or a duplicate has one; finite
    )
    feedback: str = ""  # what f said, and nothing else
    metrics: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(
        default_factory=dict
    )  # scores per example, by its index
    output: str = ""  # what f printed, clipped: head and tail
    seconds: float = 0.0  # wall clock of all calls of f, one after the other
    stage: str = (
        ""  # which stage x did not pass: a name of the user's, or one of `evaluate`
    )
    scorings: int = 1  # calls of f; of several stages those of the last, or 1 where an earlier one ended it
    scores: tuple[
        float, ...
    ] = ()  # of each scoring that gave one, in order; of a single one it may be left empty
    standard_error: float | None = (
        None  # of the score as a mean of scores; None for a single one
    )
    scored_again: str = ""  # why f was called once more for a scoring: a process of the sandbox died; in `output`, too

    @classmethod
    def open(cls) -> Evaluation:
        """Return the evaluation of a trial that waits for its score: f was not called yet.

        >>> Evaluation.open().status.value, Evaluation.open().scorings
        ('pending', 0)
        """
        return cls(Status.PENDING, scorings=0)

    def reused(self) -> Evaluation:
        """Return this verdict for another trial with the same x, for which f was not called."""
        return replace(self, scorings=0)

    @property
    def failed_scorings(self) -> int:
        """How many scorings gave no score, where the scores of the others are known."""
        return max(0, self.scorings - len(self.scores)) if self.scores else 0

    @property
    def summary(self) -> str:
        """What several scorings came to together, as a sentence; empty for a single one and where there is no score.

        >>> Evaluation(Status.COMPLETE, 0.5, scorings=3, scores=(0.4, 0.6), standard_error=0.1).summary
        'mean of 2 scorings, besides 1 without a score: 0.5 (standard error 0.1)'
        """
        failed = self.failed_scorings
        if self.score is None or len(self.scores) + failed < 2:
            return ""
        besides = f", besides {failed} without a score" if failed else ""
        spread = ""
        if self.standard_error is not None:
            spread = f" (standard error {self.standard_error:.2g})"
        return f"mean of {len(self.scores)} scorings{besides}: {show_number(self.score)}{spread}"


class Facts(TypedDict, total=False):
    """The further facts that `Trial.of` takes; each goes into the record that has a field of its name."""

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
class Trial(TrialLooks):
    """One x and what became of it; `Trial.of` makes one from plain values.

    A trial holds the number of its parent and not its whole plan: a plan holds trials, and these would hold their
    plans, so that the last trial of a run would keep all others, as they were known then, in memory. The store has
    each plan by the numbers of its trials.
    """

    number: int  # from 0, never reused
    proposal: Proposal  # x, and who wrote it
    evaluation: Evaluation  # what f said
    parent: int | None = None  # the trial that it was built on
    seed: int | None = (
        None  # of the random numbers that f was given; it fits into 63 bits
    )
    lesson: str = ""  # what a model concluded from it: why, and what to do instead
    finished_at: float = field(
        default=0.0, compare=False
    )  # seconds since the epoch; 0 while it is not finished

    def __new__(cls, *args: Any, **words: Any) -> Self:
        """Refuse the flat values that a trial was made of before it was composed."""
        flat = len(args) > 1 and not isinstance(args[1], Proposal)
        if flat or not words.keys() <= _FIELDS:
            raise TypeError(
                "a Trial is made of a Proposal and an Evaluation: "
                "write Trial.of(number, x, status, source, score=..., feedback=...) to make one of plain values"
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
            feedback: what f said.
            parent: the trial that x was built on.
            more: any other field of `Proposal`, `Evaluation` or `Trial`.

        Raises TypeError for a word that is no field.

        >>> trial = Trial.of(1, "x = 1", Status.COMPLETE, "model:m", score=0.5, parent=0, seconds=2.0)
        >>> trial.evaluation.seconds, trial.parent
        (2.0, 0)
        """
        facts: dict[str, Any] = dict(more)
        own = {
            name: facts.pop(name)
            for name in ("seed", "lesson", "finished_at")
            if name in facts
        }
        written = {
            name: facts.pop(name)
            for name in ("usage", "decision", "note")
            if name in facts
        }
        problem = feedback if x is None else ""
        proposal = Proposal(x, source, problem=problem, **written)
        said = "" if x is None else feedback
        return cls(
            number, proposal, Evaluation(status, score, said, **facts), parent, **own
        )

    def with_lesson(self, lesson: str, usage: Usage) -> Trial:
        """Return the trial with a lesson, and with what the call for it used besides."""
        proposal = self.proposal.with_usage(self.proposal.usage + usage)
        return replace(self, proposal=proposal, lesson=lesson)

    def facts(self) -> dict[str, Any]:
        """Return all facts of the trial by their names, side by side, as they are exported: its feedback is whole."""
        said = self.evaluation
        more = {"scores": said.scores, "scored_again": said.scored_again}
        return {name: getattr(self, name) for name in _FACTS} | more

    @property
    def feedback(self) -> str:
        """What models and people read: what was mended or why there is no x, what f said, and what its scores came to.

        It is put together of these each time, and never taken apart again.
        """
        proposed = (
            self.proposal.problem if self.proposal.x is None else self.proposal.note
        )
        said = self.evaluation
        return "\n".join(
            part for part in (proposed, said.feedback, said.summary) if part
        )

    @property
    def x(self) -> X | None:
        """The candidate; None when none could be read from the reply."""
        return self.proposal.x

    @property
    def key(self) -> str:
        """What all trials share whose x is the same for f, see `identity.key_of`; empty where there is no x."""
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
        """What a gate decided, and why."""
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
        """Which of several stages x did not pass."""
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
    *(
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
    ),
    *(
        "usage",
        "seed",
        "scorings",
        "standard_error",
        "stage",
        "lesson",
        "decision",
        "finished_at",
    ),
)


def rank(trial: Trial) -> tuple[bool, float, int]:
    """Return a sort key: failures lowest, then by score; of equals the earlier is higher."""
    score = trial.evaluation.score
    return (score is not None, score or 0.0, -trial.number)


@dataclass(frozen=True)
class Plan:
    """What to build the next x on."""

    parent: Trial | None  # None: nothing to build on yet
    context: tuple[Trial, ...] = ()  # others to show, in the order of showing
    failures: tuple[Trial, ...] = ()  # to be remembered in a line each
    transcript: bool = False  # show context and parent as a conversation, oldest first
    hint: str = ""  # one more sentence for the model


def describe_failure(trial: Trial) -> str:
    """Return in one line why a trial has no score.

    >>> from llm_optimize.records import Status
    >>> describe_failure(Trial.of(3, "1/0", Status.FAILED, "x0", feedback="Traceback\\nZeroDivisionError: by zero"))
    'failed: ZeroDivisionError: by zero'
    """
    lines = trial.feedback.strip().splitlines()
    stage = f" at {trial.stage}" if trial.stage else ""
    return one_line(
        f"{trial.status.value}{stage}: {lines[-1] if lines else 'no reason given'}",
        _MAX_WHY_CHARS,
    )
