"""The model's replies: each is stored before anybody reads it, and none that is stored is asked for again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import ModelError, ScriptExhausted
from ..llm import Model, reply_of
from ..records import CallFailed, Event, Message, Reply, Usage
from ..store import Run
from ._spending import Spending

_T = TypeVar("_T")
Place = tuple[int, int]  # number of the trial, index of the call within it


class Answers:
    """Where the proposers of a run get their replies."""

    def __init__(
        self,
        run: Run,
        model: Model | None,
        spending: Spending,
        stored: Mapping[Place, Reply],
        recorded: Mapping[Place, Reply] | None,
        announce: Callable[[Event], None],
        heard: Callable[[], None],
    ) -> None:
        """Take the replies of an earlier session; for a replay, those of another run; and whom to tell of replies."""
        self._run = run
        self._model = model
        self._spending = spending
        self._stored = dict(stored)
        self._recorded = recorded
        self._announce = announce
        self._heard = heard

    async def answer(self, place: Place, messages: Sequence[Message], schema: Mapping[str, Any] | None = None) -> Reply:
        """Return the reply to one call; as JSON of the schema, where one is given and the model takes it.

        Raises BudgetSpent when no call may be made any more, ScriptExhausted when a replay has no reply for this
        place, and the ModelError of the model.
        """
        if place in self._stored:
            return self._stored.pop(place)
        if self._recorded is not None:
            return self._replayed(place, messages)
        if self._model is None:
            raise ModelError("this run has no model: pass model=..., or resume it with the model that it began with")
        async with self._spending.turn(self._model, messages):
            reply = await self._asked(place, self._model, messages, schema)
            self._spending.paid(reply, messages)
        return reply

    async def _asked(
        self, place: Place, model: Model, messages: Sequence[Message], schema: Mapping[str, Any] | None
    ) -> Reply:
        key = await _written(self._run.sent, *place, model.name, messages)
        try:
            reply = await reply_of(model, messages, schema)
        except ModelError as error:
            await _written(self._run.call_failed, key, str(error))
            self._announce(CallFailed(place[0], model.name, str(error)))
            raise
        await _written(self._run.received, key, reply)
        self._heard()
        return reply

    def _replayed(self, place: Place, messages: Sequence[Message]) -> Reply:
        """Return a recorded reply; it is stored here as well, and costs nothing again."""
        reply = (self._recorded or {}).get(place)
        if reply is None:
            raise ScriptExhausted(f"call {place[1]} of trial {place[0]} was not made in the run that is replayed")
        free = replace(reply, usage=Usage())
        self._run.received(self._run.sent(*place, reply.model, messages), free)
        return free


async def _written(write: Callable[..., _T], *row: Any) -> _T:
    """Return what a write returns; it is on disk then. Raises StoreError.

    A commit waits for the disk. In a thread it does not keep the event loop from reading the answers that arrive
    meanwhile, which are paid for and not yet on disk themselves. A cancelled caller leaves no write behind.
    """
    commit = asyncio.ensure_future(asyncio.to_thread(write, *row))
    try:
        return await asyncio.shield(commit)
    except asyncio.CancelledError:
        await asyncio.wait([commit])
        raise


class Conversation:
    """Some calls of one trial, one after the other."""

    def __init__(self, answers: Answers, number: int, first_index: int) -> None:
        """Take where the replies come from, the trial's number, and the index of the first call."""
        self._answers = answers
        self._number = number
        self._next = first_index

    async def ask(self, messages: Sequence[Message], /, schema: Mapping[str, Any] | None = None) -> Reply:
        """Return the reply to the next call of this trial. Raises what `Answers.answer` raises."""
        place, self._next = (self._number, self._next), self._next + 1
        return await self._answers.answer(place, messages, schema)
