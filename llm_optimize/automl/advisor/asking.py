"""Model calls of the advisor: within a budget, each reply stored as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import BudgetSpent
from ...llm import Model, Seen, expected_usage, reply_of
from ...records import Budget, Counts, Message, Usage
from .ledger import Kept


@dataclass(frozen=True)
class Answer:
    """One reply of a model.

    Args:
        text: the reply.
        reasoning: thinking that the endpoint returned apart from it.
        incomplete: why it is not whole, a sentence; empty when it is.
        is_new: whether it was asked for now; else it comes from an earlier session.
    """

    text: str
    reasoning: str
    incomplete: str
    is_new: bool


class Asker:
    """Asks one model; what an earlier session was answered is not asked again.

    Args:
        model: who answers.
        ledger: where replies are kept.
        budget: caps on calls, tokens and dollars of this session, calls in flight included.
    """

    def __init__(self, model: Model, ledger: Kept, budget: Budget) -> None:
        self._model = model
        self._ledger = ledger
        self._budget = budget
        self._counts = Counts(first_trials=0)
        self._in_flight: list[Usage] = []  # what each call may use
        self._changed = asyncio.Condition()
        self._seen = Seen()

    @property
    def usage(self) -> Usage:
        """What the calls of this session used."""
        return self._counts.usage

    async def ask(
        self,
        key: Mapping[str, Any],
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None = None,
    ) -> Answer:
        """Return the reply to messages.

        Args:
            key: what tells this call from all others of the ledger, as plain data.
            messages: what is asked.
            schema: of JSON that the reply should be, for endpoints that take one.

        Raises:
            BudgetSpent: a cap is reached.
            ModelError: the model did not answer.
            StoreError: the reply could not be written.
        """
        stored = self._ledger.get(key)
        if stored is not None:
            return _answer(stored, is_new=False)
        expected = expected_usage(self._model, messages, self._seen)
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(expected))
        self._refuse_spent()
        self._counts.calls += 1
        self._in_flight.append(expected)
        try:
            reply = await reply_of(self._model, messages, schema)
            self._counts.usage += reply.usage
            self._learn(reply.usage)
        finally:
            self._in_flight.remove(expected)
            async with self._changed:
                self._changed.notify_all()
        row = {
            "text": reply.text,
            "reasoning": reply.reasoning,
            "incomplete": reply.incomplete,
            "model": reply.model,
            "usage": asdict(reply.usage),
        }
        self._ledger.put(key, row)
        return _answer(row, is_new=True)

    def _fits(self, expected: Usage) -> bool:
        """Whether a call and those in flight stay below the caps, or it would be alone.

        A call that may not fit waits for the others, which may turn out cheaper. Alone it may go,
        and be the one that crosses the cap.
        """
        if not self._in_flight:
            return True
        planned = sum(self._in_flight, expected)
        caps = self._counts.call_caps(self._budget)
        usd = planned.cost_usd or 0.0
        more = {"calls": 0, "tokens": planned.tokens, "usd": usd}
        return not any(cap.is_reached(more[cap.name]) for cap in caps)

    def _refuse_spent(self) -> None:
        for cap in self._counts.call_caps(self._budget):
            if cap.is_reached():
                raise BudgetSpent(
                    f"the budget allows no further model call: {cap.name} is {cap.cap:g}"
                )

    def _learn(self, usage: Usage) -> None:
        before = self._seen.longest_reply or 1
        longest = max(usage.completion_tokens, before)
        self._seen = Seen(longest, self._seen.tokens_per_char)


def _answer(
    row: Mapping[str, Any],
    *,
    is_new: bool,
) -> Answer:
    return Answer(row["text"], row["reasoning"], row["incomplete"], is_new)
