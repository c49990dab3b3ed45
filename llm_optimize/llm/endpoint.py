"""Endpoint: one address with one key, its connections, its calls at a time, its circuit breaker.

All chats with the same address and key share an endpoint. Connections and locks belong to one event
loop and cannot move to another, so an endpoint keeps them once for each loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..errors import EndpointRests
from ..redaction import Secrets
from .address import Address
from .wire import open_client

if TYPE_CHECKING:
    import openai

# In the name of a header whose value must not be shown.
CREDENTIAL = re.compile(r"auth|key|token|secret|password|cookie", re.I)
_FAILURES = 5  # in a row, after which the circuit opens; by hand
_FIRST_OPEN_SECS = 1.0
_MAX_OPEN_SECS = 60.0
_MAX_DOUBLINGS = 16

# Requests of one client. It looks at every idle connection for each request: with 256 calls in
# flight, clients of 128 take a fifth of the CPU of a call for that, clients of 32 a twentieth.
MAX_IN_FLIGHT = 32


class CircuitBreaker:
    """Whether an endpoint is called; `now` is the time of a monotonic clock.

    closed     calls go through; after five failures in a row it opens
    open       no call goes through, for one second at first and then twice as long each time, up
               to a minute; with jitter, so that many processes do not come back together
    half open  when that time is over, one call goes ahead, and opens the circuit again for the
               others until its outcome is known: an answer closes it, a failure opens it for longer

    Apart from that, an endpoint may ask for a pause (Retry-After), which holds for all calls.
    """

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._openings = 0  # in a row
        self._opened_at = float("-inf")
        self._open_until = float("-inf")
        self._pause_until = float("-inf")

    def open_secs(self, now: float) -> float:
        """Return how long no call may go; 0 when one may."""
        return max(0.0, self._open_until - now, self._pause_until - now)

    def on_sent(self, now: float) -> None:
        """Note that a call is sent; if it is the first after an opening, others wait for it."""
        if self._failures >= _FAILURES:
            self._open_until = now + self._next_open_secs()

    def on_failure(
        self, sent_at: float, now: float, pause_secs: float | None = None
    ) -> None:
        """Note a failure.

        Args:
            sent_at: when the call was sent.
            now: the time.
            pause_secs: how long the endpoint asks not to be called.
        """
        pause_until = now + (pause_secs or 0.0)
        self._pause_until = max(self._pause_until, pause_until)
        if sent_at < self._opened_at:
            return  # it was in flight when the circuit opened, so it says nothing new
        self._failures += 1
        if self._failures >= _FAILURES:
            self._opened_at = now
            self._open_until = now + self._next_open_secs()
            self._openings += 1

    def on_answer(self) -> None:
        """Note that the endpoint has answered."""
        self._failures = self._openings = 0
        self._opened_at = self._open_until = float("-inf")

    def _next_open_secs(self) -> float:
        doublings = min(self._openings, _MAX_DOUBLINGS)
        longest = min(_MAX_OPEN_SECS, _FIRST_OPEN_SECS * 2.0**doublings)
        return longest * random.uniform(0.5, 1.0)


class _Clients:
    """HTTP clients of one event loop, opened as requests need them.

    The first ones are filled first, so that connections are reused.
    """

    def __init__(self, open_one: Callable[[], openai.AsyncOpenAI]) -> None:
        self._open_one = open_one
        self._clients: list[openai.AsyncOpenAI] = []
        self._in_flight: list[int] = []  # requests of each

    @contextlib.contextmanager
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
        """Close all clients, also where closing one of them fails; then raise that."""
        closing = [client.close() for client in self._clients]
        outcomes = await asyncio.gather(*closing, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


class _PerLoop:
    """What belongs to one event loop."""

    def __init__(self, clients: _Clients, max_concurrency: int) -> None:
        self.clients = clients
        self.slots = asyncio.Semaphore(max_concurrency)
        self.answered = asyncio.Event()


class Endpoint:
    """One address with one key.

    Args:
        address: where requests go.
        api_key: sent along; None for a server that asks for none.
        max_concurrency: requests at a time, on one event loop.
        headers: further ones of each request.
    """

    def __init__(
        self,
        address: Address,
        api_key: str | None,
        max_concurrency: int,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.address = address
        self.api_key = api_key
        self.headers = headers
        secrets = [*address.secrets, api_key or ""]
        for name, value in headers:
            if CREDENTIAL.search(name):
                secrets += [value, value.removeprefix("Bearer ")]
        self.has_credentials = any(secrets)
        self.secrets = Secrets(secrets)
        self.max_concurrency = max_concurrency
        self.name = address.shown or "api.openai.com"
        self.has_answered = False
        self._circuit = CircuitBreaker()
        self._loops: WeakKeyDictionary[asyncio.AbstractEventLoop, _PerLoop] = (
            WeakKeyDictionary()
        )

    @property
    def identity(self) -> Hashable:
        """What is the same for chats that may share it."""
        return self.address, self.api_key, self.headers

    def rest_secs(self) -> float:
        """Return how long no call may go; 0 when one may."""
        return self._circuit.open_secs(time.monotonic())

    @contextlib.asynccontextmanager
    async def turn(self, patient: bool) -> AsyncIterator[openai.AsyncOpenAI]:
        """Wait until a request may be sent, and hold one of the places for it.

        Raises:
            EndpointRests: no call may go now, and the caller is not patient.
        """
        here = self._on_this_loop()
        while True:
            await self._wait_until_closed(here, patient)
            async with here.slots:
                if self.rest_secs() > 0:
                    continue  # the circuit opened while this call waited for a place
                self._circuit.on_sent(time.monotonic())
                with here.clients.one() as client:
                    yield client
                return

    @contextlib.contextmanager
    def beside_calls(self) -> Iterator[openai.AsyncOpenAI]:
        """Yield a client for a request that is no call: it takes no place, and counts nowhere."""
        with self._on_this_loop().clients.one() as client:
            yield client

    async def _wait_until_closed(self, here: _PerLoop, patient: bool) -> None:
        """Wait for the end of an open circuit or a pause, or for an answer to another call."""
        while (secs := self.rest_secs()) > 0:
            if not patient:
                raise EndpointRests(f"{self.name} is not called for {secs:.1f} s")
            here.answered.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(secs):
                    await here.answered.wait()

    def failed(self, sent_at: float, pause_secs: float | None) -> None:
        """Note a request that failed: when it was sent, and the pause that was asked for."""
        self._circuit.on_failure(sent_at, time.monotonic(), pause_secs)

    def worked(self) -> None:
        """Note an answer, and wake the calls that wait for one."""
        self.has_answered = True
        self._circuit.on_answer()
        self._on_this_loop().answered.set()

    def _on_this_loop(self) -> _PerLoop:
        loop = asyncio.get_running_loop()
        if loop not in self._loops:
            clients = _Clients(self._open_client)
            self._loops[loop] = _PerLoop(clients, self.max_concurrency)
        return self._loops[loop]

    def _open_client(self) -> openai.AsyncOpenAI:
        return open_client(
            self.address, self.api_key, self.headers, self.name, self.secrets
        )

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        here = self._loops.pop(asyncio.get_running_loop(), None)
        if here is not None:
            await here.clients.aclose()

    def __getstate__(self) -> dict[str, Any]:
        # Connections stay behind, and so does the circuit: clocks differ between machines.
        state = dict(self.__dict__)
        del state["_loops"], state["_circuit"]
        return state

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._circuit = CircuitBreaker()
        self._loops = WeakKeyDictionary()
