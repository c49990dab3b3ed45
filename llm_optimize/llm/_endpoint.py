"""One address with one key: its connections, how many calls it has at a time, and when it is left alone."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..errors import EndpointRests
from ..redaction import Secrets
from ._address import Address
from ._clients import Clients
from ._wire import open_client

if TYPE_CHECKING:
    import openai

_FAILURES = 5  # in a row, after which it rests
_FIRST_REST_SECS, _MAX_REST_SECS = 1.0, 60.0


class Health:
    """Whether an endpoint is left alone: a circuit breaker.

    After five failures in a row it rests, for one second and then twice as long each time, up to a minute. When a
    rest ends, one call goes ahead; the others wait for what becomes of it. `now` is a monotonic clock's.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._rests = 0
        self._rest_begun = self._rest_ends = self._pause_ends = float("-inf")

    def rest_secs(self, now: float) -> float:
        """Return how long it is to be left alone; 0 when it may be called."""
        return max(0.0, self._rest_ends - now, self._pause_ends - now)

    def goes_ahead(self, now: float) -> None:
        """Note that a call is sent; after a rest the next one waits for it."""
        if self._failures >= _FAILURES:
            self._rest_ends = now + self._next_rest_secs()

    def failed(
        self, sent_at: float, now: float, pause_secs: float | None = None
    ) -> None:
        """Note that a call which was sent at some time has failed, and how long the endpoint asks to be left alone."""
        self._pause_ends = max(self._pause_ends, now + (pause_secs or 0.0))
        if sent_at < self._rest_begun:
            return  # it was under way when the rest began: nothing new
        self._failures += 1
        if self._failures >= _FAILURES:
            self._rest_begun, self._rest_ends = now, now + self._next_rest_secs()
            self._rests += 1

    def worked(self) -> None:
        """Note that it has answered."""
        self._failures = self._rests = 0
        self._rest_begun = self._rest_ends = float("-inf")

    def _next_rest_secs(self) -> float:
        longest = min(_MAX_REST_SECS, _FIRST_REST_SECS * 2.0 ** min(self._rests, 16))
        return longest * random.uniform(0.5, 1.0)


class _Here:
    """What belongs to one event loop, since neither connections nor locks can move to another."""

    def __init__(self, clients: Clients, max_concurrency: int) -> None:
        self.clients = clients
        self.slots = asyncio.Semaphore(max_concurrency)
        self.answered = asyncio.Event()


class Endpoint:
    """Shared by all chats with the same address and key."""

    def __init__(
        self, address: Address, api_key: str | None, max_concurrency: int
    ) -> None:
        self.address = address
        self.api_key = api_key
        self.secrets = Secrets([*address.secrets, api_key or ""])
        self.max_concurrency = max_concurrency
        self.name = address.shown or "api.openai.com"
        self.heard = False  # whether it has ever answered
        self._health = Health()
        self._here: WeakKeyDictionary[asyncio.AbstractEventLoop, _Here] = (
            WeakKeyDictionary()
        )

    def rest_secs(self) -> float:
        """Return how long it is still left alone."""
        return self._health.rest_secs(time.monotonic())

    @contextlib.asynccontextmanager
    async def turn(self, patient: bool) -> AsyncIterator[openai.AsyncOpenAI]:
        """Wait until a request may be sent, and hold one of the places for it.

        Raises EndpointRests at once when it is to be left alone and the caller is not patient.
        """
        here = self._on_this_loop()
        while True:
            await self._rested(here, patient)
            async with here.slots:
                if self.rest_secs() > 0:
                    continue  # it began to rest while this call stood in line
                self._health.goes_ahead(time.monotonic())
                with here.clients.one() as client:
                    yield client
                return

    async def _rested(self, here: _Here, patient: bool) -> None:
        while (rest_secs := self.rest_secs()) > 0:
            if not patient:
                raise EndpointRests(f"{self.name} is left alone for {rest_secs:.1f} s")
            here.answered.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_secs):
                    await here.answered.wait()

    def failed(self, sent_at: float, pause_secs: float | None) -> None:
        """Note that a request which was sent at `sent_at` failed, and the pause that was asked for."""
        self._health.failed(sent_at, time.monotonic(), pause_secs)

    def worked(self) -> None:
        """Note that it has answered, and wake those who wait for that."""
        self.heard = True
        self._health.worked()
        self._on_this_loop().answered.set()

    def _on_this_loop(self) -> _Here:
        loop = asyncio.get_running_loop()
        if loop not in self._here:
            self._here[loop] = _Here(Clients(self._client), self.max_concurrency)
        return self._here[loop]

    def _client(self) -> openai.AsyncOpenAI:
        return open_client(self.address, self.api_key, self.name, self.secrets)

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        here = self._here.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.clients.aclose()

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_here", "_health")
        }

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(
            state, _here=WeakKeyDictionary(), _health=Health()
        )  # clocks differ between machines
