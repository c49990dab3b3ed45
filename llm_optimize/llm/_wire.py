"""What goes over the wire: answers up to a bound, redirects only to the same place, credentials never in an address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ..errors import ModelRefused
from ..redaction import Secrets
from ._address import Address
from ._faults import ENDLESS, Again

if TYPE_CHECKING:
    import openai

MAX_ANSWER_BYTES = 64 * 2**20  # of one answer, decompressed: a longer one is broken off
_MAX_ERROR_BYTES = (
    2**20
)  # of an answer that is an error: what is longer is cut, its reason stands in front
_MAX_REDIRECTS = 3  # within the same scheme, host and port
_NO_KEY = "no-key"  # sent to servers of one's own, which ask for none
_OF_THE_BODY = (
    "content-encoding",
    "content-length",
    "transfer-encoding",
)  # headers that are true of what was sent


def open_client(
    address: Address, api_key: str | None, name: str, secrets: Secrets
) -> openai.AsyncOpenAI:
    """Return a client of the endpoint `name` whose own retries are off.

    The SDK reads answers of any length into memory, follows redirects to anywhere with the prompt, and logs whole
    addresses. So its HTTP client is replaced by one with three differences, all in `send`: it reads a body piece by
    piece and breaks off at the bound; it follows a redirect only within the same origin; and what may be secret goes
    out as header and "target" of the request, while its URL, which logs and exceptions show, stays the plain one.
    """
    import openai

    class Client(openai.DefaultAsyncHttpxClient):
        """The SDK's own client, within bounds."""

        async def send(
            self, request: Any, *, stream: bool = False, **options: Any
        ) -> Any:
            """Return the answer, read whole. Raises Again for one without end, ModelRefused for a redirect."""
            options["follow_redirects"] = False
            request.extensions = {
                **request.extensions,
                "target": _target(request.url.raw_path, address),
            }
            url = request.url
            for _ in range(1 + _MAX_REDIRECTS):
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
                request.extensions = {
                    **request.extensions,
                    "target": request.url.raw_path,
                }
                request.url = url
            raise ModelRefused(
                f"{name} redirects in a circle ({_MAX_REDIRECTS} times): look at the base URL"
            )

    return openai.AsyncOpenAI(
        api_key=api_key or _NO_KEY,
        base_url=address.plain,
        max_retries=0,
        http_client=Client(follow_redirects=False),
    )


def _target(path: bytes, address: Address) -> bytes:
    """Return what stands in the first line of a request instead of the path of its URL, which logs show."""
    return path + b"?" + address.query.encode() if address.query else path


def _refuse_foreign(request: Any, following: Any, name: str, secrets: Secrets) -> None:
    if _origin(request) != _origin(following):
        elsewhere = secrets.hide("{}://{}:{}".format(*_origin(following)))
        raise ModelRefused(
            f"{name} redirects to another address, {elsewhere}, and the prompt was not sent there: "
            "name that as the base URL if it is the right one"
        )


def _origin(request: Any) -> tuple[str, str, int]:
    parts = urlsplit(str(request.url))
    return (
        parts.scheme,
        parts.hostname or "",
        parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0),
    )


async def _read(response: Any, name: str) -> Any:
    """Return a response with its body, which is decompressed piece by piece, so that no piece can be large."""
    body = bytearray()
    failed = response.status_code >= 400
    async for piece in response.aiter_bytes():
        body += piece
        if failed and len(body) >= _MAX_ERROR_BYTES:
            del body[_MAX_ERROR_BYTES:]
            break
        if len(body) > MAX_ANSWER_BYTES:
            said = f"{name} sent an answer of more than {MAX_ANSWER_BYTES >> 20} MB, which was broken off there"
            raise Again(ENDLESS, said)
    headers = [
        (name, value)
        for name, value in response.headers.multi_items()
        if name not in _OF_THE_BODY
    ]
    return type(response)(
        response.status_code,
        headers=headers,
        content=bytes(body),
        request=response.request,
    )
