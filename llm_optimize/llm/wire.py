"""Wire: the HTTP client of an endpoint, with bounds that the SDK's own client does not have.

The SDK reads answers of any length into memory, follows redirects to anywhere with the prompt, and
logs full addresses. So its HTTP client is replaced by one with three differences, all in `send`:

- It reads a body piece by piece, and breaks off at a bound.
- It follows a redirect only within the same origin.
- What may be secret goes out as header and as "target" of the request, while its URL, which logs
  and exceptions show, stays the plain one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ModelRefused
from ..redaction import Secrets
from .address import Address
from .faults import ENDLESS, Again

if TYPE_CHECKING:
    import openai

MAX_ANSWER_BYTES = 64 * 2**20  # of one answer, decompressed; beyond, it is broken off
# Of an answer that is an error; the rest is cut, as the reason stands in front.
_MAX_ERROR_BYTES = 2**20
_MAX_REDIRECTS = 3  # within the same scheme, host and port
_NO_KEY = "no-key"  # sent to servers that ask for none; the SDK demands one
# Headers that describe the body as it was sent, before it was decompressed.
_OF_THE_BODY = ("content-encoding", "content-length", "transfer-encoding")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def open_client(
    address: Address,
    api_key: str | None,
    headers: Sequence[tuple[str, str]],
    name: str,
    secrets: Secrets,
) -> openai.AsyncOpenAI:
    """Return a client of the endpoint `name`, whose own retries are off.

    Where `headers` are all that carries a credential, no Authorization is sent beside them.
    """
    import openai

    class Client(openai.DefaultAsyncHttpxClient):
        """The SDK's own client, within bounds."""

        async def send(
            self, request: Any, *, stream: bool = False, **options: Any
        ) -> Any:
            """Return the answer, read to its end.

            Raises:
                Again: the answer is longer than the bound.
                ModelRefused: it is a redirect to another origin.
            """
            options["follow_redirects"] = False
            plain_url = request.url
            target = request.url.raw_path
            if address.query:
                target += b"?" + address.query.encode()
            if headers and not api_key:
                request.headers.pop("Authorization", None)
            request.headers.update(headers)
            for _ in range(1 + _MAX_REDIRECTS):
                request.extensions = {**request.extensions, "target": target}
                if address.authorization:
                    request.headers["Authorization"] = address.authorization
                response = await super().send(request, stream=True, **options)
                try:
                    if response.next_request is None:
                        return await _read(response, name)
                finally:
                    await response.aclose()
                _refuse_foreign(request, response.next_request, name, secrets)
                request = response.next_request
                target = request.url.raw_path
                request.url = plain_url
            raise ModelRefused(
                f"{name} redirects in a circle ({_MAX_REDIRECTS} times): look at the base URL"
            )

    return openai.AsyncOpenAI(
        api_key=api_key or _NO_KEY,
        base_url=address.plain,
        max_retries=0,
        http_client=Client(follow_redirects=False),
    )


def _refuse_foreign(request: Any, following: Any, name: str, secrets: Secrets) -> None:
    """Raise ModelRefused if a redirect leads to another scheme, host or port."""
    origin = _origin(following)
    if _origin(request) == origin:
        return
    elsewhere = secrets.hide("{}://{}:{}".format(*origin))
    raise ModelRefused(
        f"{name} redirects to another address, {elsewhere}, and the prompt was not sent there: "
        "give that as the base URL if it is the right one"
    )


def _origin(request: Any) -> tuple[str, str, int]:
    parts = urlsplit(str(request.url))
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    return parts.scheme, parts.hostname or "", port


async def _read(response: Any, name: str) -> Any:
    """Return a response with its body, which is decompressed piece by piece."""
    body = bytearray()
    failed = response.status_code >= 400
    async for piece in response.aiter_bytes():
        body += piece
        if failed and len(body) >= _MAX_ERROR_BYTES:
            del body[_MAX_ERROR_BYTES:]
            break
        if len(body) > MAX_ANSWER_BYTES:
            megabytes = MAX_ANSWER_BYTES >> 20
            raise Again(
                ENDLESS,
                f"{name} sent an answer of more than {megabytes} MB, which was broken off there",
            )
    headers = []
    for header, value in response.headers.multi_items():
        if header not in _OF_THE_BODY:
            headers.append((header, value))
    return type(response)(
        response.status_code,
        headers=headers,
        content=bytes(body),
        request=response.request,
    )
