"""What the parts of a run are to each other."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from random import Random
from typing import Any, Protocol

from ._trial import Plan, Proposal, Trial
from ._words import Message, Reply


class Ask(Protocol):
    """How a proposer talks to the model of the run: recorded, counted, under the budget."""

    def __call__(
        self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
    ) -> Awaitable[Reply]:
        """Return the reply, which is to be JSON of this schema where the endpoint can be told so.

        Raises ModelError; BudgetSpent when no call may be made.
        """


class Search(Protocol):
    """Decides what to build on next; rebuilt on resume by telling it the stored trials again."""

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the next plan; `pending` are the parents of trials in flight; randomness comes from `rng` only."""

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; one that is told again was scored again, and replaces what was known of it."""


class Proposer(Protocol):
    """Writes the next x."""

    async def propose(self, plan: Plan, ask: Ask, rng: Random) -> Proposal:
        """Return the next x or why there is none; randomness comes from `rng` only."""

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial."""
