"""The HTTP clients of one endpoint on one event loop: several, since each walks all its connections for a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openai

# Requests of one client. It looks at every idle connection for each request: with 256 calls in flight, clients of 128
# take a fifth of the CPU of a call for that, clients of 32 a twentieth.
MAX_IN_FLIGHT = 32


class Clients:
    """Clients, opened as requests need them; the first ones are filled first, so that connections are reused."""

    def __init__(self, open_one: Callable[[], openai.AsyncOpenAI]) -> None:
        """Take what opens a client."""
        self._open_one = open_one
        self._clients: list[openai.AsyncOpenAI] = []
        self._in_flight: list[int] = []  # requests of each

    @contextmanager
    def one(self) -> Iterator[openai.AsyncOpenAI]:
        """Yield a client for one request."""
        place = self._first_with_room()
        self._in_flight[place] += 1
        try:
            yield self._clients[place]
        finally:
            self._in_flight[place] -= 1

    def _first_with_room(self) -> int:
        for place, requests in enumerate(self._in_flight):
            if requests < MAX_IN_FLIGHT:
                return place
        self._clients.append(self._open_one())
        self._in_flight.append(0)
        return len(self._clients) - 1

    async def aclose(self) -> None:
        """Close the connections of all clients, also where closing one of them fails."""
        outcomes = await asyncio.gather(
            *(client.close() for client in self._clients), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
