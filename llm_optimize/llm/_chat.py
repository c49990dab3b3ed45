"""One model behind one OpenAI-compatible endpoint: one deadline for a call, and the only layer of retries."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ..errors import MissingKey, ModelUnavailable, UnknownName, UsageError
from ..records import Message, Reply
from ._attempt import Again, Unsupported, attempt

if TYPE_CHECKING:
    import openai
    import tenacity

_log = logging.getLogger(__name__)
_BUILT_IN_MODEL = "gpt-5-mini"
_NO_KEY = "no-key"  # sent to servers of one's own, which ask for none
_FIRST_WAIT_SECS = 0.5

default_llm_options: dict[str, Any] = {"model_name": _BUILT_IN_MODEL}
"""What a model is made of when none is given; `.update(model_name="...")` changes it, as in 2023."""


class Chat:
    """A chat model by its name.

    Args:
        model_name: None takes `default_llm_options`, or LLM_OPTIMIZE_MODEL where these were not changed.
        base_url: of the endpoint, usually ending in /v1; None takes OPENAI_BASE_URL, else OpenAI's.
        api_key: None takes OPENAI_API_KEY; a server on this machine needs none.
        temperature, max_tokens, reasoning_effort: sent along when given; an endpoint that refuses one is asked
            without it from then on.
        deadline_secs: for one call, over all its attempts, waits and the reading of a slow answer.
        max_attempts: how often one call is sent at the most.
        max_wait_secs: the longest wait between two attempts that the endpoint did not ask for.

    Raises:
        UsageError: a number is out of its range.
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
        **options: Any,
    ) -> None:
        if not deadline_secs > 0 or max_attempts < 1:
            raise UsageError(f"deadline_secs is {deadline_secs} and max_attempts {max_attempts}: both must be above 0")
        for word in options:
            if word not in _OPTIONS:
                raise UnknownName("option of a chat model", word, _OPTIONS)
        self.name = model_name or _default_name()
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._api_key = api_key or os.environ.get("OPENAI_API_KEY")
        self._deadline_secs = deadline_secs
        self._max_attempts = max_attempts
        self._max_wait_secs = max_wait_secs
        self._options = {word: value for word, value in options.items() if value is not None}
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, openai.AsyncOpenAI] = WeakKeyDictionary()

    def check(self) -> None:
        """Raise MissingKey when this endpoint needs a key and none was given."""
        if not self._api_key and not _on_this_machine(self.base_url):
            raise MissingKey(
                f"no key for the model {self.name!r}: export OPENAI_API_KEY=..., pass llm.Chat(api_key=...), "
                "name a server of your own with OPENAI_BASE_URL, or use model='mutation', which needs no model"
            )

    async def reply(self, messages: Sequence[Message]) -> Reply:
        """Return the model's answer to these messages.

        The answer may be cut off or withheld: look at its `finish_reason`.

        Raises:
            MissingKey: no key was given.
            ModelRefused: the endpoint said no for good (400, 401, 403, 404, an exhausted quota).
            ModelUnavailable: it did not answer within its attempts or its deadline.
        """
        self.check()
        import tenacity

        begun = time.monotonic()
        attempts = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(Again),
            stop=self._enough,
            wait=self._wait,
            before_sleep=self._say,
            reraise=True,
        )
        try:
            async with asyncio.timeout(self._deadline_secs):
                reply: Reply = await attempts(self._attempt, messages)
        except TimeoutError:
            raise ModelUnavailable(
                f"the model {self.name!r} at {self._endpoint()} did not answer within {self._deadline_secs:g} s: "
                "raise deadline_secs, or look at the endpoint"
            ) from None
        except Again as last:
            tries = attempts.statistics.get("attempt_number", 1)
            raise ModelUnavailable(
                f"the model {self.name!r} at {self._endpoint()} gave no answer in {tries} attempts: {last}"
            ) from last
        return replace(reply, seconds=time.monotonic() - begun)

    async def _attempt(self, messages: Sequence[Message]) -> Reply:
        request = {"model": self.name, "messages": list(messages), **self._options}
        try:
            return await attempt(self._client(), request, self._endpoint(), self._deadline_secs)
        except Unsupported as refused:
            self._give_up(refused.option)
            return await self._attempt(messages)

    def _give_up(self, option: str) -> None:
        """Leave out an option that the endpoint refuses, or call it by its newer name; from now on."""
        value = self._options.pop(option)
        if option == "max_tokens":
            self._options["max_completion_tokens"] = value
        _log.info("the model %s takes no %s: it is asked without", self.name, option)

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        again = _again(state)
        return state.attempt_number >= min(self._max_attempts, again.max_attempts) or (
            again.after_secs is not None and again.after_secs > self._deadline_secs - (state.seconds_since_start or 0.0)
        )

    def _wait(self, state: tenacity.RetryCallState) -> float:
        import tenacity

        asked_for = _again(state).after_secs
        if asked_for is not None:
            return asked_for
        return tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_SECS, max=self._max_wait_secs)(state)

    def _say(self, state: tenacity.RetryCallState) -> None:
        sleep_secs = state.next_action.sleep if state.next_action else 0.0
        _log.info("the model %s is asked again in %.1f s: %s", self.name, sleep_secs, _again(state))

    def _client(self) -> openai.AsyncOpenAI:
        """Return the client of the running event loop: connections cannot move from one loop to another."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            import openai

            self._clients[loop] = openai.AsyncOpenAI(
                api_key=self._api_key or _NO_KEY, base_url=self.base_url, max_retries=0, timeout=self._deadline_secs
            )
        return self._clients[loop]

    def _endpoint(self) -> str:
        return self.base_url or "api.openai.com"

    async def aclose(self) -> None:
        """Close the connections of the running event loop; a later call opens new ones."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.close()

    def __repr__(self) -> str:
        return f"Chat({self.name!r}, base_url={self.base_url!r})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_clients"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        import openai  # noqa: F401, once, where a warm process loads a scoring function that holds a model

        self.__dict__.update(state, _clients=WeakKeyDictionary())


LLMModel = Chat
_OPTIONS = ("temperature", "max_tokens", "max_completion_tokens", "reasoning_effort", "top_p", "seed", "stop")


def get_default_llm() -> Chat:
    """Return the model that `default_llm_options` and the environment describe."""
    return Chat(**{**default_llm_options, "model_name": _default_name()})


def _default_name() -> str:
    chosen = str(default_llm_options.get("model_name") or _BUILT_IN_MODEL)
    return os.environ.get("LLM_OPTIMIZE_MODEL", chosen) if chosen == _BUILT_IN_MODEL else chosen


def _on_this_machine(base_url: str | None) -> bool:
    host = urlsplit(base_url or "").hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _again(state: tenacity.RetryCallState) -> Again:
    error = state.outcome.exception() if state.outcome else None
    return error if isinstance(error, Again) else Again("no outcome")
