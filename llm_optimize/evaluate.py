"""f and x to a score, or to what went wrong; f's answer is never trusted, a failure has no number."""

from __future__ import annotations

import asyncio
import inspect
import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from .errors import InvalidScore
from .records import Limits, Score, Status, X
from .sandbox import Call, Outcome, OutcomeStatus, Sandbox, open_sandbox
from .text import clip, visible

_MAX_FEEDBACK_CHARS = 20_000  # kept; a prompt shows less
_MAX_OUTPUT_CHARS = 20_000
_SCORE_KEYS = ("score", "combined_score")


@dataclass(frozen=True)
class Evaluation:
    """What f said of x. There is a score only where the status is complete."""

    status: Status
    score: float | None
    feedback: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(default_factory=dict)
    output: str = ""
    seconds: float = 0.0


class Evaluator:
    """Scores candidates, at most `workers` at a time, each in a sandbox under its deadline."""

    def __init__(
        self,
        func: Callable[..., Any],
        *,
        sandbox: str,
        limits: Limits,
        workers: int,
        timeout_secs: float,
        hidden: Sequence[str] = (),
    ) -> None:
        """Open the sandbox, in which the `hidden` files are not seen where its level can hide files.

        Raises UnknownName, FunctionUnusable, SandboxUnavailable, or UsageError for limits that cannot be.
        """
        self._func = func
        self._on_this_loop = sandbox == "inline" and inspect.iscoroutinefunction(func)
        self._timeout_secs = timeout_secs
        self._sandbox: Sandbox = open_sandbox(sandbox, func, limits, hidden)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="scoring")
        self._slots = asyncio.Semaphore(workers)

    async def score(self, x: X, seed: int) -> Evaluation:
        """Return what f says of x; nothing that f does raises here."""
        async with self._slots:
            if self._on_this_loop:
                outcome = await self._run_here(x)
            else:
                loop = asyncio.get_running_loop()
                outcome = await loop.run_in_executor(
                    self._threads, self._sandbox.run, Call(x, self._timeout_secs, seed)
                )
        return judge(outcome)

    async def _run_here(self, x: X) -> Outcome:
        """Await an async f on the loop that the caller owns, so that it may share clients with its surroundings."""
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_secs) as deadline:
                value = await self._func(x)
        except Exception as error:  # whatever f raises is a failed trial
            if deadline.expired():
                return Outcome(OutcomeStatus.TIMEOUT, seconds=time.monotonic() - begun)
            return Outcome(
                OutcomeStatus.RAISED,
                message=f"{type(error).__name__}: {error}",
                traceback=traceback.format_exc(limit=-5),
                seconds=time.monotonic() - begun,
            )
        return Outcome(OutcomeStatus.OK, value=value, seconds=time.monotonic() - begun)

    def close(self) -> None:
        """End all scorings in flight and the sandbox."""
        self._sandbox.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


def judge(outcome: Outcome) -> Evaluation:
    """Turn the outcome of f(x) into a score, or into a failure that says what it was."""
    if outcome.status is OutcomeStatus.OK:
        try:
            score = as_score(outcome.value)
        except InvalidScore as error:
            return _failure(Status.INVALID, str(error), outcome)
        return Evaluation(
            Status.COMPLETE,
            score.value,
            visible(clip(score.feedback, _MAX_FEEDBACK_CHARS)),
            score.metrics,
            score.instances,
            clip(outcome.output, _MAX_OUTPUT_CHARS),
            outcome.seconds,
        )
    if outcome.status is OutcomeStatus.TIMEOUT:
        return _failure(Status.TIMEOUT, f"no score after {outcome.seconds:.3g} s: stopped at the deadline", outcome)
    return _failure(Status.FAILED, outcome.traceback or outcome.message, outcome)


def _failure(status: Status, feedback: str, outcome: Outcome) -> Evaluation:
    return Evaluation(
        status,
        None,
        visible(clip(feedback, _MAX_FEEDBACK_CHARS)),
        output=clip(outcome.output, _MAX_OUTPUT_CHARS),
        seconds=outcome.seconds,
    )


def as_score(raw: Any) -> Score:
    """Return the score that f meant: a number, (score, feedback), (score, dict), a dict with "score", or a Score.

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
        return raw
    if isinstance(raw, list | tuple):
        if len(raw) != 2:
            raise InvalidScore(f"f returned {len(raw)} values: return a number, or (score, feedback)")
        return _with_feedback(_number(raw[0]), raw[1])
    if isinstance(raw, dict):
        key = next((key for key in _SCORE_KEYS if key in raw), None)
        if key is None:
            raise InvalidScore(f"f returned a dict with {_listed(raw)}: it needs a 'score'")
        return _with_feedback(_number(raw[key]), {name: value for name, value in raw.items() if name != key})
    value = _number(raw)
    return Score(value, f"f(x) = {value:.6g}")


def _number(raw: Any) -> float:
    if type(raw) not in (int, float):
        try:
            raw = _plain(raw)
        except (TypeError, ValueError):
            raise InvalidScore(f"the score is {clip(repr(raw), 80)}, no number: return int or float") from None
    try:
        return float(raw)
    except OverflowError:
        raise InvalidScore("the score is an integer too large for a float: return a smaller number") from None


def _plain(raw: Any) -> float:
    """Return a numpy scalar or 0-d array as a float; refuse booleans and everything else."""
    if type(raw).__module__ != "numpy" or raw.shape != () or raw.dtype.kind not in "iuf":
        raise TypeError
    return float(raw)


def _with_feedback(value: float, rest: Any) -> Score:
    """Split what came with the score into feedback for the model, metrics and scores per example."""
    if not isinstance(rest, dict):
        return Score(value, "" if rest is None else str(rest))
    metrics = {**_numbers(rest), **_numbers(rest.get("metrics"))}
    texts = [text for name, text in rest.items() if name == "feedback" and text]
    texts += [f"{name}: {text}" for name, text in rest.items() if isinstance(text, str) and name != "feedback"]
    return Score(value, "\n".join(map(str, texts)), metrics, _numbers(rest.get("instances")))


def _numbers(values: Any) -> dict[str, float]:
    if not isinstance(values, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in values.items()
        if type(value) in (int, float) and math.isfinite(value)
    }


def _listed(raw: Mapping[Any, Any]) -> str:
    return clip(", ".join(map(repr, raw)), 80) or "nothing in it"
