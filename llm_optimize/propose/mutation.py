"""Mutation: one small random change of the parent, without a model; the baseline for all others.

Python keeps its formatting; in any other text only numbers move. Where x has EVOLVE-BLOCK
regions, only these change. What was tried is not proposed again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from random import Random

from ..errors import MissingExtra, NothingToPropose
from ..identity import is_python
from ..records import Ask, Plan, Proposal, Trial, X
from ..space import Space
from ._number_changes import change_a_number, has_number
from ._python_changes import PythonChanges
from .language.protected import check_change, has_protected, regions

_ATTEMPTS = 60  # to find an x that was not tried
_CHAIN_AFTER = 20  # attempts, after which several changes are made at once
_ATTEMPTS_PER_LINK = 10  # after which the chain grows by one change
# Proposals in a row without anything new, after which there is nothing left.
_MAX_FAILURES = 10


class Mutation:
    """Changes one thing of the parent at random.

    Args:
        space: the parameters, where x is a dict of them.
        first: the first candidates.

    Raises MissingExtra, also in `propose`, where x is a Python program and libcst is not
    installed. Numbers in other text are changed without it.
    """

    def __init__(self, space: Space | None = None, first: Sequence[X] = ()) -> None:
        self._space = space
        self._tried: set[str] = set()  # keys of x
        self._failures = 0  # proposals in a row without anything new
        self._python: PythonChanges | None = None
        for x in first:
            texts = [x] if isinstance(x, str) else x.values()
            for text in texts:
                if isinstance(text, str):
                    self._changes_of(text)

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return a changed parent that was never tried, or why there is none; no model is asked.

        Raises NothingToPropose when the parent has nothing that can be changed, and when ten
        proposals in a row found nothing new.
        """
        if plan.parent is None and self._space is None:
            return Proposal(
                None, "mutation", problem="there is no x to change: give x0"
            )
        parent = plan.parent.x if plan.parent else None
        for attempt in range(_ATTEMPTS):
            if parent is not None:
                x = self._changed(parent, rng)
            elif self._space is not None:
                x = self._space.sample(rng)
            else:
                x = ""
            further = max(0, attempt - _CHAIN_AFTER) // _ATTEMPTS_PER_LINK
            for _ in range(further):
                x = self._changed(x, rng)
            proposal = Proposal(x, "mutation")
            if plan.parent is not None and proposal.key == plan.parent.key:
                continue
            if proposal.key in self._tried:
                continue
            if parent is None or check_change(parent, x) is None:
                self._tried.add(proposal.key)
                self._failures = 0
                return proposal
        self._refuse_unchangeable(plan)
        self._failures += 1
        problem = f"nothing new was found in {_ATTEMPTS} attempts to change this x"
        if self._failures >= _MAX_FAILURES:
            raise NothingToPropose(
                f"mutation has nothing left to try: {problem}, {_MAX_FAILURES} times in a row"
            )
        return Proposal(None, "mutation", problem=problem)

    def observe(self, trial: Trial) -> None:
        """Remember what was tried."""
        if trial.x is not None:
            self._tried.add(trial.key)

    def _refuse_unchangeable(self, plan: Plan) -> None:
        """Raise NothingToPropose for a parent in which nothing can be changed."""
        parent = plan.parent.x if plan.parent else None
        if parent is None or self._space is not None:
            return
        if isinstance(parent, str):
            texts = [parent]
        else:
            texts = [part for part in parent.values() if isinstance(part, str)]
        if any(map(self._can_change, texts)):
            return
        where = "in"
        if any(map(has_protected, texts)):
            where = "between the EVOLVE-BLOCK markers of"
        raise NothingToPropose(
            f"mutation finds nothing to change {where} x: no number, no True or False, no "
            "scikit-learn estimator that it knows; ask a model, or give parameters with space"
        )

    def _changes_of(self, text: str) -> PythonChanges | None:
        """Return what changes a program; None for other text where libcst is not installed.

        Raises MissingExtra for a program where it is not installed.
        """
        if self._space is not None:
            return None
        if self._python is None and (find_spec("libcst") or is_python(text)):
            self._python = PythonChanges()
        return self._python

    def _can_change(self, text: str) -> bool:
        """Return whether something of a text can be changed where it may be."""
        allowed = regions(text)
        python = self._changes_of(text)
        if python is not None and python.can_change(text, allowed):
            return True
        return bool(_with_numbers(text, allowed))

    def _changed(self, x: X, rng: Random) -> X:
        if isinstance(x, str):
            return self._changed_text(x, rng)
        if self._space is not None:
            return self._space.near(x, rng)
        name = rng.choice(sorted(x))
        if not isinstance(x[name], str):
            return x
        changed = self._changed_text(x[name], rng)
        return {**x, name: changed}

    def _changed_text(self, text: str, rng: Random) -> str:
        allowed = regions(text)
        python = self._changes_of(text)
        if python is not None:
            changed = python.change(text, rng, allowed)
            if changed is not None:
                return changed
        spans = _with_numbers(text, allowed)
        if not spans:
            return text
        begin, end = rng.choice(spans)
        changed = change_a_number(text[begin:end], rng)
        return text[:begin] + changed + text[end:]


def _with_numbers(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the spans of a text that have a number."""
    return [(begin, end) for begin, end in spans if has_number(text[begin:end])]


__all__ = ["MissingExtra", "Mutation"]
