"""The proposer without a model: one small random change of the parent. The honest baseline for every model.

Python keeps its formatting; of any other text only the numbers move. Nothing that was tried is proposed again.
"""

from __future__ import annotations

from random import Random

from ..errors import MissingExtra
from ..records import Ask, Plan, Proposal, Trial, X
from ..space import Space
from ._numbers import change_a_number
from ._python import PythonChanges

_ATTEMPTS = 60  # to find an x that was not tried
_CHAIN_AFTER = 20  # attempts, after which several changes are made at once


class Mutation:
    """Changes one thing of the parent at random."""

    def __init__(self, space: Space | None = None) -> None:
        """Take the parameters, when x is a set of these. Raises MissingExtra where libcst is not installed."""
        self._space = space
        self._seen: set[str] = set()
        self._python = PythonChanges() if space is None else None

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return a changed parent that was never tried, or why there is none; no model is asked."""
        if plan.parent is None and self._space is None:
            return Proposal(None, "mutation", problem="there is no x to change: give x0")
        for attempt in range(_ATTEMPTS):
            x = self._changed(plan, rng)
            for _ in range(max(0, attempt - _CHAIN_AFTER) // 10):
                x = self._change(x, rng)
            proposal = Proposal(x, "mutation")
            if proposal.key not in self._seen:
                self._seen.add(proposal.key)
                return proposal
        return Proposal(None, "mutation", problem=f"nothing new was found in {_ATTEMPTS} attempts to change this x")

    def tell(self, trial: Trial) -> None:
        """Remember what was tried."""
        if trial.x is not None:
            self._seen.add(trial.key)

    def _changed(self, plan: Plan, rng: Random) -> X:
        if plan.parent is None or plan.parent.x is None:
            return self._space.sample(rng) if self._space else ""
        return self._change(plan.parent.x, rng)

    def _change(self, x: X, rng: Random) -> X:
        if isinstance(x, str):
            return self._change_text(x, rng)
        if self._space is not None:
            return self._space.near(x, rng)
        name = rng.choice(sorted(x))
        return {**x, name: self._change_text(x[name], rng)} if isinstance(x[name], str) else x

    def _change_text(self, text: str, rng: Random) -> str:
        changed = self._python.change(text, rng) if self._python else None
        return change_a_number(text, rng) if changed is None else changed


__all__ = ["MissingExtra", "Mutation"]
