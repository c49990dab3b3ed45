"""What may be shown of addresses and texts that hold credentials; every room that shows or stores one asks here."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus, unquote

HIDDEN = "***"
_SHORTEST = (
    6  # characters of a secret that is looked for by its value; shorter ones are words
)
_NO_WORD = 16  # characters of a secret that is none, whatever it is made of
# How a long secret begins gives it away, however the rest is written: cut, masked, or escaped twice.
_HEAD = re.compile(r"[\w-]{10,12}")
_AFTER_HEAD = r"[\w\-.*+/=%]*"
_URL = re.compile(r"""[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"'<>]+""")
# The user and the password of an address; a password may hold / ? #, which a URL should not, but a database takes.
_USER = re.compile(r"(?<=://)(?:[^/?#]*|[^/?#:@]*:[^@]*)@")
_PARAMETER = re.compile(r"([?&;][^=&;#]*=)([^&;#]*)")
_PLAIN = frozenset(
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
    """Return a text whose addresses may be shown: users, passwords and the values of parameters are hidden.

    Parameters that only say which version or place is meant stay.

    >>> without_credentials("postgresql://ada:secret@host/db")
    'postgresql://***@host/db'
    >>> without_credentials("no answer of https://host/v1?api-version=2&key=secret today")
    'no answer of https://host/v1?api-version=2&key=*** today'
    """
    return _URL.sub(
        lambda found: _PARAMETER.sub(_hidden_value, _USER.sub(f"{HIDDEN}@", found[0])),
        text,
    )


def _hidden_value(found: re.Match[str]) -> str:
    name = found[1][1:-1].lower()
    return found[0] if name in _PLAIN or not found[2] else found[1] + HIDDEN


class Secrets:
    """Values that must not be shown, in the spellings in which others may repeat them."""

    def __init__(self, values: Iterable[str]) -> None:
        """Take the values; those of less than six characters are left out."""
        secrets = {value for value in values if len(value) >= _SHORTEST}
        self._words = _longest_first(value for value in secrets if _is_word(value))
        self._others = _longest_first(value for value in secrets if not _is_word(value))
        heads = (_HEAD.match(value) for value in secrets if len(value) >= _NO_WORD)
        self._heads = sorted({found[0] for found in heads if found})

    def hide(self, text: str) -> str:
        """Return a text without them, nor the beginning of a long one, nor credentials in addresses."""
        text = self.hide_in_reply(text)
        for spelling in self._words:
            text = text.replace(spelling, HIDDEN)
        return without_credentials(text)

    def hide_in_reply(self, text: str) -> str:
        """Return a model's own text without them; what may be a word, as the key "ollama", and all else stays."""
        for spelling in self._others:
            text = text.replace(spelling, HIDDEN)
        for head in self._heads:
            if head in text:
                text = re.sub(re.escape(head) + _AFTER_HEAD, HIDDEN, text)
        return text

    def __repr__(self) -> str:
        return f"Secrets({len(self._words) + len(self._others)} spellings)"


def _is_word(secret: str) -> bool:
    return (
        len(secret) < _NO_WORD
        and re.fullmatch(r"[A-Za-z]+([-_. ][A-Za-z]+)*", secret) is not None
    )


def _longest_first(secrets: Iterable[str]) -> list[str]:
    """Return all spellings; a longer one may contain another, and goes first."""
    return sorted(
        {spelling for secret in secrets for spelling in _spellings(secret)},
        key=lambda one: (-len(one), one),
    )


def _spellings(secret: str) -> Iterator[str]:
    """Yield a secret as it is, and as headers, addresses, JSON and pages write it."""
    for written in {secret, unquote(secret), quote(secret, safe="")}:
        plain = {
            written,
            written.lower(),
            written.upper(),
            quote(written),
            quote_plus(written),
            html.escape(written),
        }
        plain |= {json.dumps(written)[1:-1], written.encode().hex()}
        yield from (spelling for spelling in plain if len(spelling) >= _SHORTEST)
        for before in range(
            3
        ):  # base64 takes three bytes at a time: there are three ways to stand in a longer text
            yield from _base64(written.encode(), before)


def _base64(secret: bytes, before: int) -> Iterator[str]:
    """Yield base64 of a secret after so many other bytes, without the characters that depend on its neighbors."""
    encoded = base64.b64encode(bytes(before) + secret).decode()
    whole = encoded.rstrip("=")
    inner = whole[(0, 2, 3)[before] : len(whole) - (whole != encoded)]
    if len(inner) >= _SHORTEST:
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))
