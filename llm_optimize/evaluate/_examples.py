"""Examples: f is f(x, example), the score is the mean; the record, and what is said of many scorings: pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ..errors import UsageError
from ..records import Evaluation, Status
from ..text import clip, show_number
from ._evaluation import MINIBATCH
from ._score import MAX_FEEDBACK_CHARS, MAX_OUTPUT_CHARS

_SHOWN = 5  # examples in the feedback
_MAX_ONE_CHARS = 2_500  # of one example's feedback, there
TRAIN, VAL, TEST = "train", "val", "test"


@dataclass(frozen=True, eq=False)
class Examples:
    """What f(x, example) is called on; the score of x is its mean over `val`.

    Args:
        train: examples whose feedback the model may read, and of which minibatches are drawn.
        val: examples that decide; their feedback is never shown. None: those of `train`, which then decide and are
            shown.
        test: examples for the very end, for x0 and the best; nobody sees them before. None: there are none.
        minibatch: a challenger is scored on so many examples of `train` first, and on all of `val` only when it beats
            its parent on them. None: each is scored on all at once.

    Each is a sequence (a list, an array) of plain data or numpy arrays. Raises UsageError for what cannot be.

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
        if size is not None and (
            isinstance(size, bool) or not isinstance(size, int) or size < 1
        ):
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
        """Return the indices of the minibatch of a trial, by its seed; none where all are scored at once."""
        number = self.size(TRAIN)
        if self.minibatch is None or (
            self.deciding == TRAIN and self.minibatch >= number
        ):
            return []
        return sorted(
            Random(f"{seed}/minibatch").sample(
                range(number), min(self.minibatch, number)
            )
        )


def _as_tuple(name: str, examples: Any) -> tuple[Any, ...]:
    is_sequence = hasattr(examples, "__len__") and hasattr(examples, "__getitem__")
    if (
        not is_sequence
        or isinstance(examples, str | bytes | Mapping)
        or hasattr(examples, "columns")
    ):
        raise UsageError(
            f"examples: {name} is a {type(examples).__name__}, give a list of examples"
        )
    if not len(examples):
        raise UsageError(
            f"examples: {name} is empty, give at least one example, or None"
        )
    return tuple(examples)


def seed_of(seed: int, part: str, index: int) -> int:
    """Return the seed of one scoring of a trial."""
    return Random(f"{seed}/{part}/{index}").getrandbits(32)


def mean(scores: Iterable[float]) -> float:
    """Return the mean of finite numbers, however large."""
    values = list(scores)
    return (
        math.fsum(value / len(values) for value in values)
        if _large(values)
        else math.fsum(values) / len(values)
    )


def _large(values: Sequence[float]) -> bool:
    return max(map(abs, values)) > 1e300


@dataclass(frozen=True)
class Scored:
    """What f said of x on some examples of one part; when one gave no score, the others may be missing."""

    part: str
    by_index: Mapping[int, Evaluation]  # in the order of the indices
    calls: int  # of f, with those that were ended because another gave no score

    @property
    def failed(self) -> tuple[int, Evaluation] | None:
        """The first example without a score."""
        return next(
            ((index, one) for index, one in self.by_index.items() if one.score is None),
            None,
        )

    @property
    def scores(self) -> dict[int, float]:
        """The scores by index."""
        return {
            index: one.score
            for index, one in self.by_index.items()
            if one.score is not None
        }

    def __add__(self, other: Scored) -> Scored:
        merged = dict(sorted({**self.by_index, **other.by_index}.items()))
        return Scored(self.part, merged, self.calls + other.calls)


def worst(scored: Scored, how_many: int = _SHOWN) -> str:
    """Return the feedback of the examples with the lowest scores, those that say the same once."""
    found: dict[str, str] = {}
    for index, one in sorted(
        scored.by_index.items(),
        key=lambda item: (item[1].score is not None, item[1].score or 0.0),
    ):
        if one.feedback not in found and len(found) < how_many:
            number = (
                "without a score"
                if one.score is None
                else f"score {show_number(one.score)}"
            )
            found[one.feedback] = (
                f"Example {index} ({number}): {clip(one.feedback, _MAX_ONE_CHARS)}"
            )
    return "\n".join(found.values())


def outputs(*parts: Scored) -> str:
    """Return what f printed for those examples."""
    printed = (one.output for scored in parts for one in scored.by_index.values())
    return clip("\n".join(filter(None, printed)), MAX_OUTPUT_CHARS)


def seconds(*parts: Scored) -> float:
    """Return the wall clock of all calls together."""
    return math.fsum(
        one.seconds for scored in parts for one in scored.by_index.values()
    )


def broken(scored: Scored, shown: bool, stage: str = "") -> Evaluation:
    """Return what is said of an x without a score on one example: it has none at all.

    Where the examples are not `shown`, the model is told that much and no word of f's.
    """
    index, evaluation = scored.failed or (-1, Evaluation(Status.FAILED, None, ""))
    if shown:
        said = (
            f"No score on example {index}, and so none at all:\n{evaluation.feedback}"
        )
    else:
        said = f"No score on one of the validation examples ({evaluation.status}), and so none at all"
    return replace(
        evaluation,
        feedback=clip(said, MAX_FEEDBACK_CHARS),
        output=outputs(scored) if shown else "",
        metrics={},
        seconds=seconds(scored),
        stage=evaluation.stage or stage,
        scorings=scored.calls,
    )


def rejected(tried: Scored, parent: float, calls: int) -> Evaluation:
    """Return what is said of an x that was no better than its parent on a minibatch."""
    shown = ", ".join(map(str, tried.scores))
    own = mean(tried.scores.values())
    said = (
        f"Not scored on all examples: on some of them ({shown}) the mean is {show_number(own, [parent])}, and that of "
        f"the parent {show_number(parent, [own])}.\n{worst(tried)}"
    )
    return Evaluation(
        Status.FAILED,
        None,
        clip(said, MAX_FEEDBACK_CHARS),
        output=outputs(tried),
        seconds=seconds(tried),
        stage=MINIBATCH,
        scorings=calls,
    )


def summed_up(deciding: Scored, shown: Scored | None, calls: int) -> Evaluation:
    """Return the evaluation of an x with a score on each deciding example; `shown` is what the model may read of."""
    score = mean(deciding.scores.values())
    feedback = f"Mean of {len(deciding.scores)} {deciding.part} examples: {show_number(score)}."
    parts = (
        [deciding]
        if shown is None or shown.part == deciding.part
        else [shown, deciding]
    )
    return Evaluation(
        Status.COMPLETE,
        score,
        clip(
            "\n".join(filter(None, [feedback, worst(shown) if shown else ""])),
            MAX_FEEDBACK_CHARS,
        ),
        _means(deciding),
        {str(index): one for index, one in deciding.scores.items()},
        outputs(shown) if shown else "",
        seconds(*parts),
        scorings=calls,
    )


def _means(scored: Scored) -> dict[str, float]:
    """Return the mean of each metric that every example has."""
    everything = [one.metrics for one in scored.by_index.values()]
    shared = [
        name for name in everything[0] if all(name in metrics for metrics in everything)
    ]
    return {name: mean(metrics[name] for metrics in everything) for name in shared}
