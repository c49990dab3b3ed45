"""CMA-ES over the numbers of a space, rebuilt from the told trials: whatever was scored makes up its generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from random import Random
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ..space import Float, Int, Space
from ._study import rounded

if TYPE_CHECKING:
    import numpy as np

_SIGMA = 1 / 6  # of the range: six of them reach from one end to the other
_MAX_RESTARTS_DOUBLE = 4  # times that a restart doubles the population


class Generations:
    """The state of CMA-ES after the trials told so far, in their order.

    A generation is the next `population` scored trials, whoever proposed them: those of others are injected, which
    means that their distance from the mean is shortened where it is unlikely (Hansen, "Injecting External Solutions
    Into CMA-ES", arXiv 1110.4181). When the algorithm stops by its own criteria it starts again elsewhere with twice
    the population (Auger and Hansen, "A Restart CMA Evolution Strategy With Increasing Population Size", CEC 2005).
    """

    def __init__(self, space: Space, names: Sequence[str]) -> None:
        """Take the names of the numbers; at least one. Raises MissingExtra where cmaes is not installed."""
        try:
            import cmaes
        except ImportError as error:
            raise MissingExtra(
                'the sampler "cmaes" needs it: pip install "llm_optimize[classical]"'
            ) from error
        self._make = cmaes.CMA
        self._parameters = {name: space.parameters[name] for name in names}
        self._scored: dict[int, tuple[Mapping[str, Any], float]] = {}
        self._own: set[int] = set()  # numbers of what was drawn from its distribution
        self._stale = True  # a trial was told again: all generations are to be lived through again
        self._used = 0
        self._restarts = 0
        self._state: Any = None

    def observe(
        self, number: int, x: Mapping[str, Any], score: float | None, *, own: bool
    ) -> None:
        """Learn of a trial; failed ones have no place in an order, so that they are left out."""
        self._stale = self._stale or number in self._scored
        self._own |= {number} if own else set()
        if score is not None:
            self._scored[number] = (x, score)
        else:
            self._scored.pop(number, None)

    def ask(self, seed: int) -> dict[str, Any]:
        """Return the next values."""
        self._catch_up()
        self._state.reseed_rng(seed % 2**32)
        point = self._state.ask()
        return {
            name: rounded(parameter, parameter.from_unit(float(share)))
            for (name, parameter), share in zip(self._numeric(), point, strict=True)
        }

    def _catch_up(self) -> None:
        told = list(self._scored.values())
        if self._stale or not self._used:
            self._used, self._restarts, self._stale = 0, 0, False
            self._state = self._begun(self._first_mean(), 1)
        while len(told) - self._used >= self._state.population_size:
            generation = told[self._used : self._used + self._state.population_size]
            self._used += len(generation)
            self._state.tell(
                [(self._shortened(self._point(x)), -score) for x, score in generation]
            )
            if self._state.should_stop():
                self._restart()

    def _restart(self) -> None:
        self._restarts += 1
        dice = Random(self._restarts)
        mean = [dice.random() for _ in self._parameters]
        self._state = self._begun(mean, 2 ** min(self._restarts, _MAX_RESTARTS_DOUBLE))

    def _begun(self, mean: Sequence[float], times: int) -> Any:
        import numpy as np

        size = len(mean)
        bounds = np.array([[0.0, 1.0]] * size)
        population = (
            times * self._make(mean=np.array(mean), sigma=_SIGMA).population_size
        )
        return self._make(
            mean=np.array(mean),
            sigma=_SIGMA,
            bounds=bounds,
            n_max_resampling=10 * size,
            population_size=population,
        )

    def _first_mean(self) -> Sequence[float]:
        """Begin at the best of the x that were there before the first of its own, such as x0; else in the middle."""
        before = list(takewhile(lambda number: number not in self._own, self._scored))
        if not before:
            return [0.5] * len(self._parameters)
        x, _ = max(
            (self._scored[number] for number in before), key=lambda pair: pair[1]
        )
        return list(self._point(x))

    def _point(self, x: Mapping[str, Any]) -> np.ndarray:
        import numpy as np

        return np.array(
            [parameter.to_unit(x[name]) for name, parameter in self._numeric()]
        )

    def _shortened(self, point: np.ndarray) -> np.ndarray:
        """Return a point no farther from the mean, as the distribution measures, than a sample would be."""
        import numpy as np

        state, size = self._state, len(self._parameters)
        step = (point - state.mean) / state._sigma
        length = float(np.sqrt(max(0.0, step @ np.linalg.solve(state._C, step))))
        most = size**0.5 + 2 * size / (size + 2)  # eq. 4 there
        return (
            point
            if length <= most
            else state.mean + state._sigma * step * (most / length)
        )

    def _numeric(self) -> list[tuple[str, Float | Int]]:
        return [
            (name, p)
            for name, p in self._parameters.items()
            if isinstance(p, Float | Int)
        ]
