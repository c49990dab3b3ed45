"""A study of Optuna, in memory, that holds what was told, and asks one of its samplers for the next values."""

from __future__ import annotations

import logging
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ..errors import MissingExtra
from ..identity import key_of
from ..space import Choice, Float, Int, Parameter, Space

SAMPLERS = ("cmaes", "gp", "random", "tpe")
_MOST = {
    "gp": 300,
    "random": 0,
    "tpe": 2000,
}  # trials that a sampler looks at; a Gaussian process takes their cube
_DIGITS = 6
_BLOCK = {
    "gp": 50,
    "random": 1000,
    "tpe": 500,
}  # further trials, after which they are chosen anew


class Study:
    """Knows trials by number; names are those of the parameters that it is asked for, the others are given."""

    def __init__(
        self, space: Space, sampler: str, startup: int | None, names: Sequence[str]
    ) -> None:
        """Take the kind of sampler, and how many scored trials it waits for. Raises MissingExtra."""
        self._optuna = load_optuna()
        if sampler == "gp":
            _check_torch()
        self._space = space
        self._sampler = sampler
        self._startup = (
            {}
            if startup is None or sampler == "random"
            else {"n_startup_trials": startup}
        )
        self._names = [name for name in space.order if name in names]
        self._distributions = {
            name: self._distribution(space.parameters[name]) for name in self._names
        }
        self._told: dict[int, tuple[dict[str, Any], float | None]] = {}
        self._running: dict[
            str, list[tuple[dict[str, Any], int]]
        ] = {}  # key of x -> x, its numbers in the study
        self._study: Any = None  # None: to be filled anew

    def observe(self, number: int, x: Mapping[str, Any], score: float | None) -> None:
        """Learn of a trial; one that is told again replaces what was known of it."""
        again = number in self._told
        self._told[number] = (dict(x), score)
        if again or self._study is None or self._is_to_be_thinned():
            self._study = None
        else:
            self._study.add_trial(self._frozen(x, score, self._state(score)))

    def ask(self, seed: int, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return given and the values that the sampler chooses beside them; they count as running until told."""
        with _quiet():
            study = self._filled()
            study.sampler = self._new_sampler(seed)
            trial = study.ask()
            x = dict(given)
            for name in self._names:
                if self._space.active(name, x):
                    x[name] = self._suggested(trial, name)
        self._running.setdefault(key_of(x), []).append((x, trial.number))
        return x

    def forget(self, x: Mapping[str, Any]) -> None:
        """Take back that x is being scored: it was told, which adds it as a resume would, or is given up."""
        key = key_of(dict(x))
        several = self._running.pop(key, [])
        if len(several) > 1:
            self._running[key] = several[:-1]
        if several and self._study is not None:
            self._study.tell(several[-1][1], state=self._optuna.trial.TrialState.FAIL)

    def _filled(self) -> Any:
        if self._study is not None:
            return self._study
        storage = self._optuna.storages.InMemoryStorage()
        study = self._optuna.create_study(storage=storage, direction="maximize")
        for x, score in self._kept():
            study.add_trial(self._frozen(x, score, self._state(score)))
        running = [x for several in self._running.values() for x, _ in several]
        self._running = {}
        for x in running:
            number = len(study.get_trials(deepcopy=False))
            study.add_trial(
                self._frozen(x, None, self._optuna.trial.TrialState.RUNNING)
            )
            self._running.setdefault(key_of(x), []).append((x, number))
        self._study = study
        return study

    def _is_to_be_thinned(self) -> bool:
        told = len(self._told)
        return told > _MOST[self._sampler] and told % _BLOCK[self._sampler] == 0

    def _kept(self) -> list[tuple[dict[str, Any], float | None]]:
        """Return those that are worth knowing of all whole blocks, and all that came after; the same on a resume."""
        told = list(self._told.values())
        whole = len(told) - len(told) % _BLOCK[self._sampler]
        return worth_knowing(told[:whole], _MOST[self._sampler]) + told[whole:]

    def _frozen(self, x: Mapping[str, Any], score: float | None, state: Any) -> Any:
        named = [name for name in self._names if name in x]
        return self._optuna.trial.create_trial(
            state=state,
            value=score,
            params={
                name: _inner(self._space.parameters[name], x[name]) for name in named
            },
            distributions={name: self._distributions[name] for name in named},
        )

    def _state(self, score: float | None) -> Any:
        states = self._optuna.trial.TrialState
        return states.FAIL if score is None else states.COMPLETE

    def _new_sampler(self, seed: int) -> Any:
        """Return a fresh sampler: all that it knows is in the study, and all its dice are in the seed."""
        samplers = self._optuna.samplers
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of what is called experimental, or deprecated, in one version or other
            if self._sampler == "gp":
                return samplers.GPSampler(seed=seed, **self._startup)
            if self._sampler == "random":
                return samplers.RandomSampler(seed=seed)
            return samplers.TPESampler(
                seed=seed, multivariate=True, constant_liar=True, **self._startup
            )

    def _suggested(self, trial: Any, name: str) -> Any:
        distribution, parameter = (
            self._distributions[name],
            self._space.parameters[name],
        )
        if isinstance(distribution, self._optuna.distributions.CategoricalDistribution):
            inner: Any = trial.suggest_categorical(name, distribution.choices)
        elif isinstance(distribution, self._optuna.distributions.IntDistribution):
            inner = trial.suggest_int(
                name, distribution.low, distribution.high, log=distribution.log
            )
        else:
            inner = trial.suggest_float(
                name, distribution.low, distribution.high, log=distribution.log
            )
        return _outer(parameter, inner)

    def _distribution(self, parameter: Parameter) -> Any:
        distributions = self._optuna.distributions
        if isinstance(parameter, Choice):
            return distributions.CategoricalDistribution(
                tuple(range(len(parameter.options)))
            )
        if parameter.step is not None:
            return distributions.IntDistribution(
                0, _inner(parameter, parameter.check(parameter.high))
            )
        kind = (
            distributions.IntDistribution
            if isinstance(parameter, Int)
            else distributions.FloatDistribution
        )
        return kind(parameter.low, parameter.high, log=parameter.log)


def worth_knowing(
    told: Sequence[tuple[dict[str, Any], float | None]], most: int
) -> list[tuple[dict[str, Any], float | None]]:
    """Return so many at the most: the best have half of the places, the newest the others; in their order.

    >>> worth_knowing([({}, 9.0), ({}, 1.0), ({}, None), ({}, 2.0), ({}, 3.0)], 2)
    [({}, 9.0), ({}, 3.0)]
    """
    if len(told) <= most:
        return list(told)
    scored = [
        (score, place) for place, (_, score) in enumerate(told) if score is not None
    ]
    best = {
        place
        for _, place in sorted(scored, key=lambda pair: (-pair[0], pair[1]))[
            : most // 2
        ]
    }
    newest = [place for _, place in scored if place not in best]
    kept = best | set(newest[max(0, len(newest) - (most - len(best))) :])
    return [told[place] for place in sorted(kept)]


def load_optuna() -> Any:
    """Return the module. Raises MissingExtra where it is not installed."""
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(
            'the samplers need optuna: pip install "llm_optimize[classical]"'
        ) from error
    return optuna


def _check_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtra(
            'the sampler "gp" needs torch: pip install torch, or take "tpe"'
        )


def _inner(parameter: Parameter, value: Any) -> Any:
    """Return what Optuna knows a value as: options and steps by their place, since 1 and True are one to it."""
    if isinstance(parameter, Choice):
        return next(
            place
            for place, option in enumerate(parameter.options)
            if option is parameter.check(value)
        )
    if parameter.step is not None:
        return round((value - parameter.low) / parameter.step)
    return value


def rounded(parameter: Parameter, value: Any) -> Any:
    """Return a value without digits that nobody can tell apart, a millionth of the range or of the value.

    >>> rounded(Float(0, 10), 3.14159265358979), rounded(Float(1e-5, 1, log=True), 0.0123456789)
    (3.14159, 0.0123457)
    """
    if not isinstance(parameter, Float) or parameter.step is not None:
        return parameter.check(value)
    if parameter.log:
        return parameter.check(float(f"{value:.6g}"))
    return parameter.check(
        round(value, _DIGITS - math.floor(math.log10(parameter.high - parameter.low)))
    )


def _outer(parameter: Parameter, inner: Any) -> Any:
    if isinstance(parameter, Choice):
        return parameter.options[inner]
    if parameter.step is not None:
        return parameter.check(parameter.low + inner * parameter.step)
    return rounded(parameter, inner)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Optuna would say of this thread's study out of the log, and leave its configuration alone."""
    own = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != own

    names = [
        name
        for name in list(logging.root.manager.loggerDict)
        if name.startswith("optuna.")
    ]
    loggers = [logging.getLogger(name) for name in names]
    for logger in loggers:
        logger.addFilter(others)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(others)
