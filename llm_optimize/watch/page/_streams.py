"""How much the page takes on at a time: connections, and streams among them, by the files that the process may open.

Each connection is an open file. Where none is left, the server cannot accept, read the store or send a file, and all
watchers wait for the one who took them. So connections are refused while there is still room, and streams, which stay
open, get only half of the connections; the other half is for questions that are answered at once.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.responses import Response

_MOST = 256  # connections
_OWN_FILES = 112  # 45 of the store, three for each of 15 connections; 48 just accepted, not yet looked at; and others
BACKLOG = 16  # connections that asyncio accepts in one go, before it looks at the first of them
_FEWEST = 4
RETRY_SECS = 10
_SENTENCE = {
    "error": f"too many pages are open at this server: close some, and try again in {RETRY_SECS} s"
}
FULL = json.dumps(_SENTENCE).encode()


def most_connections() -> int:
    """Return how many connections there may be at a time, by the limit on open files of this process."""
    if sys.platform == "win32":
        return _MOST
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return (
        _MOST
        if soft == resource.RLIM_INFINITY
        else max(_FEWEST, min(_MOST, soft - _OWN_FILES))
    )


class Streams:
    """Counts the streams that are open; all calls come from one event loop."""

    def __init__(self, most: int) -> None:
        """Take how many there may be."""
        self._most = most
        self._open = 0

    def response(self, content: AsyncIterator[bytes], **options: Any) -> Response:
        """Return a response that streams, or where there are too many already one that says so."""
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


def bounded(protocol: type[Any], most: int) -> type[Any]:
    """Return a protocol of uvicorn that answers a connection beyond `most` with a sentence, and closes it."""
    head = f"HTTP/1.1 503 Service Unavailable\r\nretry-after: {RETRY_SECS}\r\nconnection: close\r\n"
    said = (
        f"{head}content-type: application/json\r\ncontent-length: {len(FULL)}\r\n\r\n".encode()
        + FULL
    )

    class Bounded(protocol):  # type: ignore[misc]
        refused = False

        def connection_made(self, transport: Any) -> None:
            if len(self.connections) < most:
                super().connection_made(transport)
                return
            self.refused = True
            transport.write(said)
            transport.close()

        def data_received(self, data: bytes) -> None:
            if not self.refused:
                super().data_received(data)

        def connection_lost(self, exc: Exception | None) -> None:
            if not self.refused:
                super().connection_lost(exc)

    return Bounded
