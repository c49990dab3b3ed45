"""Text of one trial in a prompt: its x, its score and its feedback, and the question about it.

Pure functions of a `Request`; how trials are put together stands in `sections.py` and
`conversation.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ...records import Direction, Plan, Status, Task, Trial, X, describe_failure
from ...text import clip, is_parts, lines_of, show_number, show_x
from .fences import fence
from .parts import show_parts
from .protected import has_protected
from .templates import DATA, EDITS, FIRST_PROMPT, PARAMETERS, PARTS, PROTECTED, fill

LONG_LINES = 200  # an x of more lines may be edited
# At least, so that a new neighbor seldom changes how an old score is written.
_DIGITS = 6
_MAX_FEEDBACK_CHARS = 4_000  # of the parent
_MAX_OTHER_FEEDBACK_CHARS = 600
_WORTH_REFERRING = 400  # characters of an x that is not shown twice
_FENCE = re.compile(r"^(```|~~~)", re.M)
_X_ALONE = re.compile(r"^\{x\}[ \t]*$", re.M)


@dataclass(frozen=True)
class Known:
    """What is known of a run beyond a plan."""

    lessons: tuple[Trial, ...] = ()  # to show, in this order
    # In one line, by trial number.
    changes: Mapping[int, str] = field(default_factory=dict)
    tried: tuple[Trial, ...] = ()  # configurations of parameters to list, in this order

    def turned(self, direction: Direction) -> Known:
        """Return it as the other side of the direction knows it."""
        lessons, tried = direction.trials(self.lessons), direction.trials(self.tried)
        return Known(lessons, self.changes, tried)


@dataclass(frozen=True)
class Request:
    """What a prompt is made of; scores are those of f."""

    task: Task
    plan: Plan
    parameters: str  # their description; empty where x is something else
    known: Known
    direction: Direction = Direction.MAXIMIZE

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
    """Return how to answer where x is not one text that may change everywhere.

    It is the same for a whole run.
    """
    if request.parameters:
        return fill(PARAMETERS, parameters=request.parameters)
    x = request.parent.x if request.parent else None
    if isinstance(x, dict) and not is_parts(x):
        return DATA
    texts = list(x.values()) if isinstance(x, dict) else [x or ""]
    rules: list[str] = []
    if isinstance(x, dict):
        rules.append(PARTS)
    if any(map(has_protected, texts)):
        rules.append(PROTECTED)
    return "\n\n".join(rules)


def edits_format(request: Request) -> str:
    """Return that x may be edited, where it is long."""
    if request.parent is None or request.parameters or not is_long(request.parent.x):
        return ""
    return EDITS


def other(request: Request, trial: Trial, shown: Iterable[Trial]) -> str:
    """Return a trial that is worth knowing."""
    x = request.shown("" if trial.x is None else trial.x)
    return f"Trial {trial.number}:\n{x}\n{_result(trial, shown, _MAX_OTHER_FEEDBACK_CHARS)}"


def configuration(trial: Trial) -> str:
    """Return a trial as one line of JSON: its parameters, and its score or why it has none."""
    facts: dict[str, object] = {"trial": trial.number, "x": trial.x}
    if trial.score is None:
        facts["failed"] = describe_failure(trial)
    else:
        facts["score"] = trial.score
    return json.dumps(facts, separators=(",", ":"), default=repr)


def may_refer(request: Request, trial: Trial) -> bool:
    """Return whether the question may say where x stands instead of repeating it.

    x must be long, and have a line of its own in the prompt of the user.
    """
    human_prompt = request.task.human_prompt
    if not _X_ALONE.search(human_prompt) or _FENCE.search(human_prompt):
        return False
    x = request.shown("" if trial.x is None else trial.x)
    return len(x) > _WORTH_REFERRING


def question(
    request: Request,
    trial: Trial,
    shown: Sequence[Trial],
    above: str = "",
    has_feedback_above: bool = False,
) -> str:
    """Return the question that asks for a better x than a trial's.

    Args:
        request: what the prompt is made of.
        trial: whose x is to be improved.
        shown: what it is compared with.
        above: says where its x stands already; empty puts x here.
        has_feedback_above: whether its feedback stands above as well, as far as it is short.
    """
    task = request.task
    max_chars = _MAX_FEEDBACK_CHARS
    if has_feedback_above and len(trial.feedback) <= _MAX_OTHER_FEEDBACK_CHARS:
        max_chars = 0
    note = ""
    if request.direction is Direction.MINIMIZE:
        note = " (lower is better)"
    facts = [_result(trial, shown, max_chars, note)]
    listed = False  # as a lesson in a section of its own
    if not request.plan.transcript:
        listed = any(one.number == trial.number for one in request.known.lessons)
    if trial.lesson and not listed:
        facts.append(f"Lesson: {trial.lesson}")
    facts.append(_standing(request, trial, shown))
    return fill(
        task.human_prompt,
        task_description=task.description,
        task_question=task.question,
        x=above or _own_x(request, trial),
        fx="\n".join(filter(None, facts)),
    )


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
    if _FENCE.search(request.task.human_prompt):
        return show_x(x)
    return request.shown(x)


def _result(
    trial: Trial, shown: Iterable[Trial], max_chars: int, note: str = ""
) -> str:
    """Return the score, with digits enough to tell it from the others shown, and the feedback."""
    feedback = clip(trial.feedback, max_chars)
    if trial.status is Status.PENDING:
        return "its score is not known yet"
    if trial.score is None:
        return f"no score ({trial.status.value})\n{feedback}".rstrip()
    scores = [one.score for one in shown if one.score is not None]
    score = show_number(trial.score, scores, _DIGITS)
    return f"score {score}{note}\n{feedback}".rstrip()


def _standing(request: Request, trial: Trial, shown: Iterable[Trial]) -> str:
    """Return how a trial compares with the best that is shown."""
    scored = {one.number: one for one in shown if one.scored}
    if trial.score is None or len(scored) < 2:
        return ""
    best = max(scored.values(), key=request.direction.rank)
    if best.number == trial.number:
        return "It is the best so far."
    more = show_number(request.direction.gain(best.score or 0.0, trial.score))
    return f"Trial {best.number} is better by {more}."
