"""Reflection: the lesson of a trial that did not work, asked for in a second, short call.

It asks the model of the run and nothing else. The lesson belongs to the trial, with which it is
stored and shown to the model later.
"""

from __future__ import annotations

import logging
import re

from ...errors import ModelError
from ...records import (
    Ask,
    Direction,
    Message,
    Reply,
    Status,
    Task,
    Trial,
    Usage,
)
from ...text import clip, lines_of, one_line, show_number, show_x, unified_diff
from .fences import closes_fence, fence, opening_fence
from .templates import REFLECT, REFLECTION, directed, fill
from .thinking import after_thinking

_log = logging.getLogger("llm_optimize")

_MAX_SENTENCES = 3
_MAX_CHARS = 400
_MAX_X_CHARS = 6_000  # of what is shown of x
_MAX_FEEDBACK_CHARS = 2_000
_MAX_COMPARED = 2_000  # lines of a text of which the difference is shown
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.S)
_LABEL = re.compile(r"^[\W_]*lessons?[\W_]*:[\s*_]*", re.I)
_NO_LESSON = (Status.DUPLICATE, Status.PENDING)


class Reflection:
    """Asks the model why a trial did not work, and what should be done instead.

    Source: Reflexion (Shinn et al., Advances in Neural Information Processing Systems 36, 2023).

    Args:
        task: what the user wants, in words.
        direction: whether a higher or a lower score of f is better.
    """

    def __init__(self, task: Task, direction: Direction = Direction.MAXIMIZE) -> None:
        self._task = task
        self._direction = direction

    @staticmethod
    def wants(trial: Trial, parent: Trial | None) -> bool:
        """Return whether there is something to learn from a trial.

        It must have an x, and have failed or be no better than its parent. A trial without a
        parent, and one whose parent has no score, is worth a lesson only when it failed. A
        duplicate teaches nothing new.

        >>> parent = Trial.of(1, "x", Status.COMPLETE, "model:m", score=2.0)
        >>> Reflection.wants(Trial.of(2, "y", Status.COMPLETE, "model:m", score=2.0), parent)
        True
        >>> Reflection.wants(Trial.of(2, "y", Status.COMPLETE, "model:m", score=2.5), parent)
        False
        """
        if trial.x is None or trial.status in _NO_LESSON:
            return False
        if trial.score is None:
            return True
        if parent is None or parent.score is None:
            return False
        return trial.score <= parent.score

    async def lesson(
        self, trial: Trial, parent: Trial | None, ask: Ask
    ) -> tuple[str, Usage]:
        """Return the lesson of a finished trial, and what the call used.

        Args:
            trial: that failed or did not improve on its parent.
            parent: what it was built on; None when it was built on nothing.
            ask: one call of the model.

        Returns:
            One to three sentences of at most 400 characters in one line, without code. Empty when
            the model did not answer or has nothing to say; that is logged, and never raised.
        """
        try:
            reply = await ask(look_back(self._task, trial, parent, self._direction))
        except ModelError as error:
            _log.info("no lesson from trial %d: %s", trial.number, error)
            return "", Usage(uncertain_calls=error.uncertain_calls)
        return _lesson(reply), reply.usage


def look_back(
    task: Task,
    trial: Trial,
    parent: Trial | None,
    direction: Direction = Direction.MAXIMIZE,
) -> list[Message]:
    """Return the messages that ask why a trial did not work, and what should be done instead."""
    trial = direction.trial(trial)
    if parent is not None:
        parent = direction.trial(parent)
    system = fill(
        directed(REFLECTION, direction),
        task_description=task.description,
        task_question=task.question,
    )
    parts = [_what_was_tried(trial, parent), _what_came_of_it(trial, parent), REFLECT]
    return [
        Message(role="system", content=system),
        Message(role="user", content="\n\n".join(parts)),
    ]


def _what_was_tried(trial: Trial, parent: Trial | None) -> str:
    """Return the change of x as a diff; x itself where it is short, new or very long."""
    x = show_x("" if trial.x is None else trial.x)
    if parent is None or parent.x is None or not show_x(parent.x):
        return f"This x was tried:\n{fence(clip(x, _MAX_X_CHARS))}"
    before = show_x(parent.x)
    most = max(len(lines_of(x)), len(lines_of(before)))
    if most > _MAX_COMPARED or len(x.splitlines()) < 2:
        return (
            f"This x was tried:\n{fence(clip(x, _MAX_X_CHARS))}\n\n"
            f"It was made from this:\n{fence(clip(before, _MAX_X_CHARS))}"
        )
    change = unified_diff(before, x, "before", "after") or "(nothing but line ends)"
    return f"This change of x was tried:\n{fence(clip(change, _MAX_X_CHARS), 'diff')}"


def _what_came_of_it(trial: Trial, parent: Trial | None) -> str:
    before = parent.score if parent else None
    if trial.score is None:
        result = f"It has no score: {trial.status.value}."
    elif before is None:
        result = f"Its score is {show_number(trial.score)}."
    else:
        now = show_number(trial.score, [before])
        result = (
            f"Its score is {now}, before it was {show_number(before, [trial.score])}."
        )
    feedback = clip(trial.feedback, _MAX_FEEDBACK_CHARS)
    if not feedback.strip():
        return result
    return f"{result} The judge said:\n{feedback}"


def _lesson(reply: Reply) -> str:
    """Return the first sentences of a reply; of one that was cut off, only whole ones."""
    cut_off = reply.finish_reason == "length"
    if reply.incomplete and not cut_off:
        return ""
    prose = _without_code(after_thinking(reply.text))
    text = _LABEL.sub("", one_line(prose, len(reply.text)))
    found = _SENTENCE.findall(text)
    sentences = [sentence.strip() for sentence in found]
    rest = text[sum(map(len, found)) :].strip()
    if rest and not cut_off:
        sentences.append(rest)
    return one_line(" ".join(sentences[:_MAX_SENTENCES]), _MAX_CHARS)


def _without_code(text: str) -> str:
    """Return a text without its fenced blocks, also without one that is never closed."""
    kept: list[str] = []
    bar = ""
    for line in text.split("\n"):
        opening = opening_fence(line)
        if bar:
            bar = "" if closes_fence(line, bar) else bar
        elif opening is not None:
            bar = opening.bar
        else:
            kept.append(line)
    return "\n".join(kept)
