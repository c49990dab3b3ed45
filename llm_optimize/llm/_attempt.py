"""One request to an endpoint, and what came of it: a reply, "again", or "never"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ModelRefused
from ..records import Reply
from ._answer import read_answer
from ._endpoint import Endpoint
from ._faults import DROPPED, GONE, NOBODY, PAGE, SILENT, SLOW_NOBODY, STRAY_PAGE, Again
from ._refusal import raise_refusal, withheld

if TYPE_CHECKING:
    import openai

_CONNECT_SECS = 4.0  # so that an address where nobody is ends within five seconds
# The SDK's own `chat.completions.create` walks through each message to find out what it may hold: with a conversation of
# thirty messages that takes longer than the request. A request of ours is plain data already, and goes as it is.
_PATH = "/chat/completions"
_RAW = {
    "X-Stainless-Raw-Response": "true"
}  # of `with_raw_response`: the body is ours to read
_MALFORMED = (
    "InvalidURL",
    "LocalProtocolError",
    "UnsupportedProtocol",
)  # nothing was sent, nor ever will be


@dataclass(frozen=True)
class _Answer:
    """What an endpoint sent."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


async def attempt(
    client: openai.AsyncOpenAI,
    request: dict[str, Any],
    endpoint: Endpoint,
    silence_secs: float,
) -> Reply:
    """Send one request and read the whole answer.

    An endpoint may repeat what it was sent, so no secret of the request is in what is returned or raised. Nothing is
    raised while an exception of the SDK is handled: it would be the context of ours, and holds what was sent.

    Args:
        client: whose own retries are off.
        request: what a chat completion takes.
        endpoint: where it goes.
        silence_secs: how long it may say nothing.

    Raises:
        Again: the attempt failed in a way that may pass.
        Unsupported: the endpoint does not take an option.
        ModelRefused: it does not take the request, and never will; ContextTooLong when that is too long.
    """
    sent = await _sent(client, request, endpoint, silence_secs)
    if not isinstance(sent, _Answer):
        raise sent
    secrets = endpoint.secrets
    if sent.status >= 400:
        body = secrets.hide(sent.body.decode("utf-8", "replace")).encode()
        reply = withheld(sent.status, body, request)
        return reply or raise_refusal(
            sent.status, sent.headers, body, request, endpoint.name
        )
    try:
        reply = read_answer(sent.body, request, endpoint.name, secrets.hide)
    except Again as again:
        if again.fault is PAGE and endpoint.heard:
            raise Again(STRAY_PAGE, str(again)) from None
        raise
    text, reasoning = (
        secrets.hide_in_reply(reply.text),
        secrets.hide_in_reply(reply.reasoning),
    )
    return replace(reply, text=text, reasoning=reasoning)


async def _sent(
    client: openai.AsyncOpenAI,
    request: dict[str, Any],
    endpoint: Endpoint,
    silence_secs: float,
) -> _Answer | Again | ModelRefused:
    """Return what came back, or why nothing did."""
    import openai

    patience = openai.Timeout(silence_secs, connect=min(_CONNECT_SECS, silence_secs))
    try:
        raw: Any = await client.post(
            _PATH,
            cast_to=object,
            body=request,
            options={"timeout": patience, "headers": _RAW},
        )
        return _Answer(200, raw.http_response.content)
    except openai.APIStatusError as error:
        return _Answer(
            error.status_code, error.response.content, error.response.headers
        )
    except openai.APITimeoutError as error:
        connecting = type(error.__cause__).__name__ == "ConnectTimeout"
        if connecting:
            return Again(
                GONE if endpoint.heard else SLOW_NOBODY, _nobody(endpoint, "timed out")
            )
        return Again(SILENT, f"{endpoint.name} is silent")
    except openai.APIConnectionError as error:
        return _broken(error, endpoint)


def _broken(
    error: openai.APIConnectionError, endpoint: Endpoint
) -> Again | ModelRefused:
    if isinstance(error.__cause__, Again | ModelRefused):
        return (
            error.__cause__
        )  # ours, which some versions of the SDK take for a broken connection
    kind, said = (
        type(error.__cause__).__name__,
        endpoint.secrets.hide(str(error.__cause__ or error)),
    )
    if kind in _MALFORMED:
        return ModelRefused(
            f"nothing can be sent to {endpoint.name} ({said}): look at base_url and api_key"
        )
    if kind == "ConnectError":
        return Again(GONE if endpoint.heard else NOBODY, _nobody(endpoint, said))
    return Again(DROPPED, f"the connection to {endpoint.name} broke ({said or kind})")


def _nobody(endpoint: Endpoint, said: str) -> str:
    return f"no connection to {endpoint.name} ({said}): is the address right?"
