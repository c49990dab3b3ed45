"""Chat: one model behind one OpenAI-compatible endpoint."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypedDict, Unpack

from ..checks import is_number, is_whole_number
from ..errors import InPython, MissingKey, OptionName, UnknownName, UsageError
from ..records import Message, Reply
from .address import address_of
from .call import Call, CallLimits
from .dialect import LIMITS, RESPONSES, Dialect
from .endpoint import CREDENTIAL, Endpoint
from .listing import listed_models
from .price import Price, listed_price

_BUILT_IN_MODEL = "gpt-5-mini"
_MAX_CONCURRENCY = 1000  # connections that the SDK's client opens at most
# Part of the deadline that one attempt may be silent, so that there is time for another.
_SILENCE = 0.5
_APIS = ("auto", "chat", "responses")
# Parts of a request that are not the user's to give in `extra_body`.
_OURS = ("input", "instructions", "messages", "model", "response_format", "stream")
_TUNING = (  # options that go out as they are given
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "top_p",
    "seed",
    "stop",
)


class ChatOptions(TypedDict, total=False):
    """Further options of a `Chat`; None is as good as not given."""

    temperature: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    reasoning_effort: str | None
    top_p: float | None
    seed: int | None
    stop: str | Sequence[str] | None
    api: str
    extra_headers: Mapping[str, str] | None
    extra_body: Mapping[str, Any] | None


_OPTIONS = tuple(ChatOptions.__annotations__)

default_llm_options: dict[str, Any] = {"model_name": _BUILT_IN_MODEL}
"""Options of the default model; `.update(model_name="...")` changes it, as in version 1."""


class Chat:
    """A chat model by its name.

    Args:
        model_name: None takes `default_llm_options`, or LLM_OPTIMIZE_MODEL where these were not
            changed.
        base_url: of the endpoint, usually ending in /v1; None takes OPENAI_BASE_URL, else OpenAI's.
            A user, password or parameter in it is sent along, but neither stored nor shown: the
            attribute has *** instead.
        api_key: None takes OPENAI_API_KEY, unless `extra_headers` carry a key; a server on this
            machine needs none.
        temperature, max_tokens, max_completion_tokens, reasoning_effort, top_p, seed, stop: sent
            along when given. What an endpoint refuses is sent in another form from then on, or left
            out: see `changes`.
        api: "chat" for chat completions, "responses" for OpenAI's Responses API; "auto", the
            default, asks by the first, and by the second where the endpoint has the model only
            there.
        extra_headers: sent along with each request, such as {"api-key": "..."}. Those that carry a
            key, a token or a password are neither stored nor shown.
        extra_body: further parts of each request, such as {"top_k": 40}. Where an endpoint refuses
            one of them the call fails, unless it only changes how replies vary.
        deadline_secs: for one call, over all its attempts, waits and the reading of a slow answer.
            An attempt that is silent for half of it is given up, and sent once more.
        max_attempts: how often one call is sent at most.
        max_wait_secs: the longest wait between two attempts that the endpoint did not ask for.
        max_concurrency: how many requests the endpoint has at a time, at most; 1 to 1000.
        price: of its tokens; None takes the list price where the `prices` extra knows one.

    Raises:
        UsageError: a number is out of its range, or the address or the key cannot be one.
        UnknownName: there is no such option.
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
        **options: Unpack[ChatOptions],
    ) -> None:
        if not deadline_secs > 0 or max_attempts < 1:
            raise UsageError(
                f"deadline_secs is {deadline_secs} and max_attempts {max_attempts}: "
                "both must be above 0"
            )
        if not 1 <= max_concurrency <= _MAX_CONCURRENCY:
            raise UsageError(
                f"max_concurrency is {max_concurrency}: give 1 to {_MAX_CONCURRENCY}"
            )
        for option in options:
            if option not in _OPTIONS:
                raise UnknownName("option of a chat model", option, _OPTIONS)
        self._given = _tuning_of(options)
        self.name = model_name or _default_name()
        address = address_of(base_url)
        self.base_url = address.shown
        self.deadline_secs = deadline_secs
        self._max_attempts = max_attempts
        self._max_wait_secs = max_wait_secs
        self._own_price = price
        headers = _headers_of(options.get("extra_headers"))
        if api_key is None and not any(CREDENTIAL.search(name) for name, _ in headers):
            api_key = os.environ.get("OPENAI_API_KEY")
        key = _checked_key(api_key)
        self._endpoint = Endpoint(address, key, max_concurrency, headers)
        extra = _extra_of(options.get("extra_body"))
        api = options.get("api") or "auto"
        if api not in _APIS:
            raise UnknownName("api", str(api), _APIS)
        if api == RESPONSES and "seed" in self._given:
            raise UsageError("the Responses API takes no seed: leave out seed, or api")
        self._dialect = Dialect(self.name, self._given, extra, api)

    def check(self) -> None:
        """Raise MissingKey when a key or the credentials of the address are missing."""
        address = self._endpoint.address
        if address.lacks_credentials:
            raise MissingKey(
                f"the base URL {address.shown} was stored without its credentials, which no run "
                "keeps: set OPENAI_BASE_URL to the full address, or pass ",
                InPython("model=llm.Chat(..., base_url=...)", shell="--base-url"),
            )
        if self._endpoint.has_credentials:
            return
        host = address.host
        is_local = host in ("localhost", "::1") or host.startswith("127.")
        if not is_local:
            raise MissingKey(
                f"no key for the model {self.name!r}: export OPENAI_API_KEY=..., ",
                InPython("pass llm.Chat(api_key=...), ", shell=""),
                "name your own server with ",
                InPython("OPENAI_BASE_URL", shell="--base-url"),
                ", or use ",
                InPython("model='mutation'", shell="--model mutation"),
                ", which needs no model",
            )

    async def listed_models(self, deadline_secs: float) -> list[str]:
        """Return the models that its endpoint lists; none where it does not say. It is free.

        Raises ModelRefused where the endpoint refuses the key, or nothing listens at its address.
        """
        return await listed_models(self._endpoint, deadline_secs)

    @cached_property
    def price(self) -> Price | None:
        """Price of its tokens: as given, else the list price; None when that is unknown."""
        return self._own_price or listed_price(self.name, self.base_url)

    @property
    def temperature(self) -> float | None:
        """How much its replies vary, as it was given; None: the endpoint's own."""
        return self._given.get("temperature")

    @property
    def reasoning_effort(self) -> str | None:
        """How long it reasons, as it was given; None: the endpoint's own."""
        return self._given.get("reasoning_effort")

    @property
    def max_tokens(self) -> int | None:
        """How many tokens an answer may have; None when no limit was given, or none is taken."""
        return self._dialect.max_tokens

    @property
    def changes(self) -> tuple[str, ...]:
        """What its endpoint refused so far, and how it is asked instead: a sentence each."""
        return tuple(self._dialect.changes)

    async def reply(
        self, messages: Sequence[Message], schema: Mapping[str, Any] | None = None
    ) -> Reply:
        """Return the model's answer to these messages, and what it used.

        The answer may be cut off, withheld or empty: `Reply.incomplete` says so. With a JSON schema
        the endpoint is asked to answer in JSON of it; one that refuses that reads the schema in
        the prompt from then on.

        Raises:
            MissingKey: no key was given.
            ContextTooLong: the messages are longer than the model reads (a ModelRefused).
            ModelRefused: something must be changed: the endpoint said no for good (400, 401, 403,
                404, an exhausted quota), nothing ever answered at its address, or a web page did.
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
        """Do what `reply` does, within another deadline.

        Raises:
            EndpointRests: also this, as soon as the circuit of the endpoint is open and the caller
                is not patient; other models may be available.
        """
        self.check()
        # Loaded before the deadline begins: loading takes long, and is not the endpoint's fault.
        import openai  # noqa: F401

        limits = CallLimits(
            deadline_secs,
            _SILENCE * self.deadline_secs,
            self._max_attempts,
            self._max_wait_secs,
        )
        title = f"the model {self.name!r} at {self._endpoint.name}"
        call = Call(title, self._endpoint, limits, patient)
        reply = await call.run(self._dialect, messages, schema)
        reply = replace(reply, text=self._dialect.cut(reply.text))
        if self.price is None:
            return reply
        cost_usd = self.price.cost(reply.usage)
        return replace(reply, usage=replace(reply.usage, cost_usd=cost_usd))

    def rest_secs(self) -> float:
        """Return how long its endpoint is not called, because it failed or asked for a pause."""
        return self._endpoint.rest_secs()

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        await self._endpoint.aclose()

    def __repr__(self) -> str:
        return f"Chat({self.name!r}, base_url={self.base_url!r})"

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        # Where the fork server loads a scoring function that holds a model, the SDK is loaded once,
        # not in each of its children.
        import openai  # noqa: F401

        self.__dict__.update(state)


LLMModel = Chat


def sharing_endpoints(chats: Sequence[Chat]) -> list[Chat]:
    """Return copies of chats; those with the same address and key share one endpoint.

    So they share connections, places and the circuit breaker. Of several limits of concurrency the
    lowest holds.
    """
    shared: dict[Any, Endpoint] = {}
    for chat in chats:
        one = chat._endpoint
        limit = one.max_concurrency
        if one.identity in shared:
            limit = min(limit, shared[one.identity].max_concurrency)
        shared[one.identity] = Endpoint(one.address, one.api_key, limit, one.headers)
    copies = []
    for chat in chats:
        # Not copy.copy, which calls __setstate__ and would load the SDK.
        clone = object.__new__(type(chat))
        clone.__dict__.update(chat.__dict__)
        clone._endpoint = shared[chat._endpoint.identity]
        copies.append(clone)
    return copies


def get_default_llm() -> Chat:
    """Return the model that `default_llm_options` and the environment describe."""
    return Chat(**{**default_llm_options, "model_name": _default_name()})


def _default_name() -> str:
    chosen = str(default_llm_options.get("model_name") or _BUILT_IN_MODEL)
    if chosen != _BUILT_IN_MODEL:
        return chosen
    return os.environ.get("LLM_OPTIMIZE_MODEL", chosen)


def _tuning_of(options: ChatOptions) -> dict[str, Any]:
    """Return the options that go out as they are. Raises UsageError for a value that cannot."""
    found: dict[str, Any] = {}
    for name in _TUNING:
        value = options.get(name)
        if value is not None:
            found[name] = value
    for name in (OptionName("temperature"), "top_p"):
        value = found.get(name, 0)
        if not is_number(value) or not 0 <= value < math.inf:
            raise UsageError(name, f" is {value!r}: give a number, 0 or more")
    for name in LIMITS:
        value = found.get(name, 1)
        if not is_whole_number(value) or value < 1:
            raise UsageError(f"{name} is {value!r}: give how many tokens, at least 1")
    effort = found.get("reasoning_effort", "")
    if not isinstance(effort, str):
        raise UsageError(f"reasoning_effort is {effort!r}: give a text, such as 'low'")
    if all(name in found for name in LIMITS):
        raise UsageError(
            "max_tokens and max_completion_tokens are two names of one limit: give one of them"
        )
    return found


def _extra_of(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return further parts of requests. Raises UsageError for one that has a place of its own."""
    found = dict(given or {})
    for name in found:
        if name in _TUNING:
            raise UsageError(
                f"extra_body holds {name!r}: give it as llm.Chat(..., {name}=...)"
            )
        if name in _OURS:
            raise UsageError(
                f"extra_body holds {name!r}, which each request has already: leave it out"
            )
    return found


def _headers_of(given: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    """Return further headers in a fixed order. Raises UsageError for what is no header."""
    found = []
    for name, value in sorted((given or {}).items()):
        if not isinstance(value, str) or not (name + value).isascii():
            raise UsageError(
                f"extra_headers: {name} has a value that no header can have"
            )
        found.append((name, value.strip()))
    return tuple(found)


def _checked_key(key: str | None) -> str | None:
    """Return a key without the white space around it, which comes from reading it from a file."""
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError("the API key holds characters that no key has: copy it again")
    return key or None
