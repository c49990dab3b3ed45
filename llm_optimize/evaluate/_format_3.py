"""Means of which the single scores are not known: of trials that were scored again in a store of format 3 or older."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..records import Evaluation, Status
from ._evaluation import IMPOSSIBLE

FAILED_SCORINGS = (
    "failed_scorings"  # the metric that shows how many scorings gave no score
)


@dataclass(frozen=True)
class Mean:
    """The mean of some scores."""

    value: float
    standard_error: (
        float | None
    )  # of the mean: sample standard deviation / sqrt(number); None for a single score
    number: int


def is_of_format_3(known: Evaluation) -> bool:
    """Return whether a mean is known without the scores that it is made of."""
    return known.scorings > 1 and not known.scores and known.score is not None


def together_as_format_3(known: Evaluation, new: Sequence[Evaluation]) -> Evaluation:
    """Return what is known of such an x after further scorings, as the versions before format 4 did it.

    The number of failed scorings is in a metric, and the summary is the last line of the feedback: it is replaced where
    it is, to the letter, the sentence that belongs to the mean.
    """
    scorings = known.scorings + len(new)
    seconds = math.fsum([known.seconds, *(one.seconds for one in new)])
    failed_before = round(known.metrics.get(FAILED_SCORINGS, 0))
    failed = failed_before + sum(one.score is None for one in new)
    spoilt = spoilt_by(new, failed, scorings)
    if spoilt is not None:
        return replace(spoilt, scorings=scorings, seconds=seconds)
    before = Mean(
        known.score or 0.0, known.standard_error, known.scorings - failed_before
    )
    mean = _pooled(before, [one.score for one in new if one.score is not None])
    said, old_summary = known.feedback, _summary(before, failed_before)
    if old_summary and said.endswith(old_summary):
        said = said.removesuffix(old_summary).removesuffix("\n")
    return replace(
        known,
        score=mean.value,
        standard_error=mean.standard_error,
        feedback="\n".join(filter(None, [said, _summary(mean, failed)])),
        metrics={
            **known.metrics,
            **({FAILED_SCORINGS: float(failed)} if failed else {}),
        },
        seconds=seconds,
        scorings=scorings,
    )


def spoilt_by(
    new: Sequence[Evaluation], failed: int, scorings: int
) -> Evaluation | None:
    """Return why an x has no score after all: one is impossible, or more than half are missing; else None."""
    bad = [one for one in new if one.score is None]
    impossible = next((one for one in bad if one.stage == IMPOSSIBLE), None)
    if impossible is not None:
        return impossible
    if not bad or 2 * failed <= scorings:
        return None
    said = f"no score in {failed} of {scorings} scorings; in the last of these:\n{bad[-1].feedback}"
    return replace(bad[-1], feedback=said)


def _summary(mean: Mean, failed: int) -> str:
    """Return the sentence that an evaluation with these scores has."""
    same = (mean.value,) * mean.number
    found = Evaluation(
        Status.COMPLETE, mean.value, scorings=mean.number + failed, scores=same
    )
    return replace(found, standard_error=mean.standard_error).summary


def _pooled(known: Mean, scores: Sequence[float]) -> Mean:
    """Return the mean of what is known and some new scores, as if it had been computed from all of them.

    The sums of squared differences are put together as in Chan, Golub and LeVeque (1983), on numbers scaled by a power
    of two, so that neither large numbers overflow nor a small spread around a large mean is lost.
    """
    if not scores:
        return known
    error = known.standard_error or 0.0
    exponent = math.frexp(max(abs(known.value), error, *map(abs, scores)))[1]
    before, error, first = (
        math.ldexp(value, -exponent) for value in (known.value, error, scores[0])
    )
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
    return Mean(
        math.ldexp(mean, exponent),
        math.ldexp(math.sqrt(squares / (number - 1) / number), exponent),
        number,
    )
