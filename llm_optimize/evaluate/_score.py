"""The guard: from whatever f returns to one Score, and from whatever happens to one Evaluation."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidScore
from ..records import Evaluation, Score, Status
from ..sandbox import Outcome, OutcomeStatus
from ..text import clip, show_number, visible
from ._evaluation import IMPOSSIBLE

_log = logging.getLogger("llm_optimize")
MAX_FEEDBACK_CHARS = 20_000  # kept; a prompt shows less
MAX_OUTPUT_CHARS = 20_000
_SCORE_KEYS = ("score", "combined_score")
_ROUNDING = 1e-9  # relative: a mean of ones may be a little more than one


def judge(outcome: Outcome, max_score: float | None = None) -> Evaluation:
    """Turn the outcome of f(x) into a score, or into a failure that says what it was.

    That a scoring was made again, since a process of the sandbox had died under it, is said at the end of its output.

    A score above `max_score` is impossible: it is refused as invalid, its stage is IMPOSSIBLE, and it is logged.
    """
    if outcome.status is OutcomeStatus.OK:
        return _of_value(outcome, max_score)
    if outcome.status is OutcomeStatus.TIMEOUT:
        return _failure(
            Status.TIMEOUT,
            f"no score after {outcome.seconds:.3g} s: stopped at the deadline",
            outcome,
        )
    if outcome.unusable:
        return _failure(
            Status.INVALID, f"f returned no score: {outcome.message}", outcome
        )
    return _failure(Status.FAILED, outcome.traceback or outcome.message, outcome)


def _of_value(outcome: Outcome, max_score: float | None) -> Evaluation:
    try:
        score = as_score(outcome.value)
    except InvalidScore as error:
        return _failure(Status.INVALID, str(error), outcome)
    if max_score is not None and score.value > max_score + _ROUNDING * max(
        1.0, abs(max_score)
    ):
        said = (
            f"the score {show_number(score.value, [max_score])} is above the highest possible one, "
            f"{show_number(max_score)}: it does not count; solve the task itself"
        )
        _log.warning("a candidate was refused: %s", said)
        return _failure(Status.INVALID, said, outcome, IMPOSSIBLE)
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


def _failure(
    status: Status, feedback: str, outcome: Outcome, stage: str = ""
) -> Evaluation:
    return Evaluation(
        status,
        None,
        visible(clip(feedback, MAX_FEEDBACK_CHARS)),
        output=_output(outcome),
        seconds=outcome.seconds,
        stage=stage,
        scored_again=outcome.scored_again,
    )


def _output(outcome: Outcome) -> str:
    note = (
        f"[llm_optimize: scored a second time; at the first, {outcome.scored_again}]\n"
        if outcome.scored_again
        else ""
    )
    return clip(outcome.output, MAX_OUTPUT_CHARS) + note


def as_score(raw: Any) -> Score:
    """Return the score that f meant: a number, (score, feedback), (score, dict), a dict with "score", or a Score.

    A number is an int, a float, or a scalar or 0-d array of numpy's. Booleans are refused, and so is what else can be
    made a number (Decimal, Fraction, text): whoever means one says `float(...)`.

    Raises InvalidScore with what came instead.

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
        key = next((key for key in _SCORE_KEYS if key in raw), None)
        if key is None:
            raise InvalidScore(
                f"f returned a dict with {_listed(raw)}: it needs a 'score'"
            )
        return _with_feedback(
            _number(raw[key]),
            {name: value for name, value in raw.items() if name != key},
        )
    value = _number(raw)
    return Score(value, f"f(x) = {value:.6g}")


def _number(raw: Any) -> float:
    if type(raw) not in (int, float):
        try:
            raw = _plain(raw)
        except (TypeError, ValueError):
            raise InvalidScore(
                f"the score is {_shown(raw)}, no number: return int or float"
            ) from None
    try:
        return float(raw)
    except OverflowError:
        raise InvalidScore(
            "the score is an integer too large for a float: return a smaller number"
        ) from None


def _plain(raw: Any) -> float:
    """Return a numpy scalar or 0-d array as a float; refuse booleans and everything else."""
    if (
        type(raw).__module__ != "numpy"
        or raw.shape != ()
        or raw.dtype.kind not in "iuf"
    ):
        raise TypeError
    return float(raw)


def _shown(raw: Any) -> str:
    """Return a value as its author wrote it, where that is short and safe; of others the type."""
    return (
        clip(repr(raw), 80)
        if raw is None or type(raw) in (bool, str)
        else f"a value of type {type(raw).__name__}"
    )


def _with_feedback(value: float, rest: Any) -> Score:
    """Split what came with the score into feedback for the model, metrics and scores per example."""
    if not isinstance(rest, dict):
        return Score(value, _text(rest))
    metrics = {**_numbers(rest), **_numbers(rest.get("metrics"))}
    texts = [_text(text) for name, text in rest.items() if name == "feedback" and text]
    texts += [
        f"{name}: {text}"
        for name, text in rest.items()
        if isinstance(text, str) and name != "feedback"
    ]
    return Score(value, "\n".join(texts), metrics, _numbers(rest.get("instances")))


def _text(feedback: Any) -> str:
    if feedback is None or isinstance(feedback, str):
        return feedback or ""
    try:
        return str(feedback)
    except Exception as error:  # at `inline` it may be an object of the candidate's
        return f"(the feedback cannot be read: {type(error).__name__})"


def _numbers(values: Any) -> dict[str, float]:
    """Return what is a finite number in a dict; all else is left out."""
    if not isinstance(values, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in values.items()
        if type(value) in (int, float) and _is_finite(value)
    }


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _listed(raw: Mapping[Any, Any]) -> str:
    return clip(", ".join(map(_shown, raw)), 80) or "nothing in it"
