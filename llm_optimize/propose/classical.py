"""Optuna's samplers as proposers on a space: tpe, cmaes, gp, random.

They learn from all trials of a run and ask no model.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from ..errors import OptionName, UnknownName, UsageError
from ..identity import key_of
from ..records import Ask, Plan, Proposal, Proposer, Status, Trial
from ..space import Choice, Space
from ._cmaes import Generations
from ._study import SAMPLERS, Study

_log = logging.getLogger("llm_optimize")
_ATTEMPTS = 4  # to find an x that was not tried


class Classical:
    """Proposes by a classical method; no model is asked.

    Its knowledge is a function of the observed trials: the sampler is created anew for each
    proposal, with the random generator of that trial, so that a resumed run continues as if it
    had not been interrupted.

    Args:
        space: the values that x may have; a conditional parameter is chosen only where its
            condition holds.
        sampler: "tpe", a tree-structured Parzen estimator, for any space (Bergstra et al.,
            NeurIPS 2011); "cmaes", which adapts a normal distribution to the numbers and leaves
            options and conditional parameters to tpe (Hansen, arXiv 1604.00772); "gp", a
            Gaussian process, which takes a second or more per proposal and needs torch; "random".
        startup: scored trials that "tpe" and "gp" wait for before they stop drawing at random;
            None for Optuna's 10.

    Raises UnknownName for another sampler, UsageError for "cmaes" on a space without a free
    number or for a `startup` that is not possible, and MissingExtra where Optuna, or what it
    needs for the method, is not installed.

    >>> import asyncio
    >>> from llm_optimize.space import Float
    >>> proposer = Classical(Space({"lr": Float(0, 1)}), "random")
    >>> proposal = asyncio.run(proposer.propose(Plan(None), None, Random(0)))
    >>> proposal.source, 0 <= proposal.x["lr"] <= 1
    ('random', True)
    """

    def __init__(
        self,
        space: Space,
        sampler: str = "tpe",
        *,
        startup: int | None = None,
    ) -> None:
        if sampler not in SAMPLERS:
            raise UnknownName("sampler", sampler, SAMPLERS)
        waits = sampler in ("tpe", "gp")
        if startup is not None and (not waits or startup < 1):
            raise UsageError(
                f"startup is {startup} with {sampler!r}: give 1 or more, with 'tpe' or 'gp'"
            )
        self._space = space
        self._name = sampler
        self._observed: set[int] = set()  # numbers of trials
        self._tried: set[str] = set()  # keys of x
        self._open: list[
            dict[str, Any]
        ] = []  # proposed, not yet observed; oldest first
        self._generations: Generations | None = None
        self._study: Study | None = None
        numbers: list[str] = []
        if sampler == "cmaes":
            numbers = _free_numbers(space)
            self._generations = Generations(space, numbers)
            sampler = "tpe"  # for the other parameters
        others = [name for name in space.parameters if name not in numbers]
        if others:
            self._study = Study(space, sampler, startup, others)

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the next x, an untried one if a few attempts find one; the plan is ignored."""
        refused: list[dict[str, Any]] = []
        x = self._next(rng)
        for _ in range(_ATTEMPTS - 1):
            if x not in self._open and key_of(x) not in self._tried:
                break
            refused.append(x)
            x = self._next(rng)
        for other in refused:
            self._forget(other)
        self._open.append(x)
        return Proposal(x, self._name)

    def drop(self, x: dict[str, Any]) -> None:
        """Forget a proposal that will not be scored."""
        if x in self._open:
            self._open.remove(x)
            self._forget(x)

    def observe(self, trial: Trial) -> None:
        """Learn from a trial of any proposer; those outside of the space are ignored."""
        if trial.status is Status.PENDING:
            return
        x = self._read(trial)
        if trial.number not in self._observed:
            self._observed.add(trial.number)
            self._close(x)
        if x is None or trial.status is Status.DUPLICATE:
            return
        self._tried.add(key_of(x))
        if self._generations is not None:
            own = trial.source == self._name
            self._generations.observe(trial.number, x, trial.score, own=own)
        if self._study is not None:
            self._study.observe(trial.number, x, trial.score)

    def _next(self, rng: Random) -> dict[str, Any]:
        x: dict[str, Any] = {}
        if self._generations is not None:
            x = self._generations.ask(rng.getrandbits(32))
        if self._study is not None:
            seed = rng.getrandbits(32)
            x = self._study.ask(seed, x)
        ordered = [name for name in self._space.parameters if name in x]
        return {name: x[name] for name in ordered}

    def _read(self, trial: Trial) -> dict[str, Any] | None:
        """Return the parameters of a trial; None where they are not in the space."""
        if trial.x is None:
            return None
        try:
            return self._space.check(trial.x)
        except UsageError as error:
            _log.debug(
                "%s ignores trial %d, which is outside of the space: %s",
                self._name,
                trial.number,
                error,
            )
            return None

    def _close(self, x: dict[str, Any] | None) -> None:
        """Remove an observed x from the open proposals.

        An x that is not among them replaces the oldest one: a gate may have blended that with
        another proposer's x, or dropped it. Otherwise it would stay open, and a resumed run,
        which begins with none open, would differ.
        """
        if self._open:
            position = self._open.index(x) if x in self._open else 0
            self._forget(self._open.pop(position))

    def _forget(self, x: dict[str, Any]) -> None:
        if self._study is not None:
            self._study.forget(x)


def makers(space: Space | None) -> Mapping[str, Callable[[], Proposer]]:
    """Return a constructor for each sampler; it raises UsageError without a space."""
    return {name: partial(_made, space, name) for name in SAMPLERS}


def _made(space: Space | None, name: str) -> Proposer:
    if space is None:
        raise UsageError(
            f"the proposer {name!r} chooses values of parameters: give ",
            OptionName("space"),
        )
    return Classical(space, name)


def _free_numbers(space: Space) -> list[str]:
    """Return the names of the numbers without a condition. Raises UsageError without any."""
    names = []
    for name, parameter in space.parameters.items():
        if not isinstance(parameter, Choice) and not parameter.when:
            names.append(name)
    if not names:
        raise UsageError(
            "'cmaes' moves numbers, and this space has none without a condition: use 'tpe'"
        )
    return names


__all__ = ["SAMPLERS", "Classical", "makers"]
