"""Files on the command line: texts that options name, and where the best x is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..text import show_x

_MAX_PATH_CHARS = 1000  # a longer --x0 is a text, not the name of a folder


def text_of(words: str) -> str:
    """Return the words, or the text of the file that @FILE names.

    Raises UsageError for a file that cannot be read.
    """
    if words.startswith("@"):
        return file_text(Path(words[1:]))
    return words


def file_text(path: Path) -> str:
    """Return the text of a file, unchanged.

    Raises UsageError when it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        message = f"the file {path} cannot be read: {error.strerror}"
        raise UsageError(message) from error
    except UnicodeDecodeError as error:
        place = f"{error.reason} at byte {error.start}"
        message = f"the file {path} is not UTF-8 text ({place})"
        raise UsageError(message) from error


def first_x(given: str) -> Any:
    """Return the candidate that --x0 stands for: a text, or the files of a folder by name.

    Hidden files and `__pycache__` are left out. Raises UsageError for a folder without files.
    """
    if "\n" in given or len(given) >= _MAX_PATH_CHARS:
        return given
    folder = Path(given)
    if not folder.is_dir():
        return given
    parts = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = any(part[0] == "." or part == "__pycache__" for part in name.parts)
        if path.is_file() and not hidden:
            parts[name.as_posix()] = file_text(path)
    if not parts:
        raise UsageError(f"the folder {folder} of --x0 holds no file")
    return parts


def write_x(x: Any, output: Path) -> None:
    """Write x unchanged: a text into a file, named texts into the files of a folder.

    Raises UsageError where a file cannot be written, or would lie outside the folder: the names
    of the parts come from a model.
    """
    folder = output.resolve()
    try:
        texts = {output: show_x(x)}  # parameters are one text, as JSON
        if isinstance(x, dict) and all(isinstance(part, str) for part in x.values()):
            texts = {output / name: part for name, part in x.items()}
        for file, text in texts.items():
            if not file.resolve().is_relative_to(folder):
                raise UsageError(
                    f"the part {str(file)!r} would be written outside {output}: "
                    "print it with --json"
                )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise UsageError(message) from error
