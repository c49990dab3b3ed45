"""Repeats: a noisy f is asked again where it matters, and the mean counts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from ..errors import UsageError
from ..records import Status
from ..text import show_number
from ._evaluation import IMPOSSIBLE, Evaluation

FAILED_SCORINGS = "failed_scorings"  # the metric that counts the scorings without a score
_SUMMARY = "mean of "  # begins the line that we add to feedback


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
            raise UsageError(f"repeats: n is {self.n!r}, give a whole number of scorings, at least 2")

    def seeds(self, seed: int, known: Evaluation) -> list[int]:
        """Return a seed for each scoring that is missing until there are n; `seed` is the trial's.

        >>> known = Evaluation(Status.COMPLETE, 1.0, "")
        >>> len(Repeats(3).seeds(7, known)), Repeats(3).seeds(7, replace(known, scorings=3))
        (2, [])
        """
        return [Random(f"{seed}/repeat/{number}").getrandbits(32) for number in range(known.scorings, self.n)]


@dataclass(frozen=True)
class Mean:
    """The mean of some scores."""

    value: float
    standard_error: float | None  # of the mean: sample standard deviation / sqrt(number); None for a single score
    number: int


def pooled(known: Mean | None, scores: Sequence[float]) -> Mean:
    """Return the mean of what is known and some new scores, as if it had been computed from all of them.

    The sums of squared differences are put together as in Chan, Golub and LeVeque (1983), on numbers scaled by a power
    of two, so that neither large numbers overflow nor a small spread around a large mean is lost.

    Raises UsageError when there is no score at all.

    >>> pooled(pooled(None, [1.0, 2.0]), [3.0]).value
    2.0
    """
    if known is None:
        if not scores:
            raise UsageError("no scores: there is no mean of nothing")
        return pooled(Mean(scores[0], None, 1), scores[1:])
    if not scores:
        return known
    error = known.standard_error or 0.0
    exponent = math.frexp(max(abs(known.value), error, *map(abs, scores)))[1]
    before, error, first = (math.ldexp(value, -exponent) for value in (known.value, error, scores[0]))
    offsets = [math.ldexp(score, -exponent) - first for score in scores]
    shift, number = math.fsum(offsets) / len(offsets), known.number + len(offsets)
    difference = first + shift - before
    squares = math.fsum(
        [
            *((offset - shift) ** 2 for offset in offsets),
            error**2 * known.number * (known.number - 1),
            difference**2 * known.number * len(offsets) / number,
        ]
    )
    mean = before + difference * len(offsets) / number
    return Mean(math.ldexp(mean, exponent), math.ldexp(math.sqrt(squares / (number - 1) / number), exponent), number)


def together(known: Evaluation, new: Sequence[Evaluation]) -> Evaluation:
    """Return what is known of an x after further scorings of it.

    Its score is the mean of the scorings that gave one; the others are counted in the metric "failed_scorings". An x
    without a score in more than half of its scorings has failed, and so has one with an impossible score among them.
    """
    scorings = known.scorings + len(new)
    seconds = math.fsum([known.seconds, *(one.seconds for one in new)])
    bad = [one for one in new if one.score is None]
    impossible = next((one for one in bad if one.stage == IMPOSSIBLE), None)
    if impossible is not None:
        return replace(impossible, scorings=scorings, seconds=seconds)
    failed_before = round(known.metrics.get(FAILED_SCORINGS, 0))
    failed = failed_before + len(bad)
    if 2 * failed > scorings:
        said = f"no score in {failed} of {scorings} scorings; in the last of these:\n{bad[-1].feedback}"
        return replace(bad[-1], feedback=said, scorings=scorings, seconds=seconds)
    before = None
    if known.score is not None:
        before = Mean(known.score, known.standard_error, known.scorings - failed_before)
    mean = pooled(before, [one.score for one in new if one.score is not None])
    return replace(
        known,
        score=mean.value,
        standard_error=mean.standard_error,
        feedback=_with_summary(known.feedback, mean, failed),
        metrics={**known.metrics, **({FAILED_SCORINGS: float(failed)} if failed else {})},
        seconds=seconds,
        scorings=scorings,
    )


def _with_summary(feedback: str, mean: Mean, failed: int) -> str:
    """Return the feedback of the first scoring, and in a last line what the scorings came to together."""
    lines = feedback.split("\n")
    kept = lines[:-1] if lines[-1].startswith(_SUMMARY) else lines
    spread = "" if mean.standard_error is None else f" (standard error {mean.standard_error:.2g})"
    others = f", besides {failed} without a score" if failed else ""
    summary = f"{_SUMMARY}{mean.number} scorings{others}: {show_number(mean.value)}{spread}"
    return "\n".join(filter(None, [*kept, summary]))


def can_be_scored_again(known: Evaluation) -> None:
    """Raise UsageError where there is no score to add to."""
    if known.status is not Status.COMPLETE or known.score is None:
        raise UsageError(f"a trial that is {known.status} has no score: only a complete one can be scored again")
