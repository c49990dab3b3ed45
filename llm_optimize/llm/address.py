"""Address of an endpoint, apart from the credentials that may stand in it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import UsageError
from ..redaction import HIDDEN, without_credentials


@dataclass(frozen=True)
class Address:
    """Where requests go, and what is sent along because it stood in the address.

    Args:
        shown: with *** for credentials; it is what is stored and shown. None: OpenAI's own address.
        plain: without credentials and parameters.
        authorization: header for a user and password (RFC 7617).
        query: all parameters, as they were written.
        secrets: values that must not be shown.
    """

    shown: str | None
    plain: str | None = field(repr=False, default=None)
    authorization: str | None = field(repr=False, default=None)
    query: str = field(repr=False, default="")
    secrets: tuple[str, ...] = field(repr=False, default=())

    @property
    def lacks_credentials(self) -> bool:
        """Whether it had credentials once, and was stored without them."""
        return self.shown is not None and HIDDEN in self.shown and not self.secrets

    @property
    def host(self) -> str:
        """The name of its machine; empty for OpenAI's own address."""
        return urlsplit(self.plain or "").hostname or ""


def address_of(base_url: str | None) -> Address:
    """Return the address for a base URL.

    None, and a URL that was stored without its credentials, take them from OPENAI_BASE_URL.

    Raises:
        UsageError: it is not a URL of http or https.
    """
    from_environment = os.environ.get("OPENAI_BASE_URL") or None
    if not base_url:
        return _read(from_environment) if from_environment else Address(None)
    address = _read(base_url)
    if address.lacks_credentials and from_environment:
        full = _read(from_environment)
        if full.shown == address.shown:
            return full
    return address


def _read(url: str) -> Address:
    parts = _split(url)
    if not (parts.username or parts.password or parts.query or parts.fragment):
        return Address(url, url)
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host, query="", fragment="").geturl()
    without_fragment = parts._replace(fragment="").geturl()
    shown = without_credentials(without_fragment)
    if shown == without_fragment:
        return Address(shown, plain, query=parts.query)
    user = unquote(parts.username or "")
    password = unquote(parts.password or "")
    authorization = None
    if user or password:
        encoded = base64.b64encode(f"{user}:{password}".encode())
        authorization = f"Basic {encoded.decode()}"
    secrets = _secrets(parts, user, password)
    return Address(shown, plain, authorization, parts.query, secrets)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port or 0
    except ValueError:
        parts, port = None, 0
    if parts is None or parts.scheme not in ("http", "https"):
        raise _no_url(url)
    if not parts.hostname or port < 0:
        raise _no_url(url)
    return parts


def _no_url(url: str) -> UsageError:
    """Return the error for a text that is not a URL; it may hold a password all the same.

    Nothing before an @ is shown, and no value of a parameter.
    """
    scheme, separator, rest = url.rpartition("://")
    user, at, host = rest.rpartition("@")
    if at:
        user = HIDDEN
    shown = without_credentials(f"{scheme}{separator}{user}{at}{host}")
    return UsageError(
        f"base_url is {shown!r}: give the full URL, as in http://localhost:8000/v1"
    )


def _secrets(parts: SplitResult, user: str, password: str) -> tuple[str, ...]:
    shown = without_credentials(parts.geturl())
    candidates = [user, password]
    if password:
        candidates.append(f"{user}:{password}")
    for _, value in parse_qsl(parts.query):
        if f"={value}" not in shown:
            candidates.append(value)
    secrets = []
    for secret in candidates:
        if secret and HIDDEN not in secret:
            secrets.append(secret)
    return tuple(secrets)
