"""Optuna study in memory: it holds the observed trials, and a sampler chooses the next values.

Options and steps are known to Optuna by their position, because 1 and True are equal to it.
"""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

from ..errors import require
from ..identity import key_of
from ..space import Choice, Float, Int, Parameter, Space

SAMPLERS = ("cmaes", "gp", "random", "tpe")
# A Gaussian process costs their cube; random uses none.
_MAX_TRIALS = {
    "gp": 300,
    "random": 0,
}
_SIGNIFICANT_DIGITS = 6
# An x and its score; None: it failed.
Observed: TypeAlias = tuple[dict[str, Any], float | None]


class Study:
    """The observed trials as Optuna sees them.

    Args:
        space: the parameters.
        sampler: "gp", "random" or "tpe".
        startup: scored trials that "gp" and "tpe" wait for; None for Optuna's own number.
        names: the parameters that the sampler chooses; the others are given with each call of
            `ask`.

    Raises MissingExtra where Optuna, or torch for "gp", is not installed.
    """

    def __init__(
        self,
        space: Space,
        sampler: str,
        startup: int | None,
        names: Sequence[str],
    ) -> None:
        require("optuna", needed_by=f'the sampler "{sampler}"')
        if sampler == "gp":
            require("torch", needed_by='the sampler "gp"')
        import optuna

        self._optuna = optuna
        self._space = space
        self._sampler = sampler
        self._startup = {} if startup is None else {"n_startup_trials": startup}
        self._names = [name for name in space.order if name in names]
        self._distributions: dict[str, Any] = {}
        for name in self._names:
            parameter = space.parameters[name]
            self._distributions[name] = self._distribution(parameter)
        self._observed: dict[int, Observed] = {}
        self._open: list[_Open] = []  # asked for, neither observed nor forgotten
        self._study: Any = None  # None: to be filled again

    def observe(
        self,
        number: int,
        x: Mapping[str, Any],
        score: float | None,
    ) -> None:
        """Learn from a trial; a second observation of the same number replaces the first."""
        again = number in self._observed
        self._observed[number] = (dict(x), score)
        if again or len(self._observed) > self._max_trials():
            self._study = None
        elif self._study is not None:
            self._study.add_trial(self._finished(x, score))

    def ask(
        self,
        seed: int,
        given: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Return the given values and those that the sampler adds.

        The trial counts as running until `forget` is called.
        """
        with _quiet():
            study = self._filled()
            study.sampler = self._new_sampler(seed)
            trial = study.ask()
            x = dict(given)
            for name in self._names:
                if self._space.active(name, x):
                    x[name] = self._suggested(trial, name)
        self._open.append(_Open(x, trial.number))
        return x

    def forget(self, x: Mapping[str, Any]) -> None:
        """Forget that x is being scored.

        The running trial is marked as failed, which the samplers ignore. Where x was scored,
        `observe` adds it as a new trial, in the same place as after a resume: the samplers look
        at the order of the trials.
        """
        key = key_of(dict(x))
        for open_trial in reversed(self._open):
            if key_of(open_trial.x) == key:
                self._open.remove(open_trial)
                if self._study is not None:
                    failed = self._optuna.trial.TrialState.FAIL
                    self._study.tell(open_trial.number, state=failed)
                return

    def _filled(self) -> Any:
        """Return the study, made from all trials where it has to be."""
        if self._study is not None:
            return self._study
        storage = self._optuna.storages.InMemoryStorage()
        study = self._optuna.create_study(storage=storage, direction="maximize")
        observed = list(self._observed.values())
        for x, score in most_informative(observed, self._max_trials()):
            study.add_trial(self._finished(x, score))
        for open_trial in self._open:
            open_trial.number = len(study.get_trials(deepcopy=False))
            running = self._optuna.trial.TrialState.RUNNING
            study.add_trial(self._frozen(open_trial.x, None, running))
        self._study = study
        return study

    def _max_trials(self) -> float:
        return _MAX_TRIALS.get(self._sampler, math.inf)

    def _finished(
        self,
        x: Mapping[str, Any],
        score: float | None,
    ) -> Any:
        states = self._optuna.trial.TrialState
        state = states.FAIL if score is None else states.COMPLETE
        return self._frozen(x, score, state)

    def _frozen(
        self,
        x: Mapping[str, Any],
        score: float | None,
        state: Any,
    ) -> Any:
        params = {}
        distributions = {}
        for name in self._names:
            if name in x:
                parameter = self._space.parameters[name]
                params[name] = _to_optuna(parameter, x[name])
                distributions[name] = self._distributions[name]
        return self._optuna.trial.create_trial(
            state=state, value=score, params=params, distributions=distributions
        )

    def _new_sampler(self, seed: int) -> Any:
        """Return a new sampler: its knowledge is in the study, its randomness in the seed."""
        samplers = self._optuna.samplers
        with warnings.catch_warnings():
            # Some arguments are experimental in some versions.
            warnings.simplefilter("ignore")
            if self._sampler == "gp":
                return samplers.GPSampler(seed=seed, **self._startup)
            if self._sampler == "random":
                return samplers.RandomSampler(seed=seed)
            # With constant_liar, running trials count as bad ones: workers stay away from each
            # other.
            return samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, **self._startup
            )

    def _suggested(self, trial: Any, name: str) -> Any:
        distribution = self._distributions[name]
        kinds = self._optuna.distributions
        value: Any
        if isinstance(distribution, kinds.CategoricalDistribution):
            value = trial.suggest_categorical(name, distribution.choices)
        else:
            suggest = trial.suggest_float
            if isinstance(distribution, kinds.IntDistribution):
                suggest = trial.suggest_int
            value = suggest(
                name, distribution.low, distribution.high, log=distribution.log
            )
        return _from_optuna(self._space.parameters[name], value)

    def _distribution(self, parameter: Parameter) -> Any:
        kinds = self._optuna.distributions
        if isinstance(parameter, Choice):
            positions = range(len(parameter.options))
            return kinds.CategoricalDistribution(tuple(positions))
        if parameter.step is not None:
            last = parameter.check(parameter.high)
            return kinds.IntDistribution(0, _to_optuna(parameter, last))
        kind = kinds.FloatDistribution
        if isinstance(parameter, Int):
            kind = kinds.IntDistribution
        return kind(parameter.low, parameter.high, log=parameter.log)


class _Open:
    """An x that is being scored, and its number in the study."""

    def __init__(
        self,
        x: dict[str, Any],
        number: int,
    ) -> None:
        self.x = x
        self.number = number


def most_informative(
    trials: Sequence[Observed],
    limit: float,
) -> list[Observed]:
    """Return at most `limit` trials, in their order: half the best ones, half the newest.

    >>> most_informative([({}, 9.0), ({}, 1.0), ({}, None), ({}, 2.0), ({}, 3.0)], 2)
    [({}, 9.0), ({}, 3.0)]
    """
    if len(trials) <= limit:
        return list(trials)
    scored = []
    for position, (_, score) in enumerate(trials):
        if score is not None:
            scored.append((-score, position))
    half = int(limit) // 2
    kept = {position for _, position in sorted(scored)[:half]}
    for _, position in reversed(scored):
        if len(kept) < limit:
            kept.add(position)
    return [trials[position] for position in sorted(kept)]


def rounded(parameter: Parameter, value: Any) -> Any:
    """Return a value with six digits: of its range, or of itself on a logarithmic scale.

    >>> rounded(Float(0, 10), 3.14159265358979), rounded(Float(1e-5, 1, log=True), 0.0123456789)
    (3.14159, 0.0123457)
    """
    if not isinstance(parameter, Float) or parameter.step is not None:
        return parameter.check(value)
    if parameter.log:
        return parameter.check(float(f"{value:.{_SIGNIFICANT_DIGITS}g}"))
    width = parameter.high - parameter.low
    magnitude = math.floor(math.log10(width))
    return parameter.check(round(value, _SIGNIFICANT_DIGITS - magnitude))


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return parameter.index(value)
    if parameter.step is not None:
        return round((value - parameter.low) / parameter.step)
    return value


def _from_optuna(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return parameter.options[value]
    if parameter.step is not None:
        return parameter.check(parameter.low + value * parameter.step)
    return rounded(parameter, value)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop what Optuna logs in this thread; the logging configuration of the user stays as it is.

    A filter applies only to the logger that it is attached to, not to its children: each logger
    of Optuna needs it.
    """
    this_thread = threading.get_ident()

    def from_others(record: logging.LogRecord) -> bool:
        return record.thread != this_thread

    loggers = []
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("optuna."):
            loggers.append(logging.getLogger(name))
    for logger in loggers:
        logger.addFilter(from_others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(from_others)
