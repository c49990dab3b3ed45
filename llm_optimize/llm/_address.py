"""The address of an endpoint, apart from the credentials that may stand in it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from ..errors import UsageError
from ..redaction import HIDDEN, without_credentials


@dataclass(frozen=True)
class Address:
    """Where requests go, and what is sent along because it stood in the address."""

    shown: (
        str | None
    )  # with *** for credentials: what is stored and told; None: OpenAI's own
    plain: str | None = field(
        repr=False, default=None
    )  # without credentials and parameters
    authorization: str | None = field(
        repr=False, default=None
    )  # of a user and password (RFC 7617)
    query: str = field(repr=False, default="")  # all parameters, as they were written
    secrets: tuple[str, ...] = field(
        repr=False, default=()
    )  # what must not be shown of it

    @property
    def lacks_credentials(self) -> bool:
        """Whether it had credentials once, and was stored without them."""
        return self.shown is not None and HIDDEN in self.shown and not self.secrets

    @property
    def host(self) -> str:
        """The name of its machine; empty for OpenAI's own."""
        return urlsplit(self.plain or "").hostname or ""


def address_of(base_url: str | None) -> Address:
    """Read a base URL; None, and one that was stored without its credentials, look at OPENAI_BASE_URL.

    Raises UsageError where it can be none.
    """
    named = os.environ.get("OPENAI_BASE_URL") or None
    if not base_url:
        return _read(named) if named else Address(None)
    address = _read(base_url)
    if address.lacks_credentials and named:
        whole = _read(named)
        return whole if whole.shown == address.shown else address
    return address


def _read(url: str) -> Address:
    try:
        parts = urlsplit(url)
        whole = (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and (parts.port or 0) >= 0
        )
    except ValueError:
        whole = False
    if not whole:
        raise UsageError(
            f"base_url is {_told(url)!r}: write it whole, as in http://localhost:8000/v1"
        )
    if not (parts.username or parts.password or parts.query or parts.fragment):
        return Address(url, url)
    host = parts.netloc.rpartition("@")[2]
    plain = parts._replace(netloc=host, query="", fragment="").geturl()
    shown = without_credentials(parts._replace(fragment="").geturl())
    if shown == parts._replace(fragment="").geturl():
        return Address(shown, plain, query=parts.query)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    authorization = (
        "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if user or password
        else None
    )
    return Address(
        shown, plain, authorization, parts.query, _secrets(parts, user, password)
    )


def _secrets(parts: SplitResult, user: str, password: str) -> tuple[str, ...]:
    shown = without_credentials(parts.geturl())
    values = [value for _, value in parse_qsl(parts.query) if f"={value}" not in shown]
    found = [user, password, f"{user}:{password}" if password else "", *values]
    return tuple(one for one in found if one and HIDDEN not in one)


def _told(url: str) -> str:
    """Return of something that is no address what may be told: nothing before an @, no parameter's value."""
    scheme, separator, rest = url.rpartition("://")
    before, at, host = rest.rpartition("@")
    return without_credentials(
        f"{scheme}{separator}{HIDDEN if at else before}{at}{host}"
    )
