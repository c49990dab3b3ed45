"""Which of several models earns most for its money: UCB1 on improvement per dollar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..records import Status, Trial
from ._price import Price


class Bandit:
    r"""Learns from finished trials which arm to play; the trials are all that it knows.

    An arm j that n_j of n trials came from is worth, by UCB1 (Auer, Cesa-Bianchi and Fischer: Finite-time Analysis of
    the Multiarmed Bandit Problem, Machine Learning 47, 2002, figure 1):

        r_j + sqrt(2 ln n / n_j),    and without end before its first trial

    The reward r_j, between 0 and 1, is ours: what the trials of j gained over their parents, by what they cost, as a
    share of the same of the best arm. A trial that failed, was known, or is below its parent gained 0. The cost is in
    dollars where each arm has a price above 0, else in calls. Calls in flight count in n and n_j, so that many at once
    do not all go to one arm.
    """

    def __init__(self, prices: Mapping[str, Price | None]) -> None:
        """Take the price of each arm by its name."""
        self._prices = dict(prices)
        self._in_dollars = all(
            price and price.prompt_per_million + price.completion_per_million
            for price in prices.values()
        )
        self._scores: dict[int, float] = {}
        self._trials = dict.fromkeys(prices, 0)
        self._gains = dict.fromkeys(prices, 0.0)
        self._costs = dict.fromkeys(prices, 0.0)

    def observe(self, arm: str | None, trial: Trial) -> None:
        """Learn from a finished trial that an arm wrote, or nobody here."""
        if arm is not None:
            self._trials[arm] += 1
            self._gains[arm] += self._gain(trial)
            self._costs[arm] += self._cost(arm, trial)
        if trial.score is not None:
            self._scores[trial.number] = trial.score

    def _gain(self, trial: Trial) -> float:
        before = None if trial.parent is None else self._scores.get(trial.parent)
        if trial.score is None or before is None or trial.status is Status.DUPLICATE:
            return 0.0
        return max(0.0, trial.score - before)

    def _cost(self, arm: str, trial: Trial) -> float:
        price = self._prices[arm]
        if self._in_dollars and price is not None:
            return price.cost(trial.usage)
        return float(max(1, trial.usage.calls))

    def best(self, arms: Sequence[str], in_flight: Mapping[str, int]) -> list[str]:
        """Return those of the arms that are worth most now: one, or several that are equal."""
        worth = self._worth(in_flight)
        highest = max(worth[arm] for arm in arms)
        return [arm for arm in arms if worth[arm] == highest]

    def _worth(self, in_flight: Mapping[str, int]) -> dict[str, float]:
        yields = {
            arm: gain / self._costs[arm] if self._costs[arm] else 0.0
            for arm, gain in self._gains.items()
        }
        best_yield = max(yields.values()) or 1.0
        plays = {
            arm: count + in_flight.get(arm, 0) for arm, count in self._trials.items()
        }
        log_n = math.log(max(1, sum(plays.values())))
        return {
            arm: yields[arm] / best_yield + math.sqrt(2 * log_n / count)
            if count
            else math.inf
            for arm, count in plays.items()
        }
