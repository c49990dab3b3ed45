"""Examples: f is f(x, example), and the score of x is the mean over the examples.

`Examples` is what the user gives. The functions turn the evaluations of x on single examples into
one evaluation; they call nothing. `challenge` decides which examples x is scored on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ..checks import is_whole_number
from ..errors import UsageError
from ..records import Direction, Evaluation, Status
from ..text import clip, show_number
from .evaluation import MAX_FEEDBACK_CHARS, MAX_OUTPUT_CHARS, MINIBATCH

TRAIN, VAL, TEST = "train", "val", "test"
_SHOWN = 5  # examples in the feedback
_MAX_EXAMPLE_CHARS = 2_500  # of one example's feedback, there
_LARGE = 1e300  # scores whose sum may overflow


@dataclass(frozen=True, eq=False)
class Examples:
    """What f(x, example) is called on; the score of x is its mean over `val`.

    Each part is a sequence (a list, an array) of plain data or numpy arrays.

    Args:
        train: examples whose feedback the model may read, and of which minibatches are drawn.
        val: examples that decide; their feedback is never shown. None: those of `train`, which then
            decide and are shown.
        test: examples for the very end, for x0 and the best; nothing reads them before. None: there
            are none.
        minibatch: a challenger is scored on so many examples of `train` first, and on all of `val`
            only when it beats its parent on them. None: each is scored on all at once.

    Raises:
        UsageError: a part is empty or no sequence, or the minibatch is below 1.

    >>> len(Examples([("1 + 1", "2"), ("2 + 2", "4")]).train)
    2
    """

    train: Sequence[Any]
    val: Sequence[Any] | None = None
    test: Sequence[Any] | None = None
    minibatch: int | None = 3

    def __post_init__(self) -> None:
        for name in (TRAIN, VAL, TEST):
            examples = getattr(self, name)
            if examples is not None:
                object.__setattr__(self, name, _as_tuple(name, examples))
            elif name == TRAIN:
                raise UsageError("examples: train is None, give at least one example")
        size = self.minibatch
        if size is None:
            return
        if not is_whole_number(size) or size < 1:
            raise UsageError(
                f"examples: minibatch is {size!r}, give at least 1, or None for none"
            )

    @property
    def deciding(self) -> str:
        """The name of the part whose mean is the score."""
        return TRAIN if self.val is None else VAL

    def size(self, part: str) -> int:
        """Return how many examples a part has."""
        return len(getattr(self, part) or ())

    def chosen(self, seed: int) -> list[int]:
        """Return the indices of a trial's minibatch, by its seed; none where it has none."""
        number = self.size(TRAIN)
        size = self.minibatch
        if size is None or (self.deciding == TRAIN and size >= number):
            return []
        rng = Random(f"{seed}/minibatch")
        drawn = rng.sample(range(number), min(size, number))
        return sorted(drawn)


def _as_tuple(name: str, examples: Any) -> tuple[Any, ...]:
    is_sequence = hasattr(examples, "__len__") and hasattr(examples, "__getitem__")
    # A data frame iterates over its columns, a mapping over its keys: neither is meant.
    is_table = hasattr(examples, "columns") or isinstance(examples, Mapping)
    if not is_sequence or is_table or isinstance(examples, str | bytes):
        raise UsageError(
            f"examples: {name} is a {type(examples).__name__}, give a list of examples"
        )
    if not len(examples):
        raise UsageError(
            f"examples: {name} is empty, give at least one example, or None"
        )
    return tuple(examples)


def seed_of(seed: int, part: str, index: int) -> int:
    """Return the seed of the scoring of a trial on one example."""
    return Random(f"{seed}/{part}/{index}").getrandbits(32)


def mean(scores: Iterable[float]) -> float:
    """Return the mean of finite numbers, however large."""
    values = list(scores)
    if max(map(abs, values)) > _LARGE:
        return math.fsum(value / len(values) for value in values)
    return math.fsum(values) / len(values)


@dataclass(frozen=True)
class Scored:
    """Evaluations of x on examples of one part; where one gave no score, others may be missing."""

    part: str
    by_index: Mapping[int, Evaluation]  # in the order of the indices
    calls: int  # of f, with those that were ended because another gave no score

    @property
    def evaluations(self) -> Collection[Evaluation]:
        """The evaluations in the order of the indices."""
        return self.by_index.values()

    @property
    def failed(self) -> tuple[int, Evaluation] | None:
        """The first example without a score."""
        for index, one in self.by_index.items():
            if one.score is None:
                return index, one
        return None

    @property
    def scores(self) -> dict[int, float]:
        """The scores by index."""
        scores: dict[int, float] = {}
        for index, one in self.by_index.items():
            if one.score is not None:
                scores[index] = one.score
        return scores

    def __add__(self, other: Scored) -> Scored:
        merged = {**self.by_index, **other.by_index}
        in_order = dict(sorted(merged.items()))
        return Scored(self.part, in_order, self.calls + other.calls)


