"""Stages: cheap scoring functions first; an x that fails one is not scored further."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..checks import is_number
from ..errors import UsageError
from ..identity import is_python
from ..records import Direction, Evaluation, Status, X
from ..text import clip, show_number
from .evaluation import IMPOSSIBLE, MAX_OUTPUT_CHARS, MINIBATCH, SYNTAX

_RESERVED_NAMES = (SYNTAX, MINIBATCH, IMPOSSIBLE)
_MAX_LINE_CHARS = 200  # of x, in a message


@dataclass(frozen=True)
class Stage:
    """One of several scoring functions.

    Args:
        func: f(x), as for a run.
        threshold: the worst score that passes; None: any score passes.
        name: for reports; None takes the function's.
        timeout_secs: wall clock of one call; None takes that of the run.

    Raises:
        UsageError: an argument is of the wrong type, or the name is reserved.

    >>> Stage(len, threshold=3).name
    'len'
    """

    func: Callable[..., Any]
    threshold: float | None = None
    name: str | None = None
    timeout_secs: float | None = None

    def __post_init__(self) -> None:
        func, name = self.func, self.name
        if not callable(func):
            raise UsageError(
                f"a stage is {func!r}: give a function, (function, threshold) or a Stage"
            )
        if name is None:
            name = getattr(func, "__name__", type(func).__name__)
            object.__setattr__(self, "name", name)
        if not isinstance(name, str) or not name or name in _RESERVED_NAMES:
            reserved = ", ".join(_RESERVED_NAMES)
            raise UsageError(
                f"a stage cannot be named {name!r}: give it a name other than {reserved}"
            )
        threshold = self.threshold
        is_threshold = is_number(threshold) and not math.isnan(threshold)
        if threshold is not None and not is_threshold:
            raise UsageError(
                f"the threshold of stage {name!r} is {threshold!r}: give a number, or None"
            )
        secs = self.timeout_secs
        is_timeout = is_number(secs) and secs > 0
        if secs is not None and not is_timeout:
            raise UsageError(
                f"the timeout_secs of stage {name!r} is {secs!r}: give more than 0"
            )

    @property
    def title(self) -> str:
        """Its name, which is never None."""
        return str(self.name)


def as_stages(func: Any) -> tuple[Stage, ...]:
    """Return stages for a function, a Stage, or a sequence of functions, pairs and Stages.

    Raises:
        UsageError: it is anything else, or two stages were given the same name.

    >>> [stage.title for stage in as_stages([len, (len, 2)])]
    ['len', 'len-2']
    """
    if isinstance(func, Stage):
        return (func,)
    if not isinstance(func, Sequence) or isinstance(func, str | bytes):
        if not callable(func):
            raise UsageError(
                f"func is {func!r}: give a function, or a sequence of stages"
            )
        return (Stage(func, name=_unreserved_name(func)),)
    if not func:
        raise UsageError("func is an empty sequence: give at least one stage")
    stages: list[Stage] = []
    for one in func:
        stage = _as_stage(one)
        is_named = False
        if isinstance(one, Stage):
            is_named = one.name != getattr(one.func, "__name__", None)
        taken = [known.title for known in stages]
        name = _unique_name(stage.title, taken, is_named)
        stages.append(replace(stage, name=name))
    return tuple(stages)


def _as_stage(one: Any) -> Stage:
    if isinstance(one, Stage):
        return one
    if isinstance(one, list | tuple):
        if len(one) != 2:
            raise UsageError(
                f"a stage is {one!r}: give a function, (function, threshold) or a Stage"
            )
        func, threshold = one
        return Stage(func, threshold, name=_unreserved_name(func))
    return Stage(one, name=_unreserved_name(one))


def _unreserved_name(func: Any) -> str | None:
    """Return a name for a function whose own is reserved; None where it may keep its own."""
    if getattr(func, "__name__", "") not in _RESERVED_NAMES:
        return None
    return f"{func.__name__}-1"


def _unique_name(
    name: str,
    taken: Collection[str],
    is_named: bool,
) -> str:
    """Return a name that no other stage has; raise UsageError where the user gave it."""
    if name not in taken:
        return name
    if is_named:
        raise UsageError(f"two stages are named {name!r}: give them different names")
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    return f"{name}-{number}"


def passed(stage: Stage, evaluation: Evaluation, direction: Direction) -> bool:
    """Return whether x may go on after this stage."""
    if evaluation.score is None:
        return False
    if stage.threshold is None:
        return True
    return direction.reaches(evaluation.score, stage.threshold)


def stopped(stage: Stage, evaluation: Evaluation) -> Evaluation:
    """Return the evaluation of an x that failed a stage before the last: no score, and why."""
    status = evaluation.status if evaluation.score is None else Status.FAILED
    missed = _missed(stage, evaluation)
    return replace(
        evaluation,
        status=status,
        score=None,
        feedback=f"x did not pass the stage {stage.title!r}{missed}:\n{evaluation.feedback}",
        metrics=_metrics_of(stage, evaluation),
        instances={},
        stage=stage.title,
    )


def ended(stage: Stage, evaluation: Evaluation, direction: Direction) -> Evaluation:
    """Return the evaluation of an x at the last of several stages.

    Its score stands, also where it misses the threshold; the feedback says so then.
    """
    if passed(stage, evaluation, direction):
        return evaluation
    if evaluation.score is None:
        return replace(evaluation, stage=evaluation.stage or stage.title)
    note = f"(stage {stage.title!r}{_missed(stage, evaluation)})"
    feedback = f"{evaluation.feedback}\n{note}".lstrip("\n")
    return replace(evaluation, feedback=feedback, stage=stage.title)


def _missed(stage: Stage, evaluation: Evaluation) -> str:
    """Return that a score misses the threshold; nothing where there is no score or threshold."""
    if evaluation.score is None or stage.threshold is None:
        return ""
    score = show_number(evaluation.score, [stage.threshold])
    threshold = show_number(stage.threshold, [evaluation.score])
    side = "below" if evaluation.score < stage.threshold else "above"
    return f" (score {score}, {side} {threshold})"


def after(
    earlier: Sequence[tuple[Stage, Evaluation]], evaluation: Evaluation
) -> Evaluation:
    """Return an evaluation with the time, output and metrics of the stages before it."""
    metrics: dict[str, float] = {}
    outputs: list[str] = []
    seconds: list[float] = []
    for stage, before in earlier:
        metrics |= _metrics_of(stage, before)
        outputs.append(before.output)
        seconds.append(before.seconds)
    outputs.append(evaluation.output)
    seconds.append(evaluation.seconds)
    output = "\n".join(filter(None, outputs))
    return replace(
        evaluation,
        metrics={**metrics, **evaluation.metrics},
        output=clip(output, MAX_OUTPUT_CHARS),
        seconds=math.fsum(seconds),
    )


def _metrics_of(stage: Stage, evaluation: Evaluation) -> dict[str, float]:
    """Return the score and the metrics of an earlier stage, under its name."""
    metrics: dict[str, float] = {}
    if evaluation.score is not None:
        metrics[f"{stage.title}.score"] = evaluation.score
    for name, value in evaluation.metrics.items():
        metrics[f"{stage.title}.{name}"] = value
    return metrics


# The stage before all others: no sandbox is needed to see that x does not compile.


def check_syntax(x: X, parent: X | None) -> Evaluation | None:
    """Return the failure of an x that does not compile though its parent does; None for others.

    In a dict of named texts each part is compared with the parent's of the same name.
    """
    problem = ""
    if isinstance(x, str) and isinstance(parent, str):
        problem = _problem(x, parent)
    elif isinstance(x, dict) and isinstance(parent, dict):
        for name, part in x.items():
            problem = _problem(part, parent.get(name))
            if problem:
                problem = f"{name}, {problem}"
                break
    if not problem:
        return None
    feedback = f"x did not pass the stage {SYNTAX!r}: it is not valid Python: {problem}"
    return Evaluation(Status.FAILED, None, feedback, stage=SYNTAX, scorings=0)


def _problem(text: Any, model: Any) -> str:
    """Return why a text does not compile, if the text that it was made from does; else nothing."""
    if not isinstance(text, str) or not isinstance(model, str):
        return ""
    if text == model:
        return ""
    if not is_python(model) or _syntax_error(model):
        return ""
    return _syntax_error(text)


def _syntax_error(text: str) -> str:
    try:
        with warnings.catch_warnings():
            # Warnings are about the candidate's code, and for the candidate.
            warnings.simplefilter("ignore")
            compile(text, "<x>", "exec", dont_inherit=True)
    except SyntaxError as error:
        message = f"line {error.lineno}: {error.msg}"
        line = (error.text or "").strip()
        if line:
            message += f"\n    {line[:_MAX_LINE_CHARS]}"
        return message
    except ValueError as error:  # a zero byte, a lone surrogate
        return f"{error}"
    except (RecursionError, MemoryError, OverflowError):
        return ""  # too deep for this process; f will see
    return ""
