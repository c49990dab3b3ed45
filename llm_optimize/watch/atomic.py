"""Atomic files: a file that is complete, or not there at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError

__all__ = ["atomic_path"]


@contextmanager
def atomic_path(file: Path) -> Iterator[Path]:
    """Yield a path to write to; at the end, what was written there becomes `file` at once.

    The path lies in the same folder, since only within one file system is a rename atomic. An
    existing file is replaced. It stays as it was until then, and where an exception ends the
    writing.

    Raises UsageError when the file cannot be written.
    """
    try:
        with tempfile.TemporaryDirectory(
            dir=file.parent, prefix=".unfinished"
        ) as folder:
            unfinished = Path(folder) / file.name
            yield unfinished
            unfinished.replace(file)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"the file {file} cannot be written: {reason}; name another one"
        ) from error
