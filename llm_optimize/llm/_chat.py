"""One model behind one OpenAI-compatible endpoint: one deadline for a call, and the only layer of retries."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from ..errors import (
    EndpointRests,
    LlmOptimizeError,
    MissingKey,
    ModelRefused,
    UnknownName,
    UsageError,
)
from ..records import Message, Reply, Usage
from ..text import storable
from ._address import Address, address_of
from ._attempt import attempt
from ._call import Call
from ._endpoint import Endpoint
from ._faults import Again, Unsupported
from ._price import Price, listed_price
from ._refusal import RESPONSE_FORMAT

_log = logging.getLogger(__name__)
_BUILT_IN_MODEL = "gpt-5-mini"
_MAX_CONCURRENCY = 1000  # connections that the SDK's client opens at the most
_SILENCE = 0.5  # the part of the deadline that one attempt may be silent: so that there is time for another

default_llm_options: dict[str, Any] = {"model_name": _BUILT_IN_MODEL}
"""What a model is made of when none is given; `.update(model_name="...")` changes it, as in 2023."""


class Chat:
    """A chat model by its name.

    Args:
        model_name: None takes `default_llm_options`, or LLM_OPTIMIZE_MODEL where these were not changed.
        base_url: of the endpoint, usually ending in /v1; None takes OPENAI_BASE_URL, else OpenAI's. A user, password
            or parameter in it is sent along, but neither stored nor shown: the attribute has *** instead.
        api_key: None takes OPENAI_API_KEY; a server on this machine needs none.
        temperature, max_tokens, reasoning_effort: sent along when given; an endpoint that refuses one is asked
            without it from then on.
        deadline_secs: for one call, over all its attempts, waits and the reading of a slow answer. An attempt that
            is silent for half of it is given up, and sent once more.
        max_attempts: how often one call is sent at the most.
        max_wait_secs: the longest wait between two attempts that the endpoint did not ask for.
        max_concurrency: how many requests the endpoint has at a time, at the most; 1 to 1000.
        price: of its tokens; None takes the list price where the `prices` extra knows one.

    Raises:
        UsageError: a number is out of its range, or the address or the key can be none.
    """

    def __init__(
        self,
        model_name: str | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        deadline_secs: float = 300.0,
        max_attempts: int = 5,
        max_wait_secs: float = 30.0,
        max_concurrency: int = 256,
        price: Price | None = None,
        **options: Any,
    ) -> None:
        if not deadline_secs > 0 or max_attempts < 1:
            raise UsageError(
                f"deadline_secs is {deadline_secs} and max_attempts {max_attempts}: both must be above 0"
            )
        if not 1 <= max_concurrency <= _MAX_CONCURRENCY:
            raise UsageError(
                f"max_concurrency is {max_concurrency}: give 1 to {_MAX_CONCURRENCY}"
            )
        for word in options:
            if word not in _OPTIONS:
                raise UnknownName("option of a chat model", word, _OPTIONS)
        self.name = model_name or _default_name()
        address = address_of(base_url)
        self.base_url = address.shown
        self.deadline_secs = deadline_secs
        self._max_attempts = max_attempts
        self._max_wait_secs = max_wait_secs
        self._own_price = price
        self._options = {
            word: value for word, value in options.items() if value is not None
        }
        self._takes_schema = True  # until it refuses one
        key = _checked_key(api_key or os.environ.get("OPENAI_API_KEY"))
        self._endpoint = Endpoint(address, key, max_concurrency)

    def check(self) -> None:
        """Raise MissingKey when this endpoint needs a key, or the credentials of its address, and has none."""
        address = self._endpoint.address
        if address.lacks_credentials:
            raise MissingKey(
                f"the base URL {address.shown} was stored without its credentials, which no run keeps: set "
                "OPENAI_BASE_URL to the whole address, or pass model=llm.Chat(..., base_url=...) or --base-url"
            )
        if (
            not self._endpoint.api_key
            and not address.secrets
            and not _on_this_machine(address.host)
        ):
            raise MissingKey(
                f"no key for the model {self.name!r}: export OPENAI_API_KEY=..., pass llm.Chat(api_key=...), "
                "name a server of your own with OPENAI_BASE_URL, or use model='mutation', which needs no model"
            )

    @cached_property
    def price(self) -> Price | None:
        """What its tokens cost: the price that was given, else the list price; None when that is unknown."""
        return self._own_price or listed_price(self.name, self.base_url)

    @property
    def max_tokens(self) -> int | None:
        """How many tokens an answer may have; None when no limit was given."""
        limit = self._options.get(
            "max_completion_tokens", self._options.get("max_tokens")
        )
        return int(limit) if limit is not None else None

    async def reply(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """Return the model's answer to these messages, and what it used.

        The answer may be cut off, withheld or empty: `Reply.incomplete` says so. With a JSON schema the endpoint is
        told to answer in JSON of it; one that refuses that is asked without it from then on.

        Raises:
            MissingKey: no key was given.
            ContextTooLong: the messages are longer than the model reads (a ModelRefused).
            ModelRefused: something must be changed: the endpoint said no for good (400, 401, 403, 404, an exhausted
                quota), nobody ever answered at its address, or a web page did.
            ModelUnavailable: it did not answer within its attempts or its deadline.
        """
        return await self.reply_within(
            self.deadline_secs, messages, patient=True, schema=schema
        )

    async def reply_within(
        self,
        deadline_secs: float,
        messages: Sequence[Message],
        *,
        patient: bool,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Do what `reply` does within another deadline.

        Raises EndpointRests, too, as soon as the endpoint rests and the caller is not patient: others may be awake.
        """
        self.check()
        import openai  # noqa: F401, here already, since loading it takes long and is not the endpoint's fault
        import tenacity

        who = f"the model {self.name!r} at {self._endpoint.name}"
        call = Call(who, self._endpoint, deadline_secs, self._max_attempts, patient)
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=call.enough,
            wait=lambda state: call.wait(state, self._max_wait_secs),
            before_sleep=call.say,
            reraise=True,
        )
        try:
            async with asyncio.timeout(deadline_secs):
                reply: Reply = await attempts(self._attempt, messages, schema, call)
        except TimeoutError:
            raise call.too_late() from None
        except (EndpointRests, ModelRefused) as error:
            error.uncertain_calls = call.uncertain_calls
            raise
        except Again as last:
            raise call.spent(last) from last
        return replace(
            reply, usage=self._counted(reply.usage, call), seconds=call.seconds
        )

    def _counted(self, usage: Usage, call: Call) -> Usage:
        cost = None if self.price is None else self.price.cost(usage)
        return replace(usage, cost_usd=cost, uncertain_calls=call.uncertain_calls)

    async def _attempt(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None, call: Call
    ) -> Reply:
        """Send one request; where the endpoint refuses an option, another without it."""
        while True:
            try:
                return await self._sent(self._request(messages, schema), call)
            except Unsupported as refused:
                self._give_up(refused.option)

    async def _sent(self, request: dict[str, Any], call: Call) -> Reply:
        endpoint, silence_secs = self._endpoint, _SILENCE * self.deadline_secs
        async with endpoint.turn(call.patient) as client:
            sent_at = time.monotonic()
            call.sent()
            try:
                reply = await attempt(client, request, endpoint, silence_secs)
            except Again as again:
                call.failed(again)
                endpoint.failed(sent_at, again.after_secs)
                raise
            except LlmOptimizeError:
                call.answered()
                endpoint.worked()
                raise
            call.answered()
            endpoint.worked()
            return reply

    def _request(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        sendable = [
            Message(role=one["role"], content=storable(one["content"]))
            for one in messages
        ]
        shape = (
            {RESPONSE_FORMAT: _response_format(schema)}
            if schema is not None and self._takes_schema
            else {}
        )
        return {"model": self.name, "messages": sendable, **self._options, **shape}

    def _give_up(self, option: str) -> None:
        """Leave out an option that the endpoint refuses, or call it by its newer name; from now on."""
        if option == RESPONSE_FORMAT and self._takes_schema:
            self._takes_schema = False
        elif option not in self._options:
            return  # another call has found out meanwhile
        value = self._options.pop(option, None)
        if option == "max_tokens":
            self._options["max_completion_tokens"] = value
        _log.info("the model %s takes no %s: it is asked without", self.name, option)

    def rest_secs(self) -> float:
        """Return how long its endpoint is left alone, after failures or because it asked for that; 0 when it is not."""
        return self._endpoint.rest_secs()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        await self._endpoint.aclose()

    def __repr__(self) -> str:
        return f"Chat({self.name!r}, base_url={self.base_url!r})"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        import openai  # noqa: F401, once, where a warm process loads a scoring function that holds a model

        self.__dict__.update(state)


LLMModel = Chat


def sharing_endpoints(chats: Sequence[Chat]) -> list[Chat]:
    """Return the chats so that those with the same address and key share connections, places and rests."""
    at: dict[tuple[Address, str | None], list[Endpoint]] = {}
    for chat in chats:
        at.setdefault((chat._endpoint.address, chat._endpoint.api_key), []).append(
            chat._endpoint
        )
    shared = {
        where: Endpoint(*where, min(one.max_concurrency for one in those))
        for where, those in at.items()
    }
    return [
        _moved(chat, shared[chat._endpoint.address, chat._endpoint.api_key])
        for chat in chats
    ]


def _moved(chat: Chat, endpoint: Endpoint) -> Chat:
    moved = object.__new__(type(chat))
    moved.__dict__.update(chat.__dict__, _endpoint=endpoint)
    return moved


_OPTIONS = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "top_p",
    "seed",
    "stop",
)


def get_default_llm() -> Chat:
    """Return the model that `default_llm_options` and the environment describe."""
    return Chat(**{**default_llm_options, "model_name": _default_name()})


def _default_name() -> str:
    chosen = str(default_llm_options.get("model_name") or _BUILT_IN_MODEL)
    return (
        os.environ.get("LLM_OPTIMIZE_MODEL", chosen)
        if chosen == _BUILT_IN_MODEL
        else chosen
    )


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a request asks for JSON; strictly where the schema leaves nothing open, as strict endpoints demand."""
    names = set(schema.get("properties", ()))
    strict = (
        schema.get("additionalProperties") is False
        and set(schema.get("required", ())) == names
    )
    return {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": dict(schema), "strict": strict},
    }


def _on_this_machine(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _checked_key(key: str | None) -> str | None:
    """Return a key without the white space around it, which comes from reading it from a file."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the API key holds characters that no key has: copy it again")
    return key or None
