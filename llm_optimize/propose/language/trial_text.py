"""How an x, its score and its feedback look in a prompt."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...records import Plan, Task, Trial, X, describe_failure, rank
from ...text import clip, is_parts, lines_of, show_number, show_x
from .fences import fence
from .parts import show_parts
from .protected import has_protected
from .templates import DATA, EDITS, FIRST_PROMPT, PARAMETERS, PARTS, PROTECTED, fill

LONG_LINES = 200  # an x of more lines may be edited
_DIGITS = (
    6  # at least, so that a new neighbour seldom changes how an old score is written
)
_MAX_FEEDBACK_CHARS = 4_000  # of the parent
_MAX_OTHER_FEEDBACK_CHARS = 600
_WORTH_REFERRING = 400  # characters of an x that is not shown twice
_FENCE = re.compile(r"^(```|~~~)", re.M)
_X_ALONE = re.compile(r"^\{x\}[ \t]*$", re.M)


@dataclass(frozen=True)
class Known:
    """What is known of a run beyond a plan."""

    lessons: tuple[Trial, ...] = ()  # to show, in this order
    changes: Mapping[int, str] = field(
        default_factory=dict
    )  # by trial number: what it changed, in one line
    tried: tuple[Trial, ...] = ()  # configurations of parameters to list, in this order


@dataclass(frozen=True)
class Request:
    """What a prompt is made of."""

    task: Task
    plan: Plan
    parameters: str  # what is said of them; empty where x is something else
    known: Known

    @property
    def parent(self) -> Trial | None:
        """The trial to build on."""
        return self.plan.parent

    def shown(self, x: X) -> str:
        """Return x so that it can be read back to the letter."""
        if isinstance(x, str):
            return fence(x)
        if is_parts(x) and not self.parameters:
            return show_parts(x)
        return fence(json.dumps(x, default=repr), "json")


def is_long(x: X | None) -> bool:
    """Return whether x is a text so long that a model may answer with edits of it."""
    return isinstance(x, str) and len(lines_of(x)) > LONG_LINES


def answer_format(request: Request) -> str:
    """Return how to answer where x is not one text that may change everywhere; the same for a whole run."""
    if request.parameters:
        return fill(PARAMETERS, parameters=request.parameters)
    x = request.parent.x if request.parent else None
    if isinstance(x, dict) and not is_parts(x):
        return DATA
    texts = list(x.values()) if isinstance(x, dict) else [x or ""]
    return "\n\n".join(
        filter(
            None,
            [
                PARTS if isinstance(x, dict) else "",
                PROTECTED if any(map(has_protected, texts)) else "",
            ],
        )
    )


def edits_format(request: Request) -> str:
    """Return that x may be edited, where it is long."""
    return (
        EDITS
        if request.parent and not request.parameters and is_long(request.parent.x)
        else ""
    )


def other(request: Request, trial: Trial, shown: Iterable[Trial]) -> str:
    """Return a trial that is worth knowing."""
    x = request.shown("" if trial.x is None else trial.x)
    return (
        f"Trial {trial.number}:\n{x}\n{_said(trial, shown, _MAX_OTHER_FEEDBACK_CHARS)}"
    )


def configuration(trial: Trial) -> str:
    """Return a trial as one line of JSON: its parameters, and its score or why it has none."""
    said = (
        {"failed": describe_failure(trial)}
        if trial.score is None
        else {"score": trial.score}
    )
    return json.dumps(
        {"trial": trial.number, "x": trial.x, **said},
        separators=(",", ":"),
        default=repr,
    )


def may_refer(request: Request, trial: Trial) -> bool:
    """Return whether the question may say where x stands instead of repeating it: x is long, and has its own line."""
    human_prompt = request.task.human_prompt
    alone = _X_ALONE.search(human_prompt) and not _FENCE.search(human_prompt)
    return (
        bool(alone)
        and len(request.shown("" if trial.x is None else trial.x)) > _WORTH_REFERRING
    )


def question(
    request: Request,
    trial: Trial,
    shown: Sequence[Trial],
    above: str = "",
    told: bool = False,
) -> str:
    """Return the question that asks for a better x than a trial's.

    Args:
        request: what the prompt is made of.
        trial: whose x is to be improved.
        shown: what it is compared with.
        above: says where its x stands already; empty puts x here.
        told: whether its feedback stands above as well, as far as it is short.
    """
    task = request.task
    max_chars = (
        0
        if told and len(trial.feedback) <= _MAX_OTHER_FEEDBACK_CHARS
        else _MAX_FEEDBACK_CHARS
    )
    listed = not request.plan.transcript and any(
        one.number == trial.number for one in request.known.lessons
    )
    lesson = f"Lesson: {trial.lesson}" if trial.lesson and not listed else ""
    fx = "\n".join(
        filter(None, [_said(trial, shown, max_chars), lesson, _standing(trial, shown)])
    )
    words = {"task_description": task.description, "task_question": task.question}
    return fill(task.human_prompt, **words, x=above or _own_x(request, trial), fx=fx)


def first_question(request: Request) -> str:
    """Return the question that asks for the first x of all."""
    return fill(
        FIRST_PROMPT,
        task_description=request.task.description,
        task_question=request.task.question,
    )


def _own_x(request: Request, trial: Trial) -> str:
    """Return x fenced, or bare where the prompt puts a fence around it itself."""
    x = "" if trial.x is None else trial.x
    return show_x(x) if _FENCE.search(request.task.human_prompt) else request.shown(x)


def _said(trial: Trial, shown: Iterable[Trial], max_chars: int) -> str:
    """Return the score, with digits enough to tell it from the others shown, and what f said."""
    feedback = clip(trial.feedback, max_chars)
    if trial.score is None:
        return f"no score ({trial.status.value})\n{feedback}".rstrip()
    scores = [other.score for other in shown if other.score is not None]
    return f"score {show_number(trial.score, scores, _DIGITS)}\n{feedback}".rstrip()


def _standing(trial: Trial, shown: Iterable[Trial]) -> str:
    """Return how a trial compares with the best that is shown."""
    scored = [other for other in shown if other.scored]
    if trial.score is None or len({other.number for other in scored}) < 2:
        return ""
    best = max(scored, key=rank)
    if best.number == trial.number:
        return "It is the best so far."
    return f"Trial {best.number} is better by {show_number((best.score or 0.0) - trial.score)}."
