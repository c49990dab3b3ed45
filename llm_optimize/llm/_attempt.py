"""One request to an endpoint, and what came of it: a reply, "again", or "never"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ModelRefused
from ..records import Reply
from ._answer import read_answer
from ._faults import DROPPED, GONE, NOBODY, SILENT, SLOW_NOBODY, Again, Fault
from ._refusal import raise_refusal, withheld

if TYPE_CHECKING:
    import openai

_CONNECT_SECS = 4.0  # so that an address where nobody is ends within five seconds
_MALFORMED = ("InvalidURL", "LocalProtocolError", "UnsupportedProtocol")  # nothing was sent, nor ever will be


async def attempt(
    client: openai.AsyncOpenAI, request: dict[str, Any], endpoint: str, silence_secs: float, heard: bool
) -> Reply:
    """Send one request and read the whole answer.

    Args:
        client: whose own retries are off.
        request: what a chat completion takes.
        endpoint: its address, as a message names it.
        silence_secs: how long it may say nothing.
        heard: whether it has ever answered.

    Raises:
        Again: the attempt failed in a way that may pass.
        Unsupported: the endpoint does not take an option.
        ModelRefused: it does not take the request, and never will; ContextTooLong when that is too long.
    """
    import openai

    patience = openai.Timeout(silence_secs, connect=min(_CONNECT_SECS, silence_secs))
    try:
        raw = await client.chat.completions.with_raw_response.create(**request, timeout=patience)
        body = raw.http_response.content
    except openai.APIStatusError as error:
        body = error.response.content
        reply = withheld(error.status_code, body, request)
        if reply is None:
            raise_refusal(error.status_code, error.response.headers, body, request, endpoint)
        return reply
    except openai.APITimeoutError as error:
        connecting = type(error.__cause__).__name__ == "ConnectTimeout"
        fault = (GONE if heard else SLOW_NOBODY) if connecting else SILENT
        raise Again(fault, _nobody(endpoint, "timed out") if connecting else f"{endpoint} is silent") from error
    except openai.APIConnectionError as error:
        raise _broken(error, endpoint, heard) from error
    return read_answer(body, request, endpoint)


def _broken(error: openai.APIConnectionError, endpoint: str, heard: bool) -> Again | ModelRefused:
    kind, said = type(error.__cause__).__name__, str(error.__cause__ or error)
    if kind in _MALFORMED:
        return ModelRefused(f"nothing can be sent to {endpoint} ({said}): look at base_url and api_key")
    fault: Fault = DROPPED
    if kind == "ConnectError":
        fault = GONE if heard else NOBODY
        return Again(fault, _nobody(endpoint, said))
    return Again(fault, f"the connection to {endpoint} broke ({said or kind})")


def _nobody(endpoint: str, said: str) -> str:
    return f"no connection to {endpoint} ({said}): is the address right?"
