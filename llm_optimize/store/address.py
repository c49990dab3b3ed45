"""Address of a store: what a user gives, and the file or database that it means."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from ..redaction import without_credentials
from ..text import visible

DEFAULT_URL = "sqlite:///runs.db"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SQLITE = re.compile(r"sqlite(\+pysqlite)?:(/{2,3})", re.IGNORECASE)
_KNOWN = (
    "timeout|detect_types|isolation_level|check_same_thread|cached_statements"
    "|uri|mode|cache|immutable|vfs|nolock"
)
_OPTIONS = re.compile(rf"\?(?:{_KNOWN})=[^/&]*(?:&(?:{_KNOWN})=[^/&]*)*\Z")
_IN_MEMORY = (
    "a store in memory would be lost with the program: "
    "name a file, such as sqlite:///runs.db"
)


@dataclass(frozen=True)
class Address:
    """The place of a store."""

    url: str  # opens the same store again from the same working directory
    file: Path | None  # absolute; None for any database but an SQLite file
    shown: str  # without a password, and with nothing that could break a line

    @property
    def log(self) -> Path:
        """Where SQLite keeps what was written last."""
        return Path(f"{self.file}-wal")


def address_of(given: str | os.PathLike[str]) -> Address:
    """Read an address: the one rule for `store=`, `--store` and whatever else names a store.

    - A path object, and a text that does not begin like a URL, is the path of a file, taken
      literally: `?`, `#`, `%` and `~` are ordinary letters.
    - `sqlite:///` and the text after it is the same path, just as literal. People put a folder into
      that text without quoting it, and to read `%20` or `?` in any other way would lead them to
      another file. So there are no options, and a text that can only be meant as options, such as
      `?mode=ro` at the end, is refused.
    - Any other URL is SQLAlchemy's.

    Raises UsageError for what names no file and no database.
    """
    if isinstance(given, str) and _URL.match(given):
        if _SQLITE.match(given):
            return _of_sqlite_url(given)
        shown = _escaped(without_credentials(given))
        return Address(given, None, shown)
    path: object = given
    if isinstance(given, os.PathLike):
        path = os.fspath(given)
    if not isinstance(path, str):
        raise UsageError(
            f"the store {given!r} is not text and no path: name a file, such as runs.db"
        )
    # A name whose end reads like options has no URL; its path is always literal.
    url = path if _OPTIONS.search(path) else f"sqlite:///{path}"
    return _of_file(path, url)


def option_of(store: str) -> str:
    """Return the command line option for a store, quoted for a shell; empty for the usual store.

    >>> option_of("sqlite:///runs.db"), option_of("my runs.db")
    ('', " --store 'my runs.db'")
    """
    if store == DEFAULT_URL:
        return ""
    return f" --store {shlex.quote(store)}"


def _of_sqlite_url(url: str) -> Address:
    scheme = _SQLITE.match(url)
    path = url[scheme.end() :] if scheme else ""
    if scheme and scheme[2] == "//" and path:
        raise UsageError(
            f"the store {visible(url)!r} names a host, which SQLite has none of: "
            f"write sqlite:///{path}"
        )
    options = _OPTIONS.search(path)
    if options:
        raise UsageError(
            f"the store {visible(url)!r} ends with {options[0]!r}, and a file takes no options: "
            f"leave them out; a file of this very name is given as a path, {path!r}"
        )
    return _of_file(path, url)


def _of_file(path: str, url: str) -> Address:
    if path in ("", ":memory:"):
        raise UsageError(_IN_MEMORY)
    if "\0" in path:
        raise UsageError(
            f"the store {visible(path)!r} holds a null character, which no file name can: "
            "choose another"
        )
    return Address(url, Path(os.path.abspath(path)), _escaped(url))


def _escaped(text: str) -> str:
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")
