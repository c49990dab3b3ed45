"""What a few runs allow to be said: intervals of medians, and which differences are beyond noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from statistics import median

LEVEL = 0.05  # of error, that a difference is called one which is none, for all differences of a comparison together
_DRAWS = 2_000  # of a bootstrap
_MOST_SPLITS = 20_000  # that are looked at one by one; of more, a sample


@dataclass(frozen=True)
class Interval:
    """A median, and the interval that holds it with 95 %; -inf stands for no score."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median with its percentile bootstrap interval (B. Efron, The Annals of Statistics 7, 1979).

    Equal values give equal intervals: the dice are always the same. With very few values it is rough, and too narrow.

    >>> median_interval([3.0, 3.0, 3.0])
    Interval(median=3.0, low=3.0, high=3.0)
    """
    dice = Random(0)
    drawn = sorted(median(dice.choices(values, k=len(values))) for _ in range(_DRAWS))
    tail = round(_DRAWS * 0.025)
    return Interval(median(values), drawn[tail], drawn[-1 - tail])


def rank_test(left: Sequence[float], right: Sequence[float]) -> float:
    """Return how likely ranks that differ so much are, or more, if nothing but chance gave the values to two sides.

    This is the two-sided test of F. Wilcoxon (Biometrics Bulletin 1, 1945) with mean ranks for equal values. All ways
    to share out the values are looked at where these are few, else 20,000 of them, always the same ones.

    >>> rank_test([1, 2, 3], [4, 5, 6])
    0.1
    >>> rank_test([1, 1], [1, 1])
    1.0
    """
    ranks = _ranks([*left, *right])
    middle = len(left) * sum(ranks) // len(ranks)
    seen = abs(sum(ranks[: len(left)]) - middle)
    extreme = [abs(total - middle) >= seen for total in _totals(ranks, len(left))]
    sampled = math.comb(len(ranks), len(left)) > _MOST_SPLITS
    return (sum(extreme) + sampled) / (
        len(extreme) + sampled
    )  # what was seen is one of a sample


def _ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value among all, from 1; equal ones share the mean."""
    return [
        sum(other < value for other in values)
        + sum(other <= value for other in values)
        + 1
        for value in values
    ]


def _totals(ranks: Sequence[int], size: int) -> Iterator[int]:
    if math.comb(len(ranks), size) <= _MOST_SPLITS:
        yield from map(sum, combinations(ranks, size))
        return
    dice = Random(0)
    for _ in range(_MOST_SPLITS):
        yield sum(dice.sample(ranks, size))


def holm(chances: Sequence[float]) -> list[float]:
    """Return the chances corrected for there being many (S. Holm, Scandinavian Journal of Statistics 6, 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(chances), 0.0
    for place, index in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        highest = max(highest, min(1.0, (len(chances) - place) * chances[index]))
        corrected[index] = highest
    return corrected


def seeds_needed(differences: int) -> int:
    """Return how many runs each the clearest of so many differences needs, to be called one.

    >>> seeds_needed(1), seeds_needed(10)
    (4, 6)
    """
    seeds = 2
    while differences * 2 / math.comb(2 * seeds, seeds) > LEVEL:
        seeds += 1
    return seeds
