"""Replies on disk before they are used: lines of JSON that are appended and never changed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self

from ...errors import StoreError


class Kept(Protocol):
    """Where replies are kept."""

    def get(
        self,
        key: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Return the values that were stored with this key; None where there are none."""

    def put(
        self,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> None:
        """Store values with a key."""


class Memory:
    """Keeps nothing beyond this call."""

    def get(
        self,
        key: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Return None."""
        return None

    def put(
        self,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> None:
        """Do nothing."""


class Ledger:
    """A file with one line for each thing that was paid for.

    A line that a kill cut in half is passed over, and the next one begins on a line of its own.

    Args:
        path: of the file; its folder must exist.

    Raises StoreError when the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, dict[str, Any]] = {}
        try:
            self._file = path.open("a+", encoding="utf-8")
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"{path} cannot be written: {reason}") from error
        self._file.seek(0)
        text = self._file.read()
        for line in text.splitlines():
            row = _row(line)
            if row is not None:
                self._rows[_text_of(row["key"])] = row
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def get(
        self,
        key: Mapping[str, Any],
    ) -> dict[str, Any] | None:
        """Return the values that were stored with this key; None where there are none."""
        return self._rows.get(_text_of(key))

    def put(
        self,
        key: Mapping[str, Any],
        values: Mapping[str, Any],
    ) -> None:
        """Append values with a key, and return when they are on disk. Raises StoreError."""
        row = {"key": dict(key), **values}
        try:
            line = json.dumps(row)
            self._file.write(f"{line}\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error}") from error
        self._rows[_text_of(row["key"])] = row

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _text_of(key: Mapping[str, Any]) -> str:
    return json.dumps(dict(key), sort_keys=True)


def _row(
    line: str,
) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if isinstance(row, dict) and isinstance(row.get("key"), dict):
        return row
    return None
