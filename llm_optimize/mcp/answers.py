"""Answers of the tools: plain data of bounded size, without secrets.

Nothing that an agent reads holds the value of an environment variable that is named like a
secret. Texts are redacted before they are clipped: a cut through a secret would leave a part of
it that no search finds.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..records import Budget, Cap, Trial
from ..task_file import TaskFile
from ..text import clip, one_line, storable, visible

MAX_X_CHARS = 100_000
_MAX_FEEDBACK_CHARS = 300  # in a list of trials
_MAX_TEXT_CHARS = 4_000  # of the feedback and output of one trial, or a task's words
_MAX_SENTENCE_CHARS = 1_000
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_LEAST_SECRET_CHARS = 8  # a shorter value would also occur by chance
WITHHELD = "[withheld]"


def without_secrets(text: str) -> str:
    """Return the text with the values of secret environment variables withheld."""
    secrets = []
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_SECRET_CHARS:
            secrets.append(value)
    for secret in sorted(secrets, key=len, reverse=True):  # one may hold another
        text = text.replace(secret, WITHHELD)
    return text


def as_json(answer: Mapping[str, Any]) -> str:
    """Return an answer as JSON that UTF-8 can hold, without secrets."""
    text = json.dumps(_redacted(answer), ensure_ascii=False, default=repr)
    return storable(text)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        pairs = value.items()
        return {without_secrets(str(key)): _redacted(inner) for key, inner in pairs}
    if isinstance(value, list | tuple):
        return [_redacted(inner) for inner in value]
    return value


def sentence(error: Exception) -> str:
    """Return an error of ours as an agent reads it."""
    return one_line(without_secrets(str(error)), _MAX_SENTENCE_CHARS)


def clipped(text: str, max_chars: int) -> str:
    """Return the text without secrets, cut to a length."""
    return clip(visible(without_secrets(text)), max_chars)


def task_facts(task: TaskFile) -> dict[str, Any]:
    """Describe an allowed task: what it is, and what an agent may decide about it."""
    return {
        "name": task.name,
        "title": one_line(task.title, 200),
        "task": clip(visible(task.task), _MAX_TEXT_CHARS),
        "question": clip(visible(task.question), _MAX_TEXT_CHARS),
        "may_set": list(task.agent.may_set),
        "max_steps": min(task.max_steps, task.most_steps),
        "most_steps": task.most_steps,
        "budget": caps(task.budget),
        "max_runs": task.agent.max_runs,
        "models": list(task.agent.models),
        "direction": str(task.options.get("direction", "maximize")),
    }


def caps(budget: Budget) -> dict[str, Any]:
    """Return the caps that are set."""
    return {key: value for key, value in vars(budget).items() if value is not None}


def used(caps: Sequence[Cap]) -> dict[str, Any]:
    """Return what is used of each cap that is set."""
    amounts = {}
    for cap in caps:
        if cap.cap is not None:
            amounts[cap.name] = {"used": cap.used, "cap": cap.cap}
    return amounts


def short_trial(trial: Trial) -> dict[str, Any]:
    """Describe a trial in a few words."""
    return {
        "number": trial.number,
        "status": trial.status.value,
        "score": trial.score,
        "source": one_line(trial.source, 80),
        "parent": trial.parent,
        "feedback": clipped(trial.feedback, _MAX_FEEDBACK_CHARS),
    }


def whole_trial(trial: Trial) -> dict[str, Any]:
    """Describe a trial with its x; a long x is clipped."""
    return {
        **short_trial(trial),
        "x": _clipped_x(trial.x),
        "metrics": dict(trial.metrics),
        "seconds": trial.seconds,
        "feedback": clipped(trial.feedback, _MAX_TEXT_CHARS),
        "output": clipped(trial.output, _MAX_TEXT_CHARS),
        "lesson": clipped(trial.lesson, _MAX_TEXT_CHARS),
    }


def _clipped_x(x: Any) -> Any:
    if isinstance(x, str):
        # Unchanged otherwise, control characters too: an agent may write it into a file.
        return clip(without_secrets(x), MAX_X_CHARS)
    text = json.dumps(x, default=repr)
    if len(text) > MAX_X_CHARS:
        return clip(without_secrets(text), MAX_X_CHARS)
    return x
