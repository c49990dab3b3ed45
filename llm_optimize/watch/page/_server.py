"""Server of the page: it listens at a port, makes the token, and can be stopped."""

from __future__ import annotations

import secrets
import socket
from contextlib import closing
from typing import Any

from ...errors import UsageError, require
from ...store import Store
from ..report import bundle
from ._app import App
from ._guard import Guard, is_loopback
from ._streams import BACKLOG, bounded, most_connections

DEFAULT_PORT = 8765
_GRACE_SECS = 2
_NEEDED = ("jinja2", "plotly", "pygments", "starlette", "uvicorn")
_OWN = ["'self'"]


class Page:
    """A web page of all runs of a store.

    Everybody who can reach the port may read; to steer runs takes the token, which is in `url`.
    Where other machines can reach the port, reading takes the token, too.

    Args:
        store: stays the caller's to close.
        host: to listen at.
        port: to listen at; 0 takes any free one.

    Raises:
        UsageError: the port is taken, or the host is not one of this machine.
        MissingExtra: starlette, uvicorn, jinja2, plotly or pygments is not installed.
    """

    def __init__(
        self, store: Store, *, host: str = "127.0.0.1", port: int = DEFAULT_PORT
    ) -> None:
        require(*_NEEDED, needed_by="the page")
        import uvicorn
        from uvicorn.protocols.http.h11_impl import H11Protocol

        self._token = secrets.token_urlsafe(24)
        self._socket = _listening(host, port)
        self._host = host
        most = most_connections()
        app = App(store, lambda: self._server.should_exit, streams=most // 2)
        guard = Guard(app.starlette(), host=host, token=self._token, headers=_headers())
        config: Any = uvicorn.Config(
            guard,
            http=bounded(H11Protocol, most),
            backlog=BACKLOG,
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_GRACE_SECS,
        )
        self._server = uvicorn.Server(config)

    @property
    def address(self) -> str:
        """The URL without the token."""
        host, port = self._socket.getsockname()[:2]
        name = self._host
        if name in ("0.0.0.0", "::") and not is_loopback(host):
            name = socket.gethostname()  # an address that others can use
        if ":" in name:
            name = f"[{name}]"
        return f"http://{name}:{port}/"

    @property
    def url(self) -> str:
        """The URL with the token."""
        return f"{self.address}?token={self._token}"

    def run(self) -> None:
        """Answer until `stop` is called, or until Ctrl-C, which raises KeyboardInterrupt."""
        with closing(self._socket):
            self._server.run(sockets=[self._socket])

    def stop(self) -> None:
        """Let `run` end; any thread may call."""
        self._server.should_exit = True


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port <= 65535:
        raise UsageError(f"{port} is not a port: choose one from 0 to 65535")
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise UsageError(
            f"cannot listen at port {port} of {host} ({error.strerror}): "
            "choose another --port"
        ) from error


def _headers() -> dict[str, str]:
    more = {
        "img-src": [*_OWN, "data:"],
        "connect-src": _OWN,
        "frame-ancestors": ["'none'"],
    }
    policy = bundle.policy(_OWN, [*_OWN, bundle.NO_TEXT], more)
    return {
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
    }
