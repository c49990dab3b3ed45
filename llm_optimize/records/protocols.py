"""Protocols of the plug-in points: a search, a proposer, and how a proposer asks the model."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from .trial import Plan, Proposal, Trial
from .values import Message, Reply


class Ask(Protocol):
    """Asks the model of the run; each call is recorded, counted, and held to the budget."""

    def __call__(
        self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Awaitable[Reply]:
        """Return the reply; with a schema, as JSON of it where the endpoint supports that.

        Raises ModelError; BudgetSpent when the budget allows no further call.
        """


class Search(Protocol):
    """Decides which trials the next x is built on.

    On resume a new search observes the stored trials again, in the same order.
    """

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the next plan, with `rng` as the only source of randomness.

        `pending` are the parents of the trials in flight.
        """

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; one that is observed again was scored again."""


class Proposer(Protocol):
    """Writes the next x."""

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the next x or why there is none; `rng` is the only source of randomness."""

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial."""
