"""What a run may spend on models, counting what is in flight, so that no cap is overrun by more than one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from ..errors import BudgetSpent, UsageError
from ..llm import Model, Seen, expected_usage, price_of
from ..records import Budget, Message, Reply, Usage


class Spending:
    """What the model calls of a run used, and what those on the wire are expected to."""

    def __init__(self, budget: Budget, usage: Usage, calls: int) -> None:
        """Take the caps, and what was used under them already."""
        self.usage = usage
        self.calls = calls  # answered, or on the wire
        self._budget = budget
        self._seen = Seen()
        self._in_flight: dict[int, Usage] = {}
        self._waiting: list[asyncio.Future[None]] = []
        self._next_key = 0

    @asynccontextmanager
    async def turn(self, model: Model, messages: Sequence[Message]) -> AsyncIterator[None]:
        """Let one call go when no cap can be overrun by it; the caller reports its reply to `paid`.

        A call that might not fit waits for those on the wire, which may turn out cheaper; alone it may go, and be the
        one that crosses the cap. Raises BudgetSpent when a cap is reached.
        """
        expected = expected_usage(model, messages, self._seen)
        while not self._fits(expected):
            self._refuse_spent()
            await self._change()
        self._refuse_spent()
        key, self._next_key = self._next_key, self._next_key + 1
        self._in_flight[key] = expected
        self.calls += 1
        try:
            yield
        finally:
            del self._in_flight[key]
            self._tell()

    def paid(self, reply: Reply, messages: Sequence[Message]) -> None:
        """Count a reply that has come."""
        usage = reply.usage
        self.usage += usage
        chars = sum(len(message["content"]) for message in messages)
        ratio = usage.prompt_tokens / chars if chars and not usage.estimated else 0.0
        self._seen = replace(
            self._seen,
            longest_reply=max(usage.completion_tokens, self._seen.longest_reply or 1),
            tokens_per_char=max(self._seen.tokens_per_char, min(ratio, 1.0)),
        )

    def _fits(self, expected: Usage) -> bool:
        """Whether this call and those on the wire stay below the caps of tokens and dollars, or it would be alone."""
        tokens, usd = self._budget.tokens, self._budget.usd
        if not self._in_flight or (tokens is None and usd is None):
            return True
        sum_expected = sum(self._in_flight.values(), expected)
        return (tokens is None or self.usage.tokens + sum_expected.tokens <= tokens) and (
            usd is None or (self.usage.cost_usd or 0.0) + (sum_expected.cost_usd or 0.0) <= usd
        )

    def _refuse_spent(self) -> None:
        for name, used, cap in self.caps():
            if cap is not None and used >= cap:
                raise BudgetSpent(f"the budget of the run allows no further model call: {name} is {cap:g}")

    def caps(self) -> list[tuple[str, float, float | None]]:
        """Return each cap on model calls: its name in `Budget`, what is used of it, and the cap."""
        return [
            ("calls", self.calls, self._budget.calls),
            ("tokens", self.usage.tokens, self._budget.tokens),
            ("usd", self.usage.cost_usd or 0.0, self._budget.usd),
        ]

    async def _change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _tell(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def refuse_unknown_price(budget: Budget, model: Model | None) -> None:
    """Raise UsageError when dollars are capped and nobody knows what the model costs."""
    if budget.usd is not None and model is not None and price_of(model) is None:
        raise UsageError(
            f"budget: usd is {budget.usd:g}, but the price of the model {model.name!r} is unknown: pass "
            "llm.Chat(..., price=llm.Price(prompt_per_million=..., completion_per_million=...)), install the list of "
            "prices with pip install 'llm_optimize[prices]', or cap tokens or calls instead"
        )
