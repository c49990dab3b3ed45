"""Bandit over the models of an ensemble: UCB1 on improvement per dollar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..records import Status, Trial
from ..ucb1 import ucb1
from .price import Price


class Bandit:
    """Chooses arms by what finished trials have gained; the trials are all that it knows.

    The reward of an arm, from 0 to 1, is its yield relative to the best yield of all arms. A yield
    is what the trials of an arm gained over their parents, divided by what they cost. A trial that
    failed, was a duplicate, or is below its parent gained 0. The cost is in dollars where each arm
    has a price above 0, else in calls. Calls in flight count as plays, so that many at once do not
    all go to one arm.

    Args:
        prices: of each arm by its name; None where it is unknown.
    """

    def __init__(self, prices: Mapping[str, Price | None]) -> None:
        self._prices = dict(prices)
        self._in_dollars = True
        for price in prices.values():
            if (
                price is None
                or price.prompt_per_million + price.completion_per_million <= 0
            ):
                self._in_dollars = False
        self._scores: dict[int, float] = {}  # of all trials, by number
        self._trials = dict.fromkeys(prices, 0)
        self._gains = dict.fromkeys(prices, 0.0)
        self._costs = dict.fromkeys(prices, 0.0)

    def observe(self, arm: str | None, trial: Trial) -> None:
        """Add a finished trial; `arm` is None for one that no arm wrote."""
        if arm is not None:
            self._trials[arm] += 1
            self._gains[arm] += self._gain(trial)
            self._costs[arm] += self._cost(arm, trial)
        if trial.score is not None:
            self._scores[trial.number] = trial.score

    def _gain(self, trial: Trial) -> float:
        if trial.parent is None or trial.score is None:
            return 0.0
        before = self._scores.get(trial.parent)
        if before is None or trial.status is Status.DUPLICATE:
            return 0.0
        return max(0.0, trial.score - before)

    def _cost(self, arm: str, trial: Trial) -> float:
        price = self._prices[arm]
        if self._in_dollars and price is not None:
            return price.cost(trial.usage)
        return float(max(1, trial.usage.calls))

    def best(self, arms: Sequence[str], in_flight: Mapping[str, int]) -> list[str]:
        """Return the arm with the highest upper confidence bound; several where they are equal."""
        bounds = self._bounds(in_flight)
        highest = max(bounds[arm] for arm in arms)
        return [arm for arm in arms if bounds[arm] == highest]

    def _bounds(self, in_flight: Mapping[str, int]) -> dict[str, float]:
        yields: dict[str, float] = {}
        plays: dict[str, int] = {}
        for arm, gain in self._gains.items():
            cost = self._costs[arm]
            flying = in_flight.get(arm, 0)
            yields[arm] = gain / cost if cost else 0.0
            plays[arm] = self._trials[arm] + flying
        best_yield = max(yields.values()) or 1.0
        total = max(1, sum(plays.values()))
        bounds: dict[str, float] = {}
        for arm, count in plays.items():
            reward = yields[arm] / best_yield
            bounds[arm] = ucb1(reward, count, total)
        return bounds
