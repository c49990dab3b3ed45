"""A second, short call after a trial that did not work: what is to be learnt from it."""

from __future__ import annotations

import logging
import re

from ..errors import ModelError
from ..records import Ask, Reply, Status, Task, Trial, Usage
from ..text import one_line
from .language import look_back
from .language.fences import after_thinking, fenced_at, opens_fence

_log = logging.getLogger("llm_optimize")
_MAX_SENTENCES = 3
_MAX_CHARS = 400
_SENTENCE = re.compile(r".+?[.!?](?=\s|$)", re.S)
_LABEL = re.compile(r"^[\W_]*lessons?[\W_]*:[\s*_]*", re.I)
_NO_LESSON = (Status.DUPLICATE, Status.PENDING)


class Reflection:
    """Asks the model why a trial did not work, and what should be done instead.

    The lesson belongs to the trial: it is stored with it, and shown to the model later.

    Source: Reflexion (Shinn et al., Advances in Neural Information Processing Systems 36, 2023).
    """

    def __init__(self, task: Task) -> None:
        """Take the task in words."""
        self._task = task

    @staticmethod
    def wants(trial: Trial, parent: Trial | None) -> bool:
        """Return whether there is something to learn: the trial has an x, and failed or is no better than its parent.

        A trial without a parent, and one whose parent has no score, is worth a lesson only when it failed. A
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
        return (
            parent is not None
            and parent.score is not None
            and trial.score <= parent.score
        )

    async def lesson(
        self, trial: Trial, parent: Trial | None, ask: Ask
    ) -> tuple[str, Usage]:
        """Return the lesson of a finished trial, and what the call used.

        Args:
            trial: that failed or did not improve on its parent.
            parent: what it was built on; None when it was built on nothing.
            ask: one call of the model.

        Returns:
            One to three sentences of at most 400 characters in one line, without code. Empty when the model did not
            answer or has nothing to say; that is logged, and never raised.
        """
        try:
            reply = await ask(look_back(self._task, trial, parent))
        except ModelError as error:
            _log.info("no lesson from trial %d: %s", trial.number, error)
            return "", Usage(uncertain_calls=error.uncertain_calls)
        return _lesson(reply), reply.usage


def _lesson(reply: Reply) -> str:
    cut_off = reply.finish_reason == "length"
    if reply.incomplete and not cut_off:
        return ""
    text = _LABEL.sub(
        "", one_line(_without_code(after_thinking(reply.text)), len(reply.text))
    )
    sentences = [found.strip() for found in _SENTENCE.findall(text)]
    rest = "" if cut_off else text[sum(map(len, _SENTENCE.findall(text))) :].strip()
    said = " ".join([*sentences, *filter(None, [rest])][:_MAX_SENTENCES])
    return one_line(said, _MAX_CHARS)


def _without_code(text: str) -> str:
    """Return a text without its fenced blocks, also without one that is never closed."""
    lines, kept, at = text.split("\n"), list[str](), 0
    while at < len(lines):
        if opens_fence(lines[at]):
            _, at = fenced_at(lines, at)
        else:
            kept.append(lines[at])
            at += 1
    return "\n".join(kept)
