"""What the commands share: their options, reading what they name, and their ends."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import llm_optimize

from ..errors import UsageError
from .tables import as_json

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
DEFAULT_STORE = "sqlite:///runs.db"

StoreOption = Annotated[
    str, typer.Option("--store", help="Where runs are kept: a file, or a database URL.")
]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show nothing while it runs.")
]
RunName = Annotated[str, typer.Argument(help="Name of the run.", metavar="NAME")]


def text_of(words: str) -> str:
    """Return words, or the text of the file that @FILE names. Raises UsageError for a file that cannot be read."""
    return file_text(Path(words[1:])) if words.startswith("@") else words


def file_text(path: Path) -> str:
    """Return the text of a file, to the byte. Raises UsageError when it cannot be read, or is no UTF-8."""
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"the file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file {path} is no UTF-8 text ({error.reason} at byte {error.start})"
        ) from error


def write_x(x: Any, output: Path) -> None:
    """Write x to the byte: a text into a file, named texts into files of a folder. Raises UsageError."""
    texts = (
        all(isinstance(text, str) for text in x.values())
        if isinstance(x, dict)
        else False
    )
    named = (
        {output / name: text for name, text in x.items()}
        if texts
        else {output: llm_optimize.text.show_x(x)}
    )
    try:
        for file, text in named.items():
            if not file.resolve().is_relative_to(output.resolve()):
                raise UsageError(
                    f"the part {str(file)!r} would be written outside of {output}: print it with --json"
                )
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode("utf-8"))
    except OSError as error:
        raise UsageError(
            f"{error.filename} cannot be written: {error.strerror}"
        ) from error


def open_store(store: str) -> llm_optimize.store.Store:
    """Return a store that exists. Raises NotAStore when it does not."""
    return llm_optimize.store.Store(store, create=False)


def stored_run(name: str, store: str) -> llm_optimize.store.Run:
    """Return a run for reading. Raises RunNotFound with the nearest names."""
    return open_store(store).run(name)


def remember(started: list[str]) -> Callable[[Any], None]:
    """Return a watcher that writes down the name of the run."""

    def note(event: Any) -> None:
        if isinstance(event, llm_optimize.records.RunStarted):
            started.append(event.name)

    return note


def watched(started: Sequence[str], store: str, work: Callable[[], Any]) -> Any:
    """Do the work; after Ctrl-C say how to go on."""
    try:
        return work()
    except KeyboardInterrupt:
        kept = (
            f"; go on with: llm-optimize resume {shlex.quote(started[0])}{llm_optimize.store.option_of(store)}"
            if started
            else ""
        )
        typer.echo(f"\nstopped, everything is kept{kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def end(result: Any, *, as_json_: bool) -> None:
    """Print a result for programs, and leave with the exit code that it stands for."""
    if as_json_:
        keys = ("name", "best_score", "best_x", "stop_reason", "usage")
        facts = {key: getattr(result, key) for key in keys}
        typer.echo(as_json({**facts, "trials": len(result.trials)}))
    if result.stop_reason.startswith("error"):
        typer.echo(result.stop_reason, err=True)
        raise typer.Exit(FAILED)


def complain(sentence: str, code: int) -> NoReturn:
    """Say what is wrong, and exit."""
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(code)
