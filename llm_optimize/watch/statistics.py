"""Statistics of few runs: bootstrap intervals, the rank test, and Holm's correction.

scipy has all three; they stand here because comparing runs must work with the core packages alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random
from statistics import median

LEVEL = 0.05  # family-wise error rate of all pairwise tests of a comparison
_RESAMPLES = 2_000  # of a bootstrap
# Of a rank test that is exact; with more it takes a sample of so many.
_MAX_SPLITS = 20_000


@dataclass(frozen=True)
class Interval:
    """A median, and the interval that holds it with 95 %; -inf stands for no score."""

    median: float
    low: float
    high: float


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median with its percentile bootstrap interval.

    Source: B. Efron, The Annals of Statistics 7, 1979.

    Equal values give equal intervals, since the seed is fixed. With very few values the interval is
    rough, and too narrow.

    >>> median_interval([3.0, 3.0, 3.0])
    Interval(median=3.0, low=3.0, high=3.0)
    """
    rng = Random(0)
    medians = []
    for _ in range(_RESAMPLES):
        resample = rng.choices(values, k=len(values))
        medians.append(median(resample))
    medians.sort()
    tail = round(_RESAMPLES * 0.025)
    return Interval(median(values), medians[tail], medians[-1 - tail])


def rank_test(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the p-value of the two-sided rank test of F. Wilcoxon (Biometrics Bulletin 1, 1945).

    Equal values have their mean rank. The test is exact where there are few ways to split the
    values into two groups of these sizes; else it takes 20,000 splits, drawn with a fixed seed.

    >>> rank_test([1, 2, 3], [4, 5, 6])
    0.1
    >>> rank_test([1, 1], [1, 1])
    1.0
    """
    ranks = _doubled_ranks([*left, *right])
    size = len(left)
    expected = size * sum(ranks) // len(ranks)
    observed = abs(sum(ranks[:size]) - expected)
    splits, extreme = 0, 0
    for rank_sum in _rank_sums(ranks, size):
        splits += 1
        extreme += abs(rank_sum - expected) >= observed
    if math.comb(len(ranks), size) > _MAX_SPLITS:
        # Of a sample the observed split is one more member; without it the p-value could be 0.
        splits += 1
        extreme += 1
    return extreme / splits


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, from 1; twice, so that mean ranks are integers."""
    ranks = []
    for value in values:
        below = sum(other < value for other in values)
        upto = sum(other <= value for other in values)
        ranks.append(below + upto + 1)
    return ranks


def _rank_sums(ranks: Sequence[int], size: int) -> Iterator[int]:
    """Yield the rank sum of the first group for each split, or for a sample of the splits."""
    if math.comb(len(ranks), size) <= _MAX_SPLITS:
        yield from map(sum, combinations(ranks, size))
        return
    rng = Random(0)
    for _ in range(_MAX_SPLITS):
        yield sum(rng.sample(ranks, size))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number.

    Source: S. Holm, Scandinavian Journal of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    smallest_first = sorted(range(len(p_values)), key=p_values.__getitem__)
    for place, index in enumerate(smallest_first):
        remaining = len(p_values) - place
        highest = max(highest, min(1.0, remaining * p_values[index]))
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