def worst(scored: Scored, direction: Direction, how_many: int = _SHOWN) -> str:
    """Return the feedback of the examples with the worst scores; equal feedback only once."""

    def by_score(item: tuple[int, Evaluation]) -> tuple[bool, float]:
        score = item[1].score
        return (score is not None, direction.turned(score or 0.0))

    lines: dict[str, str] = {}  # by feedback
    worst_first = sorted(scored.by_index.items(), key=by_score)
    for index, one in worst_first:
        if one.feedback in lines or len(lines) >= how_many:
            continue
        shown = "without a score"
        if one.score is not None:
            shown = f"score {show_number(one.score)}"
        feedback = clip(one.feedback, _MAX_EXAMPLE_CHARS)
        lines[one.feedback] = f"Example {index} ({shown}): {feedback}"
    return "\n".join(lines.values())


def outputs(scored: Scored) -> str:
    """Return what f printed for those examples."""
    printed = [one.output for one in scored.evaluations]
    text = "\n".join(filter(None, printed))
    return clip(text, MAX_OUTPUT_CHARS)


def seconds(*parts: Scored) -> float:
    """Return the wall clock of all calls together."""
    calls = []
    for scored in parts:
        calls += [one.seconds for one in scored.evaluations]
    return math.fsum(calls)


def broken(scored: Scored, shown: bool, stage: str = "") -> Evaluation:
    """Return the evaluation of an x without a score on one example: it has none at all.

    Where the examples are not `shown`, the model learns that much and no word of f's.
    """
    index, evaluation = scored.failed or (-1, Evaluation(Status.FAILED, None, ""))
    if shown:
        feedback = (
            f"No score on example {index}, and so none at all:\n{evaluation.feedback}"
        )
    else:
        feedback = (
            f"No score on one of the validation examples ({evaluation.status}), "
            "and so none at all"
        )
    return replace(
        evaluation,
        feedback=clip(feedback, MAX_FEEDBACK_CHARS),
        output=outputs(scored) if shown else "",
        metrics={},
        seconds=seconds(scored),
        stage=evaluation.stage or stage,
        scorings=scored.calls,
    )


def rejected(
    tried: Scored, parent: float, calls: int, direction: Direction
) -> Evaluation:
    """Return the evaluation of an x that was no better than its parent on a minibatch."""
    indices = ", ".join(map(str, tried.scores))
    own = mean(tried.scores.values())
    own_shown = show_number(own, [parent])
    parent_shown = show_number(parent, [own])
    feedback = (
        f"Not scored on all examples: on some of them ({indices}) the mean is {own_shown}, "
        f"and that of the parent {parent_shown}.\n{worst(tried, direction)}"
    )
    return Evaluation(
        Status.FAILED,
        None,
        clip(feedback, MAX_FEEDBACK_CHARS),
        output=outputs(tried),
        seconds=seconds(tried),
        stage=MINIBATCH,
        scorings=calls,
    )


def summed_up(
    deciding: Scored,
    shown: Scored | None,
    calls: int,
    direction: Direction,
) -> Evaluation:
    """Return the evaluation of an x with a score on each deciding example.

    Args:
        deciding: the examples that the mean is of.
        shown: the examples that the model may read about; None: none.
        calls: of f.
        direction: whether a higher or a lower score is better.
    """
    score = mean(deciding.scores.values())
    number = len(deciding.scores)
    shown_score = show_number(score)
    feedback = f"Mean of {number} {deciding.part} examples: {shown_score}."
    output = ""
    total_seconds = seconds(deciding)
    if shown is not None:
        feedback = "\n".join(filter(None, [feedback, worst(shown, direction)]))
        output = outputs(shown)
        if shown.part != deciding.part:
            total_seconds = seconds(shown, deciding)
    return Evaluation(
        Status.COMPLETE,
        score,
        clip(feedback, MAX_FEEDBACK_CHARS),
        _means(deciding),
        {str(index): one for index, one in deciding.scores.items()},
        output,
        total_seconds,
        scorings=calls,
    )


def _means(scored: Scored) -> dict[str, float]:
    """Return the mean of each metric that every example has."""
    all_metrics = [one.metrics for one in scored.evaluations]
    means: dict[str, float] = {}
    for name in all_metrics[0]:
        if all(name in metrics for metrics in all_metrics):
            means[name] = mean(metrics[name] for metrics in all_metrics)
    return means
