"""Facts of a run for a page: one column per fact of its trials, and what the run was asked to do.

All else that a page shows (the best so far, failures by kind, spend by model) it computes from
these columns, so that a live run and a finished one are shown by the same code. Everything here
is plain data that JSON can hold.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from math import isfinite
from typing import Any

from ... import __version__, text
from ...records import Cap, Status, Trial, X, describe_failure
from ...store import Begun, Run, RunInfo, State, Steer
from ...text import one_line, show_x
from ..amounts import LABELS, used_of

_MAX_FEEDBACK_CHARS = 160
_MAX_X_CHARS = 100
_MAX_METRICS = 12
_MAX_VALUES = 50  # parameters
_COLUMNS: Mapping[str, Callable[[Trial], Any]] = {
    "number": lambda trial: trial.number,
    "status": lambda trial: trial.status.value,
    "source": lambda trial: one_line(trial.source, 80),
    "score": lambda trial: trial.score,
    "error": lambda trial: trial.standard_error,
    "scorings": lambda trial: trial.scorings,
    "parent": lambda trial: trial.parent,
    "seconds": lambda trial: round(trial.seconds, 4),
    "calls": lambda trial: trial.usage.calls,
    "prompt": lambda trial: trial.usage.prompt_tokens,
    "completion": lambda trial: trial.usage.completion_tokens,
    "cached": lambda trial: trial.usage.cached_tokens,
    "reasoning": lambda trial: trial.usage.reasoning_tokens,
    "cost": lambda trial: trial.usage.cost_usd,
    "feedback": lambda trial: feedback_line(trial),
    "x": lambda trial: "" if trial.x is None else _brief(show_x(trial.x), _MAX_X_CHARS),
    "stage": lambda trial: one_line(trial.stage, 40),
    "lesson": lambda trial: _brief(trial.lesson, _MAX_FEEDBACK_CHARS),
    "metrics": lambda trial: _numbers(trial.metrics),
    "values": lambda trial: _values(trial.x),
    "at": lambda trial: trial.finished_at,
}


def feedback_line(trial: Trial) -> str:
    """Return in a line the feedback of f, or what went wrong."""
    if trial.status is Status.COMPLETE:
        return _brief(trial.feedback, _MAX_FEEDBACK_CHARS)
    # The page shows the status beside it.
    status = f"{trial.status.value}: "
    why = describe_failure(trial).removeprefix(status)
    return _brief(why, _MAX_FEEDBACK_CHARS)


def _numbers(metrics: Mapping[str, Any]) -> dict[str, float] | None:
    """Return the first metrics that are numbers, rounded to six digits; None without any."""
    found = {}
    for name, value in metrics.items():
        if not isinstance(value, int | float):
            continue
        if isfinite(value):
            short = one_line(name, 80)
            found[short] = _rounded(value)
        if len(found) == _MAX_METRICS:
            break
    return found or None


def _values(x: X | None) -> dict[str, Any] | None:
    """Return the first parameters of an x, rounded to six digits; None where x is a text."""
    if not isinstance(x, Mapping):
        return None
    found = {}
    for name in islice(x, _MAX_VALUES):
        found[name] = _rounded(x[name])
    return found


def _rounded(value: Any) -> Any:
    """Return a number with six digits, or another value as a short text."""
    if isinstance(value, float):
        digits = f"{value:.6g}"
        return float(digits)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value)[:_MAX_X_CHARS]
    return one_line(text, _MAX_X_CHARS)


def _brief(text: str, max_chars: int) -> str:
    """Return the beginning of a text in one line; a long text is cut before it is looked at."""
    words = text[: 4 * max_chars].split()
    return one_line(" ".join(words), max_chars)


def columns(trials: Iterable[Trial]) -> dict[str, list[Any]]:
    """Return the facts of trials, one list per fact, in the order of the trials.

    Times are in seconds since the epoch.
    """
    rows = list(trials)
    facts = {}
    for name, fact in _COLUMNS.items():
        facts[name] = [fact(trial) for trial in rows]
    return facts


def about(
    run: Run,
    info: RunInfo,
) -> dict[str, Any]:
    """Return what the run was asked to do, its origin, and the versions that read it."""
    return {
        "name": info.name,
        "begun_at": info.created_at,
        "stop_reason": info.stop_reason,
        "origin": plain(info.origin),
        "settings": plain(info.settings),
        "func_version": run.func_version,
        "versions": {
            "llm_optimize": __version__,
            "Python": platform.python_version(),
            "system": platform.system(),
        },
        "written_at": time.time(),
    }


def state(
    begun: Sequence[Begun],
    steers: Sequence[Steer],
    run_state: State,
    caps: Sequence[Cap],
) -> dict[str, Any]:
    """Return what changes besides the finished trials.

    These are the trials in flight, the control commands of watchers, whether the run goes on and
    why it ended, and what is used of each cap that is set.
    """
    used = []
    for cap in caps:
        if cap.cap is None:
            continue
        words = {"name": LABELS[cap.name], "shown": used_of(cap)}
        used.append({**words, "used": cap.used, "cap": cap.cap})
    return {
        "begun": plain(begun),
        "steers": plain(steers),
        "word": run_state.word,
        "stop_reason": run_state.why or None,
        "caps": used,
    }


def plain(value: Any) -> Any:
    """Return records as plain data; NaN and infinity become their names."""
    return text.plain(value, str)


def to_json(value: Any) -> bytes:
    """Return JSON in ASCII, so that even half a surrogate pair survives."""
    text = json.dumps(value, separators=(",", ":"), default=repr)
    return text.encode("ascii")
