"""Stages: cheap functions first; an x that fails one is not scored further."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from ..identity import is_python
from ..records import Evaluation, Status, X
from ..text import clip, show_number
from ._evaluation import IMPOSSIBLE, MINIBATCH, SYNTAX
from ._score import MAX_OUTPUT_CHARS

_RESERVED = (SYNTAX, MINIBATCH, IMPOSSIBLE)
_MAX_LINE_CHARS = 200  # of x, in a message


@dataclass(frozen=True)
class Stage:
    """One of several scoring functions.

    Args:
        func: f(x), as for a run.
        threshold: the lowest score that passes; None: any score does.
        name: for reports; None takes the function's.
        timeout_secs: wall clock of one call; None takes that of the run.

    Raises UsageError for what cannot be.

    >>> Stage(len, threshold=3).name
    'len'
    """

    func: Callable[..., Any]
    threshold: float | None = None
    name: str | None = None
    timeout_secs: float | None = None

    def __post_init__(self) -> None:
        if not callable(self.func):
            raise UsageError(
                f"a stage is {self.func!r}: give a function, (function, threshold) or a Stage"
            )
        if self.name is None:
            object.__setattr__(
                self, "name", getattr(self.func, "__name__", type(self.func).__name__)
            )
        if not isinstance(self.name, str) or not self.name or self.name in _RESERVED:
            raise UsageError(
                f"a stage cannot be named {self.name!r}: give it a name besides {', '.join(_RESERVED)}"
            )
        if self.threshold is not None and not _is_number(self.threshold):
            raise UsageError(
                f"the threshold of stage {self.name!r} is {self.threshold!r}: give a number, or None"
            )
        if self.timeout_secs is not None and not (
            _is_number(self.timeout_secs) and self.timeout_secs > 0
        ):
            raise UsageError(
                f"the timeout_secs of stage {self.name!r} is {self.timeout_secs!r}: give more than 0"
            )

    @property
    def title(self) -> str:
        """Its name, which is never None."""
        return str(self.name)


def _is_number(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not math.isnan(value)
    )


def as_stages(func: Any) -> tuple[Stage, ...]:
    """Return the stages that a user gave: a function, a Stage, or a sequence of functions, pairs and Stages.

    Raises UsageError for anything else, and for two stages of one name that both were given it.

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
        return (Stage(func, name=_safe_name(func)),)
    if not func:
        raise UsageError("func is an empty sequence: give at least one stage")
    stages: list[Stage] = []
    for one in func:
        stage = _as_stage(one)
        given = isinstance(one, Stage) and one.name != getattr(
            one.func, "__name__", None
        )
        stages.append(
            replace(
                stage,
                name=_new_name(stage.title, [known.title for known in stages], given),
            )
        )
    return tuple(stages)


def _as_stage(one: Any) -> Stage:
    if isinstance(one, Stage):
        return one
    if isinstance(one, list | tuple):
        if len(one) != 2:
            raise UsageError(
                f"a stage is {one!r}: give a function, (function, threshold) or a Stage"
            )
        return Stage(one[0], one[1], name=_safe_name(one[0]))
    return Stage(one, name=_safe_name(one))


def _safe_name(func: Any) -> str | None:
    """Return another name for a function whose own means something else here, None where it may keep it."""
    return f"{func.__name__}-1" if getattr(func, "__name__", "") in _RESERVED else None


def _new_name(name: str, taken: Collection[str], given: bool) -> str:
    if name not in taken:
        return name
    if given:
        raise UsageError(f"two stages are named {name!r}: name them apart")
    return next(
        new
        for number in range(2, len(taken) + 3)
        if (new := f"{name}-{number}") not in taken
    )


def passed(stage: Stage, evaluation: Evaluation) -> bool:
    """Return whether x may go on after this stage."""
    return evaluation.score is not None and (
        stage.threshold is None or evaluation.score >= stage.threshold
    )


