"""Optuna's samplers as proposers on a space: tpe, cmaes, gp, random; told of all trials, whoever proposed them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Any

from ..errors import UnknownName, UsageError
from ..identity import key_of
from ..records import Ask, Plan, Proposal, Proposer, Status, Trial
from ..space import Choice, Space
from ._cmaes import Generations
from ._study import SAMPLERS, Study

_log = logging.getLogger("llm_optimize")
_ATTEMPTS = 4  # to propose an x that was not tried


class Classical:
    """Proposes by a classical method; no model is asked.

    All that it knows are the told trials, so that a resumed run goes on as if nothing had happened: the sampler is
    made anew for each proposal, from the dice of that trial.

    >>> import asyncio
    >>> from llm_optimize.space import Float
    >>> proposer = Classical(Space({"lr": Float(0, 1)}), "random")
    >>> proposal = asyncio.run(proposer.propose(Plan(None), None, Random(0)))
    >>> proposal.source, 0 <= proposal.x["lr"] <= 1
    ('random', True)
    """

    def __init__(
        self, space: Space, sampler: str = "tpe", *, startup: int | None = None
    ) -> None:
        """Take the parameters and the method.

        Args:
            space: what values x may have; under conditions each parameter is asked for where it is there.
            sampler: "tpe", a tree-structured Parzen estimator, for any space (Bergstra et al., NeurIPS 2011);
                "cmaes" adapts a normal distribution to the numbers, and leaves options and what has a condition to
                tpe (Hansen, arXiv 1604.00772); "gp", a Gaussian process, which thinks for a second or more and needs
                torch; "random".
            startup: how many scored trials "tpe" and "gp" draw at random, or are told of, before they begin; None
                takes Optuna's own 10.

        Raises UnknownName for another word, UsageError for a space without a number for "cmaes" or a `startup` that
        means nothing, and MissingExtra where Optuna, or what it needs for the method, is not installed.
        """
        if sampler not in SAMPLERS:
            raise UnknownName("sampler", sampler, SAMPLERS)
        if startup is not None and (sampler not in ("tpe", "gp") or startup < 1):
            raise UsageError(
                f"startup is {startup} with {sampler!r}: give 1 or more, with 'tpe' or 'gp'"
            )
        self._space = space
        self._name = sampler
        self._told: set[int] = set()
        self._seen: set[str] = set()
        self._open: list[dict[str, Any]] = []  # proposed, not yet told, oldest first
        numbers = _free_numbers(space) if sampler == "cmaes" else []
        if sampler == "cmaes" and not numbers:
            raise UsageError(
                "'cmaes' moves numbers, and this space has none without a condition: take 'tpe'"
            )
        self._generations = Generations(space, numbers) if numbers else None
        others = [name for name in space.parameters if name not in numbers]
        self._study = (
            Study(space, "tpe" if sampler == "cmaes" else sampler, startup, others)
            if others
            else None
        )

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the next x, one that was not tried where a few attempts find one; the plan is not looked at."""
        drawn = [self._next(rng)]
        while self._is_known(drawn[-1]) and len(drawn) < _ATTEMPTS:
            drawn.append(self._next(rng))
        *refused, x = drawn
        for other in refused:
            self._forget(other)
        self._open.append(x)
        return Proposal(x, self._name)

    def drop(self, x: dict[str, Any]) -> None:
        """Take back a proposal that nobody is going to score."""
        if x in self._open:
            self._open.remove(x)
            self._forget(x)

    def observe(self, trial: Trial) -> None:
        """Learn from a trial, whoever proposed it; a duplicate, and one outside of the space, say nothing new."""
        if trial.status is Status.PENDING:
            return
        x = self._read(trial)
        if trial.number not in self._told:
            self._told.add(trial.number)
            self._close(x)
        if x is None or trial.status is Status.DUPLICATE:
            return
        self._seen.add(key_of(x))
        if self._generations is not None:
            self._generations.observe(
                trial.number, x, trial.score, own=trial.source == self._name
            )
        if self._study is not None:
            self._study.observe(trial.number, x, trial.score)

    def _next(self, rng: Random) -> dict[str, Any]:
        x = (
            self._generations.ask(rng.getrandbits(32))
            if self._generations is not None
            else {}
        )
        if self._study is not None:
            x = self._study.ask(rng.getrandbits(32), x)
        return {name: x[name] for name in self._space.parameters if name in x}

    def _read(self, trial: Trial) -> dict[str, Any] | None:
        try:
            return None if trial.x is None else self._space.check(trial.x)
        except UsageError as error:
            _log.debug(
                "trial %d is outside of the space and teaches %s nothing: %s",
                trial.number,
                self._name,
                error,
            )
            return None

    def _is_known(self, x: dict[str, Any]) -> bool:
        return key_of(x) in self._seen or any(x == other for other in self._open)

    def _close(self, x: dict[str, Any] | None) -> None:
        """Take a told x off the open ones.

        An x that nobody here proposed stands for the oldest of them: a gate may have mixed that, or dropped it, and
        what is told must leave the same state as on a resume, where nothing is open.
        """
        if self._open:
            place = self._open.index(x) if x in self._open else 0
            self._forget(self._open.pop(place))

    def _forget(self, x: dict[str, Any]) -> None:
        if self._study is not None:
            self._study.forget(x)


def makers(space: Space | None) -> Mapping[str, Callable[[], Proposer]]:
    """Return how to make the proposer of each name. The making raises UsageError without a space, and MissingExtra."""
    return {name: partial(_made, space, name) for name in SAMPLERS}


def _made(space: Space | None, name: str) -> Proposer:
    if space is None:
        raise UsageError(
            f"the proposer {name!r} chooses values of parameters: give space={{...}}"
        )
    return Classical(space, name)


def _free_numbers(space: Space) -> list[str]:
    return [
        name
        for name, p in space.parameters.items()
        if not isinstance(p, Choice) and not p.when
    ]


__all__ = ["SAMPLERS", "Classical", "makers"]
