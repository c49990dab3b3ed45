"""Gate: a proposer that asks one of two others, and the second where the first one fails."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from random import Random
from typing import Any

from ...errors import BudgetSpent, ModelError, OptionName, UsageError
from ...records import Ask, Message, Plan, Proposal, Proposer, Reply, Trial, Usage
from ._history import History
from ._rules import Decision, FixedAlphaRule, Rule

_log = logging.getLogger(__name__)


class Gate:
    """Two proposers, which both observe every trial, and a rule that decides between them.

    If the model raises a ModelError or writes no x, the other proposer writes the x of this
    trial: a fallback, which does not count as the model's. What the failed calls used is counted
        in the proposal.

    Args:
        model: asked where the rule decides for the model.
        other: asked otherwise, and where the model fails; what it raises is not caught.
        rule: an `AdaptiveRule` or a `FixedAlphaRule`.
    """

    def __init__(self, model: Proposer, other: Proposer, rule: Rule) -> None:
        self.model = model
        self.other = other
        self.rule = rule
        self._history = History()

    def decide(self, rng: Random) -> Decision:
        """Return who proposes the next trial, and why."""
        return self.rule.decide(self._history, rng)

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the x of one of the two, or a blend of both, with the decision."""
        decision = self.decide(rng)
        if decision.who != "model":
            proposal = await self.other.propose(plan, ask, rng)
            return _with_decision(proposal, decision)
        # Until its trial is observed the model counts as asked, so that workers that propose
        # meanwhile do not ask it again on the same plateau.
        self._history.in_flight += 1
        try:
            if isinstance(self.rule, FixedAlphaRule) and self.rule.blend == "parameter":
                proposal = await self._blend(self.rule.alpha, decision, plan, ask, rng)
            else:
                proposal = await self._of_model(decision, plan, ask, rng)
        except BaseException:
            self._history.in_flight -= 1
            raise
        if proposal.decision["who"] == "learner":
            self._history.in_flight -= 1
        return proposal

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, and let both proposers learn from it."""
        self._history.observe(trial)
        self.model.observe(trial)
        self.other.observe(trial)

    async def _of_model(
        self, decision: Decision, plan: Plan, ask: Ask, rng: Random
    ) -> Proposal:
        """Return the model's x, or the other's where the model has none."""
        proposal, failure = await self._ask_model(plan, ask, rng)
        if not failure:
            return _with_decision(proposal, decision)
        substitute = await self.other.propose(plan, ask, rng)
        return _fallback(substitute, proposal, decision, failure)

    async def _blend(
        self,
        alpha: float,
        decision: Decision,
        plan: Plan,
        ask: Ask,
        rng: Random,
    ) -> Proposal:
        """Return the other's x, in which each parameter is the model's with probability alpha."""
        other = await self.other.propose(plan, ask, rng)
        draw = Random(decision.u)
        chosen = [name for name in _parameters(other) if draw.random() < alpha]
        if not chosen:
            return _with_decision(other, replace(decision, who="learner"))
        model, failure = await self._ask_model(plan, ask, rng)
        if failure:
            return _fallback(other, model, decision, failure)
        written = _parameters(model)
        x = dict(_parameters(other))
        if x.keys() == written.keys():
            for name in chosen:
                x[name] = written[name]
        else:  # as with conditions: a mixture may not be legal, and all of x is the model's
            x = dict(written)
        source = f"{model.source}+{other.source}"
        usage = model.usage + other.usage
        blended = replace(model, x=x, source=source, usage=usage)
        return _with_decision(blended, decision)

    async def _ask_model(
        self, plan: Plan, ask: Ask, rng: Random
    ) -> tuple[Proposal, str]:
        """Return what the model proposes, with all usage, and why it has no x; "" if it has."""
        counted = _CountedAsk(ask)
        try:
            proposal = await self.model.propose(plan, counted, rng)
        except ModelError as error:
            if isinstance(error, BudgetSpent):
                counted.budget_spent = True
            usage = counted.usage + Usage(uncertain_calls=error.uncertain_calls)
            problem = f"{type(error).__name__}: {error}"
            proposal = Proposal(None, "", usage, problem=problem)
        if proposal.x is not None:
            return proposal, ""
        return proposal, "budget" if counted.budget_spent else "model_failed"


class _CountedAsk:
    """Asks the model and adds up what was used, so that it is known after an error, too."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.usage = Usage()
        self.budget_spent = False  # whether the budget allowed no further call

    async def __call__(
        self,
        messages: Sequence[Message],
        /,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        try:
            if schema is None:
                reply = await self._ask(messages)
            else:
                reply = await self._ask(messages, schema)
        except BudgetSpent:
            self.budget_spent = True
            raise
        self.usage += reply.usage
        return reply


def _with_decision(proposal: Proposal, decision: Decision) -> Proposal:
    """Return the proposal with its decision, and log that."""
    words = "RL decision: the learner proposes"
    if decision.who == "model":
        words = "LLM decision: the model proposes"
    _log.info("%s: %s", words, decision)
    return proposal.with_decision(asdict(decision))


def _fallback(
    substitute: Proposal, failed: Proposal, decision: Decision, reason: str
) -> Proposal:
    """Return the learner's proposal in place of the model's, with the usage of both."""
    _log.info("the model has no x: %s", failed.problem)
    proposal = substitute.with_usage(failed.usage + substitute.usage)
    return _with_decision(proposal, replace(decision, who="fallback", reason=reason))


def _parameters(proposal: Proposal) -> Mapping[str, Any]:
    """Return the parameters of an x; none where there is no x. Raises UsageError for a text."""
    if isinstance(proposal.x, str):
        raise UsageError(
            "blend='parameter' mixes parameters, and x is a text: give ",
            OptionName("space"),
            ", or blend='config'",
        )
    return proposal.x or {}
