"""Files that are there whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import UsageError

__all__ = ["whole"]


@contextmanager
def whole(file: Path) -> Iterator[Path]:
    """Yield a path to write to; at the end what was written there takes the name of `file`, at once.

    A file of that name is replaced. Until then it stays as it was, and so it does where an exception ends the writing.

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
        said = error.strerror or error
        raise UsageError(
            f"the file {file} cannot be written: {said}; name another one"
        ) from error
