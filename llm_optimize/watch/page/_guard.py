"""Guard of the page: checks of host, origin and token before the application sees a request.

Three attacks are held off. A page on another site makes the user's browser send requests here
(CSRF): Origin and Sec-Fetch-Site must be ours. A site gives its own name the address of this
machine (DNS rebinding): Host must be an address, or a name that is known. Somebody else on this
machine or network steers runs: what changes a run needs the token, which only the user has.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-llm-optimize-token"
_NO_TOKEN = (
    "the token is missing or wrong: open the address that llm-optimize view printed"
)


class Guard:
    """ASGI middleware that refuses requests, and adds headers to every answer.

    Args:
        app: the application.
        host: that the server listens at.
        token: that lets its owner steer runs.
        headers: for all answers.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        host: str,
        token: str,
        headers: Mapping[str, str],
    ) -> None:
        self._app = app
        self._local = is_loopback(host)
        self._names = _names(host)
        self._token = token.encode()
        self._headers: list[tuple[bytes, bytes]] = []
        for name, value in headers.items():
            self._headers.append((name.encode(), value.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse with a sentence."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        problem = self._problem(scope)
        if problem is None:
            await self._app(scope, receive, send_guarded)
        else:
            await _refuse(problem, scope, receive, send_guarded)

    def _problem(self, scope: Scope) -> tuple[int, str] | None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            headers[key] = value.decode("latin-1")
        host = headers.get("host", "")
        is_api = scope["path"].startswith("/api/")
        site = headers.get("sec-fetch-site", "none")
        if not self._knows(host):
            return 421, "this server does not answer to that name: use its address"
        own = f"http://{host}"
        if headers.get("origin", own) != own:
            return 403, "this request comes from another site"
        if is_api and site not in ("none", "same-origin"):
            return 403, "this request comes from another site"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET, HEAD and POST are answered"
        needs_token = scope["method"] == "POST" or (is_api and not self._local)
        if needs_token and not self._has_token(headers, scope):
            return 403, _NO_TOKEN
        return None

    def _knows(self, host: str) -> bool:
        name = _without_port(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._local

    def _has_token(
        self,
        headers: Mapping[str, str],
        scope: Scope,
    ) -> bool:
        given = headers.get(TOKEN_HEADER, "")
        if not given and scope["method"] != "POST":
            # An EventSource cannot send headers: it has the token in its URL.
            query = parse_qs(scope["query_string"].decode("latin-1"))
            given = query.get("token", [""])[0]
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str) -> Collection[str]:
    if is_loopback(host):
        return {"localhost"}
    names = ("localhost", host, socket.gethostname(), socket.getfqdn())
    return {name.lower() for name in names}


def _without_port(host: str) -> str:
    """Return the name or address in a Host header, in lower case.

    >>> _without_port("[::1]:8765"), _without_port("LocalHost:80"), _without_port("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    if host.startswith("[") and "]" in host:
        return host[1 : host.index("]")].lower()
    return host.partition(":")[0].lower()


async def _refuse(
    problem: tuple[int, str],
    scope: Scope,
    receive: Receive,
    send: Send,
) -> None:
    from starlette.responses import JSONResponse

    status, sentence = problem
    response = JSONResponse({"error": sentence}, status_code=status)
    await response(scope, receive, send)
