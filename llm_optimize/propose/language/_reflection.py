"""The messages that ask for the lesson of one trial."""

from __future__ import annotations

from ...records import Message, Task, Trial
from ...text import clip, lines_of, show_number, show_x, unified_diff
from ._words import REFLECT, REFLECTION, fill
from .fences import fence

_MAX_X_CHARS = 6_000  # of what is shown of x
_MAX_FEEDBACK_CHARS = 2_000
_MAX_COMPARED = 2_000  # lines of a text of which the difference is shown


def look_back(task: Task, trial: Trial, parent: Trial | None) -> list[Message]:
    """Return the messages that ask why a trial did not work, and what should be done instead."""
    system = fill(
        REFLECTION, task_description=task.description, task_question=task.question
    )
    parts = [_what_was_tried(trial, parent), _what_came_of_it(trial, parent), REFLECT]
    return [
        Message(role="system", content=system),
        Message(role="user", content="\n\n".join(parts)),
    ]


def _what_was_tried(trial: Trial, parent: Trial | None) -> str:
    x = show_x("" if trial.x is None else trial.x)
    before = show_x(parent.x) if parent and parent.x is not None else ""
    if (
        not before
        or max(len(lines_of(x)), len(lines_of(before))) > _MAX_COMPARED
        or len(x.splitlines()) < 2
    ):
        was = (
            f"\n\nIt was made from this:\n{fence(clip(before, _MAX_X_CHARS))}"
            if before
            else ""
        )
        return f"This x was tried:\n{fence(clip(x, _MAX_X_CHARS))}{was}"
    change = unified_diff(before, x, "before", "after") or "(nothing but line ends)"
    return f"This change of x was tried:\n{fence(clip(change, _MAX_X_CHARS), 'diff')}"


def _what_came_of_it(trial: Trial, parent: Trial | None) -> str:
    before = parent.score if parent else None
    if trial.score is None:
        result = f"It has no score: {trial.status.value}."
    elif before is None:
        result = f"Its score is {show_number(trial.score)}."
    else:
        result = f"Its score is {show_number(trial.score, [before])}, before it was {show_number(before, [trial.score])}."
    feedback = clip(trial.feedback, _MAX_FEEDBACK_CHARS)
    return f"{result} The judge said:\n{feedback}" if feedback.strip() else result
