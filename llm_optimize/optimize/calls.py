"""The one door to the model: stored replies, replayed replies, the budget, and the request itself.

Each request is on disk before it is sent. Each reply is being written while it is read, and on disk
before anything is done with it: see `ModelCalls.unwritten`.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from ..errors import BudgetSpent, ModelError, ScriptExhausted
from ..llm import Model, Seen, changes_of, expected_usage, reply_of
from ..records import Ask, CallFailed, Event, Message, Noticed, Reply, Usage
from ..store import Writer
from ..token_estimate import TokenEstimate
from .state import RunState

Place = tuple[int, int]  # number of a trial, index of a call within it


class ModelCalls:
    """Where the proposers of a run get their replies.

    Args:
        model: who answers; None where nobody is asked.
        state: of the run; what calls use is counted there, against its caps.
        writer: of the run's rows.
        notify: tells the watchers an event.
        stored: replies that an earlier session paid for and did not use; each serves once.
        recorded: the replies of the run that is replayed; None where none is.
    """

    def __init__(
        self,
        model: Model | None,
        state: RunState,
        writer: Writer,
        notify: Callable[[Event], None],
        stored: Mapping[Place, Reply],
        recorded: Mapping[Place, Reply] | None = None,
    ) -> None:
        self._model = model
        self._state = state
        self._writer = writer
        self._notify = notify
        self._stored = dict(stored)
        self._recorded = recorded
        self._estimate = TokenEstimate()
        self._seen = Seen()
        # Without such a cap nothing needs to be known of the next call's usage.
        budget = state.settings.budget
        self._is_capped = budget.tokens is not None or budget.usd is not None
        self._in_flight: dict[int, Usage] = {}  # expected, by the key of the request
        self._keys = itertools.count()
        self._can_change = hasattr(model, "changes")  # how the model is asked
        self._changes: set[str] = set()  # that are known
        self._waiting: list[asyncio.Future[None]] = []
        self._unwritten: defaultdict[int, list[Awaitable[None]]] = defaultdict(list)

    def of_trial(self, number: int, first_index: int = 0) -> Ask:
        """Return how one trial asks; its calls are numbered from `first_index`."""
        indices = itertools.count(first_index)

        async def ask(
            messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None
        ) -> Reply:
            return await self.reply((number, next(indices)), messages, schema)

        return ask

    async def reply(
        self,
        place: Place,
        messages: Sequence[Message],
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Return the reply to one call; as JSON of the schema, where the model takes one.

        Raises:
            BudgetSpent: no further call may be made.
            ScriptExhausted: the run that is replayed did not make this call.
            ModelError: the model did not answer.
            StoreError: the request or the reply could not be written.
        """
        if place in self._stored:
            return self._stored.pop(place)
        if self._recorded is not None:
            return await self._replayed(place, messages, self._recorded)
        if self._model is None:
            raise ModelError(
                "this run has no model: pass model=..., or resume it with the model it began with"
            )
        async with self._turn(self._model, messages):
            key = await self._writer.sent(*place, self._model.name, messages)
            try:
                reply = await reply_of(self._model, messages, schema)
            except ModelError as error:
                await self._writer.call_failed(key, str(error))
                self._notify(CallFailed(place[0], self._model.name, str(error)))
                raise
            finally:
                if self._can_change:
                    self._notify_changes(self._model)
            self._received(place, key, reply)
            self._count(reply, messages)
        return reply

    def _notify_changes(self, model: Model) -> None:
        """Tell the watchers, once, what endpoints refused and how the model is asked instead."""
        for change in changes_of(model):
            if change not in self._changes:
                self._changes.add(change)
                self._notify(Noticed(change))

    def _received(self, place: Place, key: int, reply: Reply) -> None:
        """Begin to write a reply; who asked for it reads it meanwhile."""
        self._unwritten[place[0]].append(self._writer.received(key, reply))

    def unwritten(self, number: int) -> list[Awaitable[None]]:
        """Return the writes of a trial's replies, to be awaited before these are used."""
        return self._unwritten.pop(number, [])

    async def _replayed(
        self, place: Place, messages: Sequence[Message], recorded: Mapping[Place, Reply]
    ) -> Reply:
        """Return a recorded reply; it is stored here as well, and costs nothing again."""
        reply = recorded.get(place)
        if reply is None:
            raise ScriptExhausted(
                f"call {place[1]} of trial {place[0]} was not made in the run that is replayed"
            )
        free = replace(reply, usage=Usage())
        key = await self._writer.sent(*place, reply.model, messages)
        self._received(place, key, free)
        return free

    # The budget.

    @asynccontextmanager
    async def _turn(
        self, model: Model, messages: Sequence[Message]
    ) -> AsyncIterator[None]:
        """Let one call go when no cap can be overrun by it.

        A call that might not fit waits for those in flight, which may turn out cheaper. Alone it
        may go, and be the one that crosses the cap. Raises BudgetSpent when a cap is reached.
        """
        expected = Usage()
        if self._is_capped:
            expected = expected_usage(model, messages, self._seen)
            while not self._fits(expected):
                self._refuse_spent()
                await self._any_ended()
        self._refuse_spent()
        key = next(self._keys)
        self._in_flight[key] = expected
        self._state.counts.calls += 1
        try:
            yield
        finally:
            del self._in_flight[key]
            self._wake()

    def _fits(self, expected: Usage) -> bool:
        """Whether this call and those in flight stay below the caps, or it would be alone."""
        if not self._in_flight:
            return True
        budget = self._state.settings.budget
        used = self._state.counts.usage
        in_flight = sum(self._in_flight.values(), expected)
        if budget.tokens is not None:
            if used.tokens + in_flight.tokens > budget.tokens:
                return False
        if budget.usd is not None:
            usd = (used.cost_usd or 0.0) + (in_flight.cost_usd or 0.0)
            return usd <= budget.usd
        return True

    def _refuse_spent(self) -> None:
        for cap in self._state.counts.call_caps(self._state.settings.budget):
            if cap.is_reached():
                raise BudgetSpent(
                    f"the budget of the run allows no further model call: {cap.name} is {cap.cap:g}"
                )

    def _count(self, reply: Reply, messages: Sequence[Message]) -> None:
        """Count what a reply used, and learn from it what the next one may use."""
        usage = reply.usage
        self._state.counts.usage += usage
        self._state.observe_reply()
        if not self._is_capped:
            return
        chars = sum(len(message["content"]) for message in messages)
        self._estimate.observe(chars, usage)
        longest = self._seen.longest_reply or 1
        self._seen = Seen(
            longest_reply=max(usage.completion_tokens, longest),
            tokens_per_char=self._estimate.tokens_per_char,
        )

    async def _any_ended(self) -> None:
        """Wait until one of the calls in flight has ended."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        await waiter

    def _wake(self) -> None:
        waiting = self._waiting
        self._waiting = []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
