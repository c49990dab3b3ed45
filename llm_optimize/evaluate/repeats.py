"""Repeats: a noisy f is called again where it matters, and the mean of the scores counts.

Since format 4 of the store the score of each scoring is kept, and a mean is computed from all of
them. Trials of older stores have only the mean, its standard error and the number of scorings; the
second half of this file adds further scorings to those.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from ..checks import is_whole_number
from ..errors import OptionName, UsageError
from ..records import Evaluation, Status
from .evaluation import IMPOSSIBLE

_FAILED_SCORINGS = "failed_scorings"  # the metric that counts scorings without a score


@dataclass(frozen=True)
class Repeats:
    """How a noisy f is called more than once.

    Args:
        n: scorings of one x, at most; at least 2.
        champion: True scores again only a challenger that beats the champion, and the champion with
            it, before it takes its place; False scores every x n times.

    Raises:
        UsageError: n is below 2, or no whole number.
    """

    n: int = 3
    champion: bool = True

    def __post_init__(self) -> None:
        if not is_whole_number(self.n) or self.n < 2:
            raise UsageError(
                OptionName("repeats"),
                f" is {self.n!r}: give a whole number of scorings, at least 2",
            )

    def seeds(self, seed: int, known: Evaluation) -> list[int]:
        """Return a seed for each scoring that is missing until there are n.

        Args:
            seed: of the trial.
            known: the scorings so far.

        >>> known = Evaluation(Status.COMPLETE, 1.0, "")
        >>> len(Repeats(3).seeds(7, known)), Repeats(3).seeds(7, replace(known, scorings=3))
        (2, [])
        """
        seeds = []
        for number in range(known.scorings, self.n):
            rng = Random(f"{seed}/repeat/{number}")
            seeds.append(rng.getrandbits(32))
        return seeds


@dataclass(frozen=True)
class Mean:
    """The mean of some scores."""

    value: float
    # Of the mean: sample standard deviation / sqrt(number); None for a single score.
    standard_error: float | None
    number: int


def mean_of(scores: Sequence[float]) -> Mean:
    """Return the mean of finite numbers, however large or small.

    They are scaled by a power of two, which changes no digit, so that no sum of large ones
    overflows and no square of small ones vanishes.

    Raises:
        UsageError: there is no score at all.

    >>> mean_of([1.0, 2.0, 3.0]).value
    2.0
    """
    if not scores:
        raise UsageError("no scores: there is no mean of nothing")
    largest = max(map(abs, scores))
    _, exponent = math.frexp(largest)
    scaled = [math.ldexp(score, -exponent) for score in scores]
    value = math.ldexp(statistics.mean(scaled), exponent)
    number = len(scores)
    if number == 1:
        return Mean(value, None, 1)
    error = math.sqrt(statistics.variance(scaled) / number)
    # Rounding must not exceed the largest score: it may be the largest float there is.
    error = min(error, math.ldexp(largest, -exponent))
    return Mean(value, math.ldexp(error, exponent), number)


def together(known: Evaluation, new: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation of an x after further scorings of it.

    Its score is the mean of the scorings that gave one; the others are counted in the metric
    "failed_scorings", too. An x without a score in more than half of its scorings has failed, and
    so has one with an impossible score among them.
    """
    has_single_scores = known.scorings <= 1 or bool(known.scores)
    if known.score is not None and not has_single_scores:
        return _together_as_format_3(known, new)
    scorings = known.scorings + len(new)
    seconds = _total_seconds(known, *new)
    scores: tuple[float, ...] = ()
    if (
        known.scorings > 0 and known.score is not None
    ):  # else another trial's was reused
        scores = known.scores or (known.score,)
    scores += tuple(_new_scores(new))
    failed = scorings - len(scores)
    spoilt = _spoilt_by(new, failed, scorings)
    if spoilt is not None:
        return replace(spoilt, scorings=scorings, scores=scores, seconds=seconds)
    mean = mean_of(scores)
    return replace(
        known,
        score=mean.value,
        standard_error=mean.standard_error,
        metrics=_with_failed(known, failed),
        seconds=seconds,
        scorings=scorings,
        scores=scores,
    )


def _new_scores(new: Sequence[Evaluation]) -> list[float]:
    return [one.score for one in new if one.score is not None]


def _total_seconds(*evaluations: Evaluation) -> float:
    return math.fsum(evaluation.seconds for evaluation in evaluations)


