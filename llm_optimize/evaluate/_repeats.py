"""Repeats: a noisy f is asked again where it matters, and the mean counts."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from ..errors import UsageError
from ..records import Evaluation, Status
from ._format_3 import (
    FAILED_SCORINGS,
    Mean,
    is_of_format_3,
    spoilt_by,
    together_as_format_3,
)


@dataclass(frozen=True)
class Repeats:
    """How a noisy f is asked more than once.

    Args:
        n: scorings of one x, at most; at least 2.
        champion: True scores again only a challenger that beats the champion, and the champion with it, before it is
            crowned; False scores every x n times.

    Raises UsageError for fewer than two scorings.
    """

    n: int = 3
    champion: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.n, bool) or not isinstance(self.n, int) or self.n < 2:
            raise UsageError(
                f"repeats: n is {self.n!r}, give a whole number of scorings, at least 2"
            )

    def seeds(self, seed: int, known: Evaluation) -> list[int]:
        """Return a seed for each scoring that is missing until there are n; `seed` is the trial's.

        >>> known = Evaluation(Status.COMPLETE, 1.0, "")
        >>> len(Repeats(3).seeds(7, known)), Repeats(3).seeds(7, replace(known, scorings=3))
        (2, [])
        """
        return [
            Random(f"{seed}/repeat/{number}").getrandbits(32)
            for number in range(known.scorings, self.n)
        ]


def mean_of(scores: Sequence[float]) -> Mean:
    """Return the mean of finite numbers, however large or small.

    They are scaled by a power of two, which changes no digit, so that no sum of large ones overflows and no square of
    small ones vanishes.

    Raises UsageError when there is no score at all.

    >>> mean_of([1.0, 2.0, 3.0]).value
    2.0
    """
    if not scores:
        raise UsageError("no scores: there is no mean of nothing")
    exponent = math.frexp(max(map(abs, scores)))[1]
    scaled = [math.ldexp(score, -exponent) for score in scores]
    value = math.ldexp(statistics.mean(scaled), exponent)
    if len(scores) == 1:
        return Mean(value, None, 1)
    error = math.sqrt(statistics.variance(scaled) / len(scaled))
    largest = max(
        map(abs, scaled)
    )  # which rounding must not exceed: it may be the largest float there is
    return Mean(value, math.ldexp(min(error, largest), exponent), len(scores))


def together(known: Evaluation, new: Sequence[Evaluation]) -> Evaluation:
    """Return what is known of an x after further scorings of it.

    Its score is the mean of the scorings that gave one; the others are shown in the metric "failed_scorings", too. An x
    without a score in more than half of its scorings has failed, and so has one with an impossible score among them.
    """
    if is_of_format_3(known):
        return together_as_format_3(known, new)
    scorings = known.scorings + len(new)
    seconds = math.fsum([known.seconds, *(one.seconds for one in new)])
    scores = (*_scores_of(known), *(one.score for one in new if one.score is not None))
    failed = scorings - len(scores)
    spoilt = spoilt_by(new, failed, scorings)
    if spoilt is not None:
        return replace(spoilt, scorings=scorings, scores=scores, seconds=seconds)
    mean = mean_of(scores)
    return replace(
        known,
        score=mean.value,
        standard_error=mean.standard_error,
        metrics={
            **known.metrics,
            **({FAILED_SCORINGS: float(failed)} if failed else {}),
        },
        seconds=seconds,
        scorings=scorings,
        scores=scores,
    )


def _scores_of(known: Evaluation) -> tuple[float, ...]:
    """Return the score of each scoring; none where f was not called for this x, whose verdict is another trial's."""
    if known.scorings == 0 or known.score is None:
        return ()
    return known.scores or (known.score,)


def can_be_scored_again(known: Evaluation) -> None:
    """Raise UsageError where there is no score to add to."""
    if known.status is not Status.COMPLETE or known.score is None:
        raise UsageError(
            f"a trial that is {known.status} has no score: only a complete one can be scored again"
        )
