"""Who may ask what of the page: the address they use, the page they come from, and the token."""

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


class Guard:
    """Stands before the application: refuses what others may have sent, and adds headers to each answer.

    A page that somebody lured the user to can send requests here, and can give a name of its own the address of this
    machine. So Host must be an address, or a name that is known; Origin, where it is sent, must be ours; nothing is
    told to another site; and what changes a run needs the token, which only the user has.
    """

    def __init__(
        self, app: ASGIApp, *, host: str, token: str, headers: Mapping[str, str]
    ) -> None:
        """Take the host that the server listens at, the token, and headers for all answers."""
        self._app = app
        self._local = is_loopback(host)
        self._names = _names(host)
        self._token = token.encode()
        self._headers = [
            (name.encode(), value.encode()) for name, value in headers.items()
        ]

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
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        host, api = headers.get("host", ""), scope["path"].startswith("/api/")
        if not self._knows(host):
            return 421, "this server does not answer to that name: use its address"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "this request comes from another site"
        if api and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return 403, "this request comes from another site"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET, HEAD and POST are answered"
        asks_for_token = scope["method"] == "POST" or (api and not self._local)
        if asks_for_token and not self._has_token(headers, scope):
            return (
                403,
                "the token is missing or wrong: open the address that llm-optimize view printed",
            )
        return None

    def _knows(self, host: str) -> bool:
        name = _without_port(host)
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return address.is_loopback or not self._local

    def _has_token(self, headers: Mapping[str, str], scope: Scope) -> bool:
        given = headers.get(TOKEN_HEADER, "")
        if (
            not given and scope["method"] != "POST"
        ):  # an event source cannot send headers
            given = parse_qs(scope["query_string"].decode("latin-1")).get(
                "token", [""]
            )[0]
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token)


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a host.

    >>> [is_loopback(host) for host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _names(host: str) -> Collection[str]:
    if is_loopback(host):
        return {"localhost"}
    return {
        "localhost",
        host.lower(),
        socket.gethostname().lower(),
        socket.getfqdn().lower(),
    }


def _without_port(host: str) -> str:
    """Return the name or address in a Host header, in lower case.

    >>> _without_port("[::1]:8765"), _without_port("LocalHost:80"), _without_port("127.0.0.1")
    ('::1', 'localhost', '127.0.0.1')
    """
    name = (
        host[1 : host.index("]")]
        if host.startswith("[") and "]" in host
        else host.partition(":")[0]
    )
    return name.lower()


async def _refuse(
    problem: tuple[int, str], scope: Scope, receive: Receive, send: Send
) -> None:
    from starlette.responses import JSONResponse

    status, sentence = problem
    await JSONResponse({"error": sentence}, status_code=status)(scope, receive, send)
