"""Listing: the models of an endpoint, a free request that shows a wrong key or address early.

Many endpoints list nothing, or not all that they have, or not for every key. So silence and every
other answer say nothing; only a refused key and a refused connection are definite.
"""

from __future__ import annotations

import asyncio
import json
import re
from importlib import import_module

from ..errors import ModelRefused
from .endpoint import Endpoint
from .problem import read_problem

_ATTEMPTS = 2  # where nothing listens: a server may be starting again
_WAIT_SECS = 0.3
_RAW = {"X-Stainless-Raw-Response": "true"}
# A key that may ask models, and not list them.
_LACKS_A_RIGHT = re.compile(r"scope|permission", re.I)


async def listed_models(endpoint: Endpoint, deadline_secs: float) -> list[str]:
    """Return the names of the models that an endpoint lists; none where it does not say.

    Raises:
        ModelRefused: it refuses the key, or nothing listens at its address.
    """
    # In a thread: loading takes long, and candidates live meanwhile.
    await asyncio.to_thread(import_module, "openai")
    try:
        async with asyncio.timeout(deadline_secs):
            for attempt in range(1, _ATTEMPTS + 1):
                status, body, no_connection = await _get(endpoint)
                if not no_connection or attempt == _ATTEMPTS:
                    break
                await asyncio.sleep(_WAIT_SECS)
    except TimeoutError:
        return []
    if no_connection:
        raise ModelRefused(
            f"no connection to {endpoint.name} ({endpoint.secrets.hide(no_connection)}): "
            "is the address right?"
        )
    if status == 401:
        problem = read_problem(status, endpoint.secrets.hide(body))
        if not _LACKS_A_RIGHT.search(problem.message):
            raise ModelRefused(
                f"{endpoint.name} answered 401: the key is wrong or has expired: "
                f"look at OPENAI_API_KEY or api_key ({problem.shown})"
            )
    if status != 200:
        return []
    return _names(body)


async def _get(endpoint: Endpoint) -> tuple[int, str, str]:
    """Return the status and body of the answer, and why there is no connection."""
    import openai

    with endpoint.beside_calls() as client:
        try:
            raw = await client.get("/models", cast_to=object, options={"headers": _RAW})
        except openai.APIStatusError as error:
            body = error.response.content.decode("utf-8", "replace")
            return error.status_code, body, ""
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if type(cause).__name__ == "ConnectError":
                return 0, "", str(cause)
            return 0, "", ""
        answer: bytes = raw.http_response.content  # type: ignore[attr-defined]
        return 200, answer.decode("utf-8", "replace"), ""


def _names(body: str) -> list[str]:
    try:
        listed = json.loads(body)["data"]
        return [str(one["id"]) for one in listed]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []  # it speaks another language
