"""Limits of the page: how many connections and streams it has open at the same time.

Each connection is an open file. Where none is left, the server can neither accept, nor read the
store, nor send a file, and everybody waits for the one who took them. So connections are refused
while there is still room. Streams, which stay open, get only half of the connections; the other
half is for requests that are answered at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.responses import Response

_MOST = 256  # connections
# Files besides the connections: 45 of the store, three for each of 15 connections; 48 connections
# that are accepted but not yet counted; and some others.
_OWN_FILES = 112
BACKLOG = 16  # connections that asyncio accepts at once, before it handles the first
_FEWEST = 4
RETRY_SECS = 10
_SENTENCE = (
    "too many pages are open at this server: "
    f"close some, and try again in {RETRY_SECS} s"
)
FULL = json.dumps({"error": _SENTENCE}).encode()


def most_connections() -> int:
    """Return how many connections may be open, by this process's limit on open files."""
    if sys.platform == "win32":
        return _MOST
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    return max(_FEWEST, min(_MOST, soft - _OWN_FILES))


class Streams:
    """Counts the open streams, of which there may be `most`; for one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open = 0

    def response(self, content: AsyncIterator[bytes], **options: Any) -> Response:
        """Return a response that streams, or a 503 where too many streams are open."""
        from starlette.responses import Response, StreamingResponse

        if self._open >= self._most:
            headers = {"retry-after": str(RETRY_SECS), "connection": "close"}
            return Response(
                FULL, status_code=503, media_type="application/json", headers=headers
            )
        streams = self

        class Counted(StreamingResponse):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                streams._open += 1
                try:
                    await super().__call__(scope, receive, send)
                finally:
                    streams._open -= 1

        return Counted(content, **options)


def bounded(
    protocol: type[Any],
    most: int,
) -> type[Any]:
    """Return a protocol of uvicorn that answers a connection beyond `most` with a 503.

    It closes that connection without reading from it.
    """
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        f"retry-after: {RETRY_SECS}",
        "connection: close",
        "content-type: application/json",
        f"content-length: {len(FULL)}",
        "",
        "",
    )
    refusal = "\r\n".join(lines).encode() + FULL

    class Bounded(protocol):  # type: ignore[misc]
        refused = False

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) < most:
                super().connection_made(transport)
                return
            self.refused = True
            transport.write(refusal)
            transport.close()

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self.refused:
                super().connection_lost(exc)

    return Bounded
