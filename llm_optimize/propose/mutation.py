"""The proposer without a model: one small random change of the parent, the plain baseline.

Python keeps its formatting; of any other text only the numbers move. Where x has EVOLVE-BLOCK
regions, only these change. Nothing that was tried is proposed again.
"""

from __future__ import annotations

from random import Random

from ..errors import MissingExtra, NothingToPropose
from ..records import Ask, Plan, Proposal, Trial, X
from ..space import Space
from ._numbers import change_a_number, has_number
from ._python import PythonChanges
from .language.protected import check_change, has_protected, regions

_ATTEMPTS = 60  # to find an x that was not tried
_CHAIN_AFTER = 20  # attempts, after which several changes are made at once
_FAILURES = (
    10  # proposals in a row without anything new, after which there is nothing left
)


class Mutation:
    """Changes one thing of the parent at random."""

    def __init__(self, space: Space | None = None) -> None:
        """Take the parameters, when x is a set of these. Raises MissingExtra where libcst is not installed."""
        self._space = space
        self._seen: set[str] = set()
        self._failures = 0  # proposals in a row without anything new
        self._python = PythonChanges() if space is None else None

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return a changed parent that was never tried, or why there is none; no model is asked.

        Raises NothingToPropose when the parent has nothing that can be changed, and when ten
        proposals in a row found nothing new.
        """
        if plan.parent is None and self._space is None:
            return Proposal(
                None, "mutation", problem="there is no x to change: give x0"
            )
        for attempt in range(_ATTEMPTS):
            x = self._changed(plan, rng)
            for _ in range(max(0, attempt - _CHAIN_AFTER) // 10):
                x = self._change(x, rng)
            proposal = Proposal(x, "mutation")
            is_new = proposal.key not in self._seen and (
                plan.parent is None or proposal.key != plan.parent.key
            )
            if is_new and self._keeps_frame(plan, x):
                self._seen.add(proposal.key)
                self._failures = 0
                return proposal
        self._refuse_unchangeable(plan)
        self._failures += 1
        problem = f"nothing new was found in {_ATTEMPTS} attempts to change this x"
        if self._failures >= _FAILURES:
            raise NothingToPropose(
                f"mutation has nothing left to try: {problem}, {_FAILURES} times in a row"
            )
        return Proposal(None, "mutation", problem=problem)

    def _refuse_unchangeable(self, plan: Plan) -> None:
        parent = plan.parent.x if plan.parent else None
        if parent is None or self._space is not None:
            return
        texts = (
            [parent]
            if isinstance(parent, str)
            else [one for one in parent.values() if isinstance(one, str)]
        )
        if not any(self._can_change(text) for text in texts):
            where = (
                "between the EVOLVE-BLOCK markers of"
                if any(map(has_protected, texts))
                else "in"
            )
            raise NothingToPropose(
                f"mutation finds nothing to change {where} x: no number, no True or False, no scikit-learn "
                "estimator; ask a model, or give parameters with space"
            )

    def _can_change(self, text: str) -> bool:
        """Whether something of a text can be changed where it may be."""
        allowed = regions(text)
        if self._python is not None and self._python.can_change(text, allowed):
            return True
        return any(has_number(text[begin:end]) for begin, end in allowed)

    @staticmethod
    def _keeps_frame(plan: Plan, x: X) -> bool:
        """Whether all that stands outside of regions stayed as it was."""
        parent = plan.parent.x if plan.parent else None
        return parent is None or check_change(parent, x) is None

    def observe(self, trial: Trial) -> None:
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
        return (
            {**x, name: self._change_text(x[name], rng)}
            if isinstance(x[name], str)
            else x
        )

    def _change_text(self, text: str, rng: Random) -> str:
        allowed = regions(text)
        changed = self._python.change(text, rng, allowed) if self._python else None
        if changed is not None:
            return changed
        begin, end = rng.choice(
            [span for span in allowed if has_number(text[slice(*span)])] or [(0, 0)]
        )
        return text[:begin] + change_a_number(text[begin:end], rng) + text[end:]


__all__ = ["MissingExtra", "Mutation"]
