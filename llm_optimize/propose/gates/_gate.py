"""What all gates share: asking the one that was decided on, falling back when the model fails, telling both."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from random import Random
from typing import Any

from ...errors import BudgetSpent, ModelError
from ...records import Ask, Message, Plan, Proposal, Proposer, Reply, Trial, Usage
from ._ledger import Ledger

_log = logging.getLogger(__name__)
_FAILURES = 3  # in a row, after which the model is left alone for a while


@dataclass(frozen=True)
class Decision:
    """What a gate decided for one trial, and why; stored with the trial."""

    gate: str  # fixed_alpha | adaptive
    who: str  # model | learner | fallback: the learner in place of a model that failed
    reason: str  # alpha_draw | stagnation | warmup | cooldown | improving | budget | model_failed
    u: float | None = None  # the throw of the dice, below which alpha must be
    alpha: float | None = None
    slope: float | None = None  # of the last scores, a trial
    threshold: float | None = None  # below which the slope must be
    n: int = 0  # complete trials so far
    since_model: int | None = (
        None  # complete trials after the last one of the model; None before the first
    )

    def __str__(self) -> str:
        facts = {
            "u": self.u,
            "alpha": self.alpha,
            "slope": self.slope,
            "threshold": self.threshold,
            "n": self.n,
        }
        known = ", ".join(
            f"{name} {value:.4g}" for name, value in facts.items() if value is not None
        )
        return f"{self.gate}, {self.reason} ({known})"


class Gate(ABC):
    """Two proposers and a rule; both are told of every trial, whoever proposed it.

    A model that raises a ModelError or writes no x is replaced by the other proposer for this trial: a fallback, which
    is no decision for the model. After three failures in a row it is left alone for `rest` trials.
    """

    def __init__(self, model: Proposer, other: Proposer, rest: int) -> None:
        """Take the two, and for how many trials a model is left alone that failed again and again."""
        self.model = model
        self.other = other
        self.ledger = Ledger()
        self._rest = rest

    @property
    def resting(self) -> bool:
        """Whether the model is left alone after its failures."""
        return (
            self.ledger.failures >= _FAILURES and self.ledger.since_failure < self._rest
        )

    @abstractmethod
    def decide(self, rng: Random) -> Decision:
        """Return who is to propose the next trial, the model or the learner, and why."""

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the x of the one that was decided on, with the decision; what the other proposer raises goes up."""
        decision = self.decide(rng)
        if decision.who == "model":
            return await self.with_model(decision, plan, ask, rng)
        return settled(await self.other.propose(plan, ask, rng), decision)

    async def with_model(
        self, decision: Decision, plan: Plan, ask: Ask, rng: Random
    ) -> Proposal:
        """Return the model's x, or the other's where the model has none."""
        proposal, failure = await self.ask_model(plan, ask, rng)
        if not failure:
            return settled(proposal, decision)
        return fallen_back(
            await self.other.propose(plan, ask, rng), proposal, decision, failure
        )

    async def ask_model(
        self, plan: Plan, ask: Ask, rng: Random
    ) -> tuple[Proposal, str]:
        """Return what the model proposes with all that it used, and the reason why there is no x; empty if there is."""
        counted = _Counted(ask)
        try:
            proposal = await self.model.propose(plan, counted, rng)
        except ModelError as error:
            usage = counted.usage + Usage(uncertain_calls=error.uncertain_calls)
            counted.spent = counted.spent or isinstance(error, BudgetSpent)
            proposal = Proposal(
                None, "", usage, problem=f"{type(error).__name__}: {error}"
            )
        failure = "budget" if counted.spent else "model_failed"
        return proposal, failure if proposal.x is None else ""

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, and let both proposers learn from it."""
        if self.ledger.observe(trial):
            self.finished(trial)
        self.model.observe(trial)
        self.other.observe(trial)

    def finished(self, trial: Trial) -> None:  # noqa: B027, most gates keep no books of their own
        """Learn that a trial is finished for the first time."""


def settled(proposal: Proposal, decision: Decision) -> Proposal:
    """Return the proposal with its decision, and log it."""
    words = (
        "LLM decision: the model proposes"
        if decision.who == "model"
        else "RL decision: the learner proposes"
    )
    _log.info("%s: %s", words, decision)
    return proposal.with_decision(asdict(decision))


def fallen_back(
    instead: Proposal, failed: Proposal, decision: Decision, reason: str
) -> Proposal:
    """Return the learner's proposal in place of the model's, with the usage of both."""
    _log.info("the model has no x: %s", failed.problem)
    proposal = instead.with_usage(failed.usage + instead.usage)
    return settled(proposal, replace(decision, who="fallback", reason=reason))


class _Counted:
    """Asks, and knows what was used, also where the asking ended with an error."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.usage = Usage()
        self.spent = False  # whether the budget allowed no further call

    async def __call__(
        self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Reply:
        try:
            reply = await (
                self._ask(messages) if schema is None else self._ask(messages, schema)
            )
        except BudgetSpent:
            self.spent = True
            raise
        self.usage += reply.usage
        return reply
