"""CMA-ES over the numbers of a space, rebuilt from the observed trials.

The algorithm is Hansen's, arXiv 1604.00772 ("the tutorial"), in the package `cmaes`. This file
decides which trials make up its generations, where it starts, and when it starts again. It keeps
no state beyond the observed trials, so that a resumed run continues with the same points.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import require
from ..space import Float, Int, Space
from ._study import rounded

if TYPE_CHECKING:
    import numpy as np

_SIGMA = 1 / 6  # of the range: six standard deviations reach from one end to the other
# Gamma of Nomura et al.: the trials that a warm start is fitted to.
_WARM_START_SHARE = 0.1
# Beyond, the determinant of the fitted covariance underflows.
_MAX_FITTED_DIMENSIONS = 100
_MAX_DOUBLINGS = 4  # of the population, over all restarts


_Scored: TypeAlias = tuple[Mapping[str, Any], float]  # x and its score


class Generations:
    """The state of CMA-ES after the trials observed so far.

    1. Start at the middle of every range. If there are scored trials before the first one of its
       own (x0, a user's or a model's), start at a normal distribution that is fitted to the best
       tenth of them, at least one (Nomura et al., "Warm Starting CMA-ES for Hyperparameter
       Optimization", arXiv 2012.06932).
    2. A generation is the next `population` scored trials of its own, in the order of observation.
       Later trials of others are ignored: they are no samples of the distribution that is being
       adapted.
    3. When the algorithm meets its own stopping criteria, start again at a random point with
       twice the population (Auger and Hansen, "A Restart CMA Evolution Strategy With Increasing
       Population Size", CEC 2005).

    Args:
        space: the parameters.
        names: those that are moved; at least one, each a number without a condition.

    Raises MissingExtra where cmaes is not installed.
    """

    def __init__(self, space: Space, names: Sequence[str]) -> None:
        require("cmaes", needed_by='the sampler "cmaes"')
        import cmaes

        self._cmaes = cmaes
        self._parameters: dict[str, Float | Int] = {}
        for name in names:
            parameter = space.parameters[name]
            if isinstance(parameter, Float | Int):
                self._parameters[name] = parameter
        self._scored: dict[int, _Scored] = {}  # by the number of the trial
        self._own: set[int] = set()  # numbers of the trials that it proposed
        self._optimizer: Any = None  # None: to be rebuilt from all trials
        self._used = 0  # own scored trials that are part of a generation
        self._restarts = 0

    def observe(
        self,
        number: int,
        x: Mapping[str, Any],
        score: float | None,
        *,
        own: bool,
    ) -> None:
        """Learn from a trial; one without a score is left out, because it has no rank."""
        if number in self._scored or not self._used:
            self._optimizer = None
        if own:
            self._own.add(number)
        if score is not None:
            self._scored[number] = (x, score)
        else:
            self._scored.pop(number, None)

    def ask(self, seed: int) -> dict[str, Any]:
        """Return the next values."""
        self._catch_up()
        self._optimizer.reseed_rng(seed % 2**32)
        point = self._optimizer.ask()
        values = {}
        for name, share in zip(self._parameters, point, strict=True):
            parameter = self._parameters[name]
            value = parameter.from_unit(float(share))
            values[name] = rounded(parameter, value)
        return values

    def _catch_up(self) -> None:
        """Pass every complete generation on to the optimizer."""
        if self._optimizer is None:
            self._used = 0
            self._restarts = 0
            self._optimizer = self._started()
        own = []
        for number, scored in self._scored.items():
            if number in self._own:
                own.append(self._with_loss(scored))
        while len(own) >= self._used + self._optimizer.population_size:
            end = self._used + self._optimizer.population_size
            self._optimizer.tell(own[self._used : end])
            self._used = end
            if self._optimizer.should_stop():
                self._optimizer = self._restarted()

    def _started(self) -> Any:
        import numpy as np

        best = self._best_before_own()
        if not best:
            middle = np.full(len(self._parameters), 0.5)
            return self._new_optimizer(middle)
        if len(best) == 1 or len(self._parameters) > _MAX_FITTED_DIMENSIONS:
            return self._new_optimizer(best[0][0])
        # gamma=1: they are the best ones already. With alpha=sigma, trials that all lie at one
        # point give the same distribution as one trial alone.
        mean, sigma, covariance = self._cmaes.get_warm_start_mgd(
            best, gamma=1.0, alpha=_SIGMA
        )
        return self._new_optimizer(mean, sigma, covariance)

    def _best_before_own(self) -> list[tuple[np.ndarray, float]]:
        """Return the best trials before the first own one, the best first: points and losses."""
        before = []
        for number, scored in self._scored.items():
            if number in self._own:
                break
            before.append(self._with_loss(scored))
        before.sort(key=lambda pair: pair[1])
        kept = math.floor(_WARM_START_SHARE * len(before))
        return before[: max(1, kept)]

    def _restarted(self) -> Any:
        import numpy as np

        self._restarts += 1
        rng = Random(self._restarts)
        mean = np.array([rng.random() for _ in self._parameters])
        return self._new_optimizer(mean)

    def _new_optimizer(
        self,
        mean: np.ndarray,
        sigma: float = _SIGMA,
        covariance: np.ndarray | None = None,
    ) -> Any:
        import numpy as np

        dimensions = len(self._parameters)
        population = 4 + math.floor(3 * math.log(dimensions))  # tutorial, equation 48
        doublings = min(self._restarts, _MAX_DOUBLINGS)
        return self._cmaes.CMA(
            mean=np.clip(mean, 0.0, 1.0),
            sigma=sigma,
            bounds=np.array([[0.0, 1.0]] * dimensions),
            n_max_resampling=10 * dimensions,
            population_size=population * 2**doublings,
            cov=covariance,
        )

    def _with_loss(self, scored: _Scored) -> tuple[np.ndarray, float]:
        """Return where x is in the unit cube, and its loss: cmaes minimizes."""
        import numpy as np

        x, score = scored

        shares = []
        for name, parameter in self._parameters.items():
            shares.append(parameter.to_unit(x[name]))
        return np.array(shares), -score
