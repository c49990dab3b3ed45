"""Evaluation of one call: from what f returned to one Score, from any outcome to one Evaluation.

What f returns is never trusted: it may be an object of the candidate's. A failure has no number.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from ..checks import is_number
from ..errors import InvalidScore
from ..records import Direction, Evaluation, Score, Status
from ..sandbox import CALL, IMPORT, Outcome, OutcomeStatus
from ..text import clip, one_line, show_number, visible

_log = logging.getLogger("llm_optimize")

# Stages that are not the user's.
SYNTAX = "syntax"  # before all others: x does not compile where its parent does
MINIBATCH = "minibatch"  # before all examples: x is no better than its parent on a few
# The score is better than the user's `max_score`; report such trials.
IMPOSSIBLE = "max_score"

MAX_FEEDBACK_CHARS = 20_000  # kept; a prompt shows less
MAX_OUTPUT_CHARS = 20_000
_MAX_FAULT_CHARS = 400
_FAULTS = {  # of f itself, by what the sandbox found; and how to mend it
    CALL: "f does not take the arguments that it is called with, {message}: define it as f(x), "
    "or as f(x, example) where there are examples",
    IMPORT: "f imports a module that is not installed, {message}: install it in the environment "
    "of this program",
}
_SCORE_KEYS = ("score", "combined_score")
_ROUNDING = 1e-9  # relative: a mean of ones may be a little more than one


def judge(
    outcome: Outcome,
    max_score: float | None = None,
    direction: Direction = Direction.MAXIMIZE,
) -> Evaluation:
    """Return the evaluation of an outcome of f(x): a score, or a failure that says what happened.

    A score better than `max_score` is impossible: it is refused as invalid, its stage is
    IMPOSSIBLE, and it is logged. Where a process of the sandbox died and the scoring was made
    again, the output ends with a note of that.
    """
    if outcome.status is OutcomeStatus.OK:
        return _of_value(outcome, max_score, direction)
    if outcome.status is OutcomeStatus.TIMEOUT:
        feedback = f"no score after {outcome.seconds:.3g} s: stopped at the deadline"
        return _failure(Status.TIMEOUT, feedback, outcome)
    if outcome.unusable:
        feedback = f"f returned no score: {outcome.message}"
        return _failure(Status.INVALID, feedback, outcome, fault=feedback)
    fault = ""
    if outcome.fault in _FAULTS:
        fault = _FAULTS[outcome.fault].format(message=outcome.message)
    feedback = outcome.traceback or outcome.message
    return _failure(Status.FAILED, feedback, outcome, fault=fault)


def _of_value(
    outcome: Outcome, max_score: float | None, direction: Direction
) -> Evaluation:
    try:
        score = as_score(outcome.value)
    except InvalidScore as error:
        fault = str(error) if _is_no_score(outcome.value) else ""
        return _failure(Status.INVALID, str(error), outcome, fault=fault)
    if max_score is not None:
        rounding = _ROUNDING * max(1.0, abs(max_score))
        if direction.gain(score.value, max_score) > rounding:
            return _impossible(outcome, score.value, max_score, direction)
    return Evaluation(
        Status.COMPLETE,
        score.value,
        visible(clip(score.feedback, MAX_FEEDBACK_CHARS)),
        score.metrics,
        score.instances,
        _output(outcome),
        outcome.seconds,
        scored_again=outcome.scored_again,
    )


def _impossible(
    outcome: Outcome, score: float, limit: float, direction: Direction
) -> Evaluation:
    """Return the evaluation of an x whose score is better than the best possible one."""
    beyond = "above the highest"
    if direction is Direction.MINIMIZE:
        beyond = "below the lowest"
    feedback = (
        f"the score {show_number(score, [limit])} is {beyond} possible one, "
        f"{show_number(limit)}: it does not count; solve the task itself"
    )
    _log.warning("a candidate was refused: %s", feedback)
    return _failure(Status.INVALID, feedback, outcome, IMPOSSIBLE)


def _is_no_score(raw: Any) -> bool:
    """Return whether f returned what cannot be a score of any x.

    NaN may be due to x, and so may None beside a feedback.
    """
    if isinstance(raw, list | tuple):
        return len(raw) != 2
    if isinstance(raw, dict):
        return not any(key in raw for key in _SCORE_KEYS)
    if isinstance(raw, Score) or type(raw).__module__ == "numpy":
        return False
    return not is_number(raw)


def _failure(
    status: Status,
    feedback: str,
    outcome: Outcome,
    stage: str = "",
    fault: str = "",
) -> Evaluation:
    return Evaluation(
        status,
        None,
        visible(clip(feedback, MAX_FEEDBACK_CHARS)),
        output=_output(outcome),
        seconds=outcome.seconds,
        stage=stage,
        scored_again=outcome.scored_again,
        fault=visible(one_line(fault, _MAX_FAULT_CHARS)),
    )


def _output(outcome: Outcome) -> str:
    output = clip(outcome.output, MAX_OUTPUT_CHARS)
    if outcome.scored_again:
        output += f"[llm_optimize: scored a second time; at the first, {outcome.scored_again}]\n"
    return output


def as_score(raw: Any) -> Score:
    """Return what f returned as a Score.

    f may return a number, (score, feedback), (score, dict), a dict with "score", or a Score. A
    number is an int, a float, or a scalar or 0-d array of numpy. Booleans are refused, and so is
    everything else that could be made a number (Decimal, Fraction, text): f should call `float`.

    Raises:
        InvalidScore: f returned something else; the message says what.

    >>> as_score((0.5, "half")).feedback
    'half'
    >>> as_score({"score": 1, "size": 20}).metrics
    {'size': 20.0}
    >>> as_score(float("nan"))
    Traceback (most recent call last):
        ...
    llm_optimize.errors.InvalidScore: the score is nan: f must return a finite number, or raise
    """
    if isinstance(raw, Score):
        return Score(
            _number(raw.value),
            _text(raw.feedback),
            _numbers(raw.metrics),
            _numbers(raw.instances),
        )
    if isinstance(raw, list | tuple):
        if len(raw) != 2:
            raise InvalidScore(
                f"f returned {len(raw)} values: return a number, or (score, feedback)"
            )
        return _with_feedback(_number(raw[0]), raw[1])
    if isinstance(raw, dict):
        return _of_dict(raw)
    value = _number(raw)
    return Score(value, f"f(x) = {value:.6g}")


def _of_dict(raw: dict[Any, Any]) -> Score:
    rest = dict(raw)
    for key in _SCORE_KEYS:
        if key in rest:
            value = _number(rest.pop(key))
            return _with_feedback(value, rest)
    names = clip(", ".join(map(_shown, raw)), 80) or "nothing in it"
    raise InvalidScore(f"f returned a dict with {names}: it needs a 'score'")


def _number(raw: Any) -> float:
    if type(raw) not in (int, float):
        try:
            raw = _of_numpy(raw)
        except (TypeError, ValueError):
            raise InvalidScore(
                f"the score is {_shown(raw)}, which is not a number: return an int or a float"
            ) from None
    try:
        return float(raw)
    except OverflowError:
        raise InvalidScore(
            "the score is an integer too large for a float: return a smaller number"
        ) from None


def _of_numpy(raw: Any) -> float:
    """Return a numpy scalar or 0-d array as a float. Raises TypeError for everything else."""
    if type(raw).__module__ != "numpy":
        raise TypeError
    if raw.shape != () or raw.dtype.kind not in "iuf":
        raise TypeError
    return float(raw)


def _shown(raw: Any) -> str:
    """Return a value as its author wrote it, where that is short and safe; of others the type."""
    if raw is None or type(raw) in (bool, str):
        return clip(repr(raw), 80)
    return f"a value of type {type(raw).__name__}"


def _with_feedback(value: float, rest: Any) -> Score:
    """Split what came with the score into feedback for the model, metrics and instances."""
    if not isinstance(rest, dict):
        return Score(value, _text(rest))
    metrics = {**_numbers(rest), **_numbers(rest.get("metrics"))}
    texts = []
    if rest.get("feedback"):
        texts.append(_text(rest["feedback"]))
    for name, text in rest.items():
        if isinstance(text, str) and name != "feedback":
            texts.append(f"{name}: {text}")
    return Score(value, "\n".join(texts), metrics, _numbers(rest.get("instances")))


def _text(feedback: Any) -> str:
    if feedback is None:
        return ""
    if isinstance(feedback, str):
        return feedback
    try:
        return str(feedback)
    except Exception as error:  # at `inline` it may be an object of the candidate's
        return f"(the feedback cannot be read: {type(error).__name__})"


def _numbers(values: Any) -> dict[str, float]:
    """Return what is a finite number in a dict, without everything else."""
    numbers: dict[str, float] = {}
    if isinstance(values, Mapping):
        for name, value in values.items():
            if type(value) in (int, float) and _is_finite(value):
                numbers[str(name)] = float(value)
    return numbers


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False
