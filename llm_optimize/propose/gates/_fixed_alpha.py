"""The gate that throws dice: the model proposes with the probability alpha."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from ...errors import UnknownName, UsageError
from ...records import Ask, Plan, Proposal, Proposer
from ._gate import Decision, Gate, fallen_back, settled

_BLENDS = ("config", "parameter")


@dataclass(frozen=True)
class FixedAlphaRule:
    """The options of `FixedAlpha`. Raises UsageError for one that cannot be."""

    alpha: float = 0.3
    blend: str = "config"
    cooldown: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise UsageError(
                f"alpha is {self.alpha}: it is the model's share, give 0 (never) to 1 (always)"
            )
        if self.blend not in _BLENDS:
            raise UnknownName("blend", str(self.blend), _BLENDS)
        if self.cooldown < 0:
            raise UsageError(f"cooldown is {self.cooldown}: give 0 trials or more")


class FixedAlpha(Gate):
    """Lets the model propose where the first throw of a trial's dice is below alpha.

    Args:
        model: asked in that case.
        other: asked otherwise, and where the model fails.
        alpha: the model's share of the proposals, 0 to 1.
        blend: "config": the whole x is of one of the two. "parameter": both propose, and each parameter is the model's
            with the probability alpha; x is then a dict. The model is asked only where a parameter is to be its own.
        cooldown: trials for which a model is left alone that failed three times in a row.

    Raises UsageError, or UnknownName for another blend.

    Source: the fixed mixture of a language model and reinforcement learning of MAT-HPO.
    """

    def __init__(
        self,
        model: Proposer,
        other: Proposer,
        alpha: float = 0.3,
        blend: str = "config",
        cooldown: int = 5,
    ) -> None:
        self._rule = FixedAlphaRule(alpha, blend, cooldown)
        super().__init__(model, other, rest=cooldown)

    def decide(self, rng: Random) -> Decision:
        """Return who proposes by the next throw of the dice."""
        u, books = rng.random(), self.ledger
        facts: dict[str, Any] = {"u": u, "alpha": self._rule.alpha}
        facts |= {"n": len(books.scores), "since_model": books.since_model}
        if self.resting:
            return Decision("fixed_alpha", "learner", "cooldown", **facts)
        model = self._rule.blend == "parameter" or u < self._rule.alpha
        return Decision(
            "fixed_alpha", "model" if model else "learner", "alpha_draw", **facts
        )

    async def with_model(
        self, decision: Decision, plan: Plan, ask: Ask, rng: Random
    ) -> Proposal:
        """Return the model's x, or a blend of both."""
        if self._rule.blend == "config":
            return await super().with_model(decision, plan, ask, rng)
        theirs = await self.other.propose(plan, ask, rng)
        dice = Random(decision.u)
        chosen = {
            name for name in _parameters(theirs) if dice.random() < self._rule.alpha
        }
        if not chosen:
            return settled(theirs, replace(decision, who="learner"))
        ours, failure = await self.ask_model(plan, ask, rng)
        if failure:
            return fallen_back(theirs, ours, decision, failure)
        return settled(_blended(ours, theirs, chosen), decision)


def _parameters(proposal: Proposal) -> dict[str, Any]:
    """Return the parameters of an x; none where there is no x."""
    if isinstance(proposal.x, str):
        raise UsageError(
            "blend='parameter' mixes parameters, and x is a text: give space=..., or blend='config'"
        )
    return proposal.x or {}


def _blended(ours: Proposal, theirs: Proposal, chosen: Collection[str]) -> Proposal:
    """Return the other's x with the chosen parameters of the model.

    Where the two have not the same parameters, as with conditions, a mixture may be no legal x: it is the model's then.
    """
    mine, other = _parameters(ours), _parameters(theirs)
    x = (
        {name: mine[name] if name in chosen else other[name] for name in other}
        if mine.keys() == other.keys()
        else mine
    )
    return replace(
        ours,
        x=x,
        source=f"{ours.source}+{theirs.source}",
        usage=ours.usage + theirs.usage,
    )
