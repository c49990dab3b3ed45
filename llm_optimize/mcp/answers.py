"""What the tools of `llm-optimize mcp` say: plain data of bounded size, without secrets."""

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
_MAX_TEXT_CHARS = (
    4_000  # of feedback and output of a single trial, and of a task's words
)
_MAX_SENTENCE_CHARS = 1_000
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_LEAST_SECRET_CHARS = 8
WITHHELD = "[withheld]"


def without_secrets(text: str) -> str:
    """Return a text in which no value stands of an environment variable that is named like a secret."""
    secrets = [value for name, value in os.environ.items() if _SECRET_NAME.search(name)]
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _LEAST_SECRET_CHARS:
            text = text.replace(secret, WITHHELD)
    return text


def written(answer: Mapping[str, Any]) -> str:
    """Return an answer as JSON that UTF-8 can hold."""
    return storable(json.dumps(_clean(answer), ensure_ascii=False, default=repr))


def sentence(error: Exception) -> str:
    """Return an error of ours as an agent reads it."""
    return one_line(without_secrets(str(error)), _MAX_SENTENCE_CHARS)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {
            without_secrets(str(key)): _clean(inner) for key, inner in value.items()
        }
    return (
        [_clean(inner) for inner in value] if isinstance(value, list | tuple) else value
    )


def task_of(task: TaskFile) -> dict[str, Any]:
    """Describe an allowed task: what it is, and what an agent may decide of it."""
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
    }


def caps(budget: Budget) -> dict[str, Any]:
    """Return the caps that there are."""
    return {key: value for key, value in vars(budget).items() if value is not None}


def used(caps: Sequence[Cap]) -> dict[str, Any]:
    """Return what is used of each cap that there is."""
    return {
        cap.name: {"used": cap.used, "cap": cap.cap}
        for cap in caps
        if cap.cap is not None
    }


def line_of(trial: Trial) -> dict[str, Any]:
    """Describe a trial in a few words."""
    return {
        "number": trial.number,
        "status": trial.status.value,
        "score": trial.score,
        "source": one_line(trial.source, 80),
        "parent": trial.parent,
        "feedback": said(trial.feedback, _MAX_FEEDBACK_CHARS),
    }


def whole(trial: Trial) -> dict[str, Any]:
    """Describe a trial with its x; a long one is clipped."""
    x = trial.x
    if isinstance(x, str):
        x = clip(
            without_secrets(x), MAX_X_CHARS
        )  # to the letter: an agent may write it into a file
    elif len(json.dumps(x, default=repr)) > MAX_X_CHARS:
        x = clip(without_secrets(json.dumps(x, default=repr)), MAX_X_CHARS)
    told = {"x": x, "metrics": dict(trial.metrics), "seconds": trial.seconds}
    texts = {"feedback": trial.feedback, "output": trial.output, "lesson": trial.lesson}
    return {
        **line_of(trial),
        **told,
        **{name: said(text, _MAX_TEXT_CHARS) for name, text in texts.items()},
    }


def said(text: str, max_chars: int) -> str:
    """Return a text without secrets, clipped: first the one, so that no half of a secret is left at a cut."""
    return clip(visible(without_secrets(text)), max_chars)