def stopped(stage: Stage, evaluation: Evaluation) -> Evaluation:
    """Return what is said of an x that did not pass a stage before the last: no score, and why."""
    status = evaluation.status if evaluation.score is None else Status.FAILED
    return replace(
        evaluation,
        status=status,
        score=None,
        feedback=f"x did not pass the stage {stage.title!r}{_below(stage, evaluation)}:\n{evaluation.feedback}",
        metrics=_metrics_of(stage, evaluation),
        instances={},
        stage=stage.title,
    )


def ended(stage: Stage, evaluation: Evaluation) -> Evaluation:
    """Return what is said of an x at the last of several stages: its score stands, and whether it is below."""
    if passed(stage, evaluation):
        return evaluation
    if evaluation.score is None:
        return replace(evaluation, stage=evaluation.stage or stage.title)
    said = f"{evaluation.feedback}\n(stage {stage.title!r}{_below(stage, evaluation)})".lstrip(
        "\n"
    )
    return replace(evaluation, feedback=said, stage=stage.title)


def _below(stage: Stage, evaluation: Evaluation) -> str:
    if evaluation.score is None or stage.threshold is None:
        return ""
    score = show_number(evaluation.score, [stage.threshold])
    return f" (score {score}, below {show_number(stage.threshold, [evaluation.score])})"


def after(
    earlier: Sequence[tuple[Stage, Evaluation]], evaluation: Evaluation
) -> Evaluation:
    """Add to what a stage said what the stages before it took, printed and measured."""
    metrics: dict[str, float] = {}
    for stage, before in earlier:
        metrics |= _metrics_of(stage, before)
    everything = [*(before for _, before in earlier), evaluation]
    output = "\n".join(filter(None, (one.output for one in everything)))
    return replace(
        evaluation,
        metrics={**metrics, **evaluation.metrics},
        output=clip(output, MAX_OUTPUT_CHARS),
        seconds=math.fsum(one.seconds for one in everything),
    )


def _metrics_of(stage: Stage, evaluation: Evaluation) -> dict[str, float]:
    """Return the score and the metrics of an earlier stage, under its name."""
    score = {} if evaluation.score is None else {"score": evaluation.score}
    return {
        f"{stage.title}.{name}": value
        for name, value in {**score, **evaluation.metrics}.items()
    }


# The stage before all others: no sandbox is needed to see that x does not compile.


def check_syntax(x: X, parent: X | None) -> Evaluation | None:
    """Return the failure of an x that is to be Python, as its parent is, and does not compile; None for all others.

    In a dict of named texts each part is compared with the parent's of the same name.
    """
    if isinstance(x, str) and isinstance(parent, str):
        said = _problem(x, parent)
    elif isinstance(x, dict) and isinstance(parent, dict):
        problems = (
            (name, _problem(part, parent.get(name))) for name, part in x.items()
        )
        said = next((f"{name}, {problem}" for name, problem in problems if problem), "")
    else:
        return None
    if not said:
        return None
    feedback = f"x did not pass the stage {SYNTAX!r}: it is no valid Python: {said}"
    return Evaluation(Status.FAILED, None, feedback, stage=SYNTAX, scorings=0)


def _problem(text: Any, model: Any) -> str:
    """Return why a text does not compile, where the text that it was made from does; else nothing."""
    if not isinstance(text, str) or not isinstance(model, str) or text == model:
        return ""
    return _fault(text) if is_python(model) and not _fault(model) else ""


def _fault(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of the candidate's code, for the candidate
            compile(text, "<x>", "exec", dont_inherit=True)
    except SyntaxError as error:
        line = (error.text or "").strip()[:_MAX_LINE_CHARS]
        return f"line {error.lineno}: {error.msg}" + (f"\n    {line}" if line else "")
    except ValueError as error:  # a zero byte, a lone surrogate
        return f"{error}"
    except (RecursionError, MemoryError, OverflowError):
        return ""  # too deep for this process; f will see
    return ""
