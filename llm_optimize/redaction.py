"""Redaction of credentials in addresses and texts, for every room that shows or stores one."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
_MIN_CHARS = 6  # of a secret that is looked for by its value; shorter ones are words
# Of a secret that is never taken for a word, whatever it is made of.
_MIN_KEY_CHARS = 16
# The beginning of a long secret gives it away, however the rest is written: cut, masked, escaped.
_HEAD = re.compile(r"[\w-]{10,12}")
_AFTER_HEAD = r"[\w\-.*+/=%]*"
_WORDS = re.compile(r"[A-Za-z]+([-_. ][A-Za-z]+)*")
_URL = re.compile(r"""[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]+""")
# User and password of an address. A password may hold / ? #, which a URL should not, but which
# databases take.
_USER = re.compile(r"(?<=://)(?:[^/?#]*|[^/?#:@]*:[^@]*)@")
_PARAMETER = re.compile(r"([?&;][^=&;#]*=)([^&;#]*)")
_PLAIN_PARAMETERS = frozenset(
    {
        "api-version",
        "api_version",
        "version",
        "deployment",
        "model",
        "project",
        "region",
        "location",
    }
)


def without_credentials(text: str) -> str:
    """Return a text whose addresses hide users, passwords and the values of parameters.

    Parameters that only say which version or place is meant stay.

    >>> without_credentials("postgresql://ada:secret@host/db")
    'postgresql://***@host/db'
    >>> without_credentials("no answer of https://host/v1?api-version=2&key=secret today")
    'no answer of https://host/v1?api-version=2&key=*** today'
    """
    return _URL.sub(_hide_in_url, text)


def _hide_in_url(found: re.Match[str]) -> str:
    url = _USER.sub(f"{HIDDEN}@", found[0])
    return _PARAMETER.sub(_hide_value, url)


def _hide_value(found: re.Match[str]) -> str:
    beginning, value = found[1], found[2]
    name = beginning[1:-1].lower()
    if name in _PLAIN_PARAMETERS or not value:
        return found[0]
    return beginning + HIDDEN


class Secrets:
    """Values that must not be shown, in the spellings in which others may repeat them.

    Args:
        values: the secrets; those of fewer than six characters are ignored.
    """

    def __init__(self, values: Iterable[str]) -> None:
        secrets = {value for value in values if len(value) >= _MIN_CHARS}
        words = set()
        for value in secrets:
            if len(value) < _MIN_KEY_CHARS and _WORDS.fullmatch(value):
                words.add(value)
        self._words = _spellings_of(words)
        self._keys = _spellings_of(secrets - words)
        heads: set[str] = set()
        for value in secrets:
            head = _HEAD.match(value)
            if head and len(value) >= _MIN_KEY_CHARS:
                heads.add(head[0])
        self._heads = sorted(heads)

    def hide(self, text: str) -> str:
        """Return a text without secrets, beginnings of long ones, and credentials in addresses."""
        text = self.hide_in_reply(text)
        for spelling in self._words:
            text = text.replace(spelling, HIDDEN)
        return without_credentials(text)

    def hide_in_reply(self, text: str) -> str:
        """Return a model's own text without secrets.

        What may be an ordinary word, as the key "ollama", stays, and so do addresses.
        """
        for spelling in self._keys:
            text = text.replace(spelling, HIDDEN)
        for head in self._heads:
            if head in text:
                text = re.sub(re.escape(head) + _AFTER_HEAD, HIDDEN, text)
        return text

    def __repr__(self) -> str:
        return f"Secrets({len(self._words) + len(self._keys)} spellings)"


def _spellings_of(secrets: Iterable[str]) -> list[str]:
    """Return all spellings, the longest first: a longer one may contain another."""
    found: set[str] = set()
    for secret in secrets:
        found.update(_spellings(secret))
    return sorted(found, key=lambda spelling: (-len(spelling), spelling))


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as headers, addresses, JSON and HTML write it."""
    for written in {secret, unquote(secret), quote(secret, safe="")}:
        spellings = {
            written,
            written.lower(),
            written.upper(),
            quote(written),
            quote_plus(written),
            html.escape(written),
            json.dumps(written)[1:-1],
            written.encode().hex(),
        }
        for spelling in spellings:
            if len(spelling) >= _MIN_CHARS:
                yield spelling
        # Base64 takes three bytes at a time, so that a secret within a longer text has three forms.
        for bytes_before in range(3):
            yield from _base64(written.encode(), bytes_before)


def _base64(secret: bytes, bytes_before: int) -> Iterator[str]:
    """Yield base64 of a secret after other bytes, without characters that depend on neighbors."""
    encoded = base64.b64encode(bytes(bytes_before) + secret).decode()
    unpadded = encoded.rstrip("=")
    first = (0, 2, 3)[bytes_before]
    end = len(unpadded)
    if unpadded != encoded:
        end -= 1
    inner = unpadded[first:end]
    if len(inner) >= _MIN_CHARS:
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))
