"""Files on the command line: texts that options name, and where the best x is written."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from ..errors import UsageError
from ..text import counted, one_line, show_x, visible

_MAX_PATH_CHARS = 1000  # a longer --x0 is a text, not the name of a folder
_MAX_NAMES_CHARS = 300  # of the files of a folder


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


def first_x(given: str, *, has_space: bool = False) -> Any:
    """Return the candidate that --x0 stands for: a text, the files of a folder, or parameters.

    Hidden files and `__pycache__` of a folder are left out. Which files it has is said on standard
    error.

    Args:
        given: the text, the name of a folder, or a JSON object.
        has_space: whether x is a set of parameters.

    Raises UsageError for nothing, for the name of a file, for a folder without files, and for
    parameters that are no JSON object.
    """
    if not given.strip():
        raise UsageError("--x0 is empty: give a text, or the name of a folder")
    if has_space:
        return parameters_of(given, "--x0")
    if "\n" in given or len(given) >= _MAX_PATH_CHARS:
        return given
    path = Path(given)
    if path.is_file():
        raise UsageError(
            f"--x0 is {given!r}, the name of a file: --x0-file {shlex.quote(given)} takes what "
            "is in it"
        )
    if not path.is_dir():
        return given
    parts = {}
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        hidden = any(part[0] == "." or part == "__pycache__" for part in name.parts)
        if file.is_file() and not hidden:
            parts[name.as_posix()] = file_text(file)
    if not parts:
        raise UsageError(f"the folder {path} of --x0 has no file")
    names = one_line(", ".join(parts), _MAX_NAMES_CHARS)
    count = counted(len(parts), "file")
    typer.echo(f"x0 is {count} of the folder {path}: {names}", err=True)
    return parts


def parameters_of(text: str, where: str) -> dict[str, Any]:
    """Return the parameters that a text holds as a JSON object. Raises UsageError for others."""
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise UsageError(
            f"{where} is {one_line(text, 80)!r}: with --space, x0 is a JSON object, "
            """such as '{"lr": 0.1}'"""
        )
    return values


def write_x(x: Any, output: Path, *, replace: bool = False) -> None:
    """Write x unchanged: a text into a file, named texts into the files of a folder.

    Args:
        x: the candidate.
        output: the file, or the folder.
        replace: whether files that exist are replaced.

    Raises UsageError where a file exists or cannot be written, or would lie outside the folder:
    the names of the parts come from a model.
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
            if file.exists() and not replace:
                raise UsageError(
                    f"the file {file} exists: choose another, or replace it with --force"
                )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise UsageError(message) from error


def print_x(x: Any) -> None:
    """Print x unchanged for a pipe; for a terminal, so that it cannot move the cursor."""
    text = show_x("" if x is None else x)
    if sys.stdout.isatty():
        text = visible(text)
    typer.echo(text, nl=not text.endswith("\n"))