def _with_failed(known: Evaluation, failed: int) -> dict[str, float]:
    """Return the metrics with the number of failed scorings, if there are any."""
    metrics = dict(known.metrics)
    if failed:
        metrics[_FAILED_SCORINGS] = float(failed)
    return metrics


def _spoilt_by(
    new: Sequence[Evaluation], failed: int, scorings: int
) -> Evaluation | None:
    """Return why an x has no score after all: one is impossible, or most are missing; else None."""
    bad = [one for one in new if one.score is None]
    for one in bad:
        if one.stage == IMPOSSIBLE:
            return one
    if not bad or 2 * failed <= scorings:
        return None
    last = bad[-1]
    feedback = f"no score in {failed} of {scorings} scorings; in the last of these:"
    feedback += f"\n{last.feedback}"
    return replace(last, feedback=feedback)


def check_has_score(known: Evaluation) -> None:
    """Raise UsageError where there is no score that further scorings could be added to."""
    if known.status is not Status.COMPLETE or known.score is None:
        raise UsageError(
            f"a trial that is {known.status} has no score: only a complete one can be scored again"
        )


# Trials that were scored again in a store of format 3 or older: only their mean is known.


def _together_as_format_3(known: Evaluation, new: Sequence[Evaluation]) -> Evaluation:
    """Return the evaluation of such an x after further scorings, as before format 4.

    The number of failed scorings is in a metric, and the summary of the scorings is the last line
    of the feedback. That line is replaced where it is, letter by letter, the summary of the mean.
    """
    scorings = known.scorings + len(new)
    seconds = _total_seconds(known, *new)
    failed_before = round(known.metrics.get(_FAILED_SCORINGS, 0))
    scores = _new_scores(new)
    failed = failed_before + len(new) - len(scores)
    spoilt = _spoilt_by(new, failed, scorings)
    if spoilt is not None:
        return replace(spoilt, scorings=scorings, seconds=seconds)
    number = known.scorings - failed_before
    before = Mean(known.score or 0.0, known.standard_error, number)
    mean = _pooled(before, scores)
    feedback = known.feedback
    old_summary = _summary(before, failed_before)
    if old_summary and feedback.endswith(old_summary):
        feedback = feedback.removesuffix(old_summary).removesuffix("\n")
    return replace(
        known,
        score=mean.value,
        standard_error=mean.standard_error,
        feedback="\n".join(filter(None, [feedback, _summary(mean, failed)])),
        metrics=_with_failed(known, failed),
        seconds=seconds,
        scorings=scorings,
    )


def _summary(mean: Mean, failed: int) -> str:
    """Return the sentence that an evaluation with these scores has."""
    same = (mean.value,) * mean.number
    scorings = mean.number + failed
    evaluation = Evaluation(
        Status.COMPLETE,
        mean.value,
        scorings=scorings,
        scores=same,
        standard_error=mean.standard_error,
    )
    return evaluation.summary


def _pooled(known: Mean, scores: Sequence[float]) -> Mean:
    """Return the mean of known and new scores, as if it had been computed from all of them.

    With n old scores of mean a and k new ones of mean b, the mean is a + (b - a) k / (n + k).
    The sum of squared differences of all is that of the old ones, plus that of the new ones, plus
    (b - a)^2 n k / (n + k) (Chan, Golub and LeVeque, 1983). It is computed on numbers scaled by a
    power of two, and relative to the first new score, so that neither large numbers overflow nor a
    small spread around a large mean is lost.
    """
    if not scores:
        return known
    error = known.standard_error or 0.0
    largest = max(abs(known.value), error, *map(abs, scores))
    _, exponent = math.frexp(largest)
    before = math.ldexp(known.value, -exponent)
    error = math.ldexp(error, -exponent)
    first = math.ldexp(scores[0], -exponent)
    offsets = [math.ldexp(score, -exponent) - first for score in scores]
    n, k = known.number, len(offsets)
    number = n + k
    shift = math.fsum(offsets) / k
    difference = first + shift - before
    squares = [(offset - shift) ** 2 for offset in offsets]
    squares.append(error**2 * n * (n - 1))
    squares.append(difference**2 * n * k / number)
    variance = math.fsum(squares) / (number - 1)
    mean = math.ldexp(before + difference * k / number, exponent)
    error = math.ldexp(math.sqrt(variance / number), exponent)
    return Mean(mean, error, number)
