"""Shared parts of the commands: options, exit codes, stored runs, and how a command ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn

import typer

import llm_optimize

from .completion import run_names
from .files import print_x
from .tables import as_json

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
DEFAULT_STORE = llm_optimize.store.DEFAULT_URL

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        help="Where runs are stored: a file, or a database URL.",
        metavar="FILE",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]
Quiet = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Show nothing during the run, and print the best x only."
    ),
]
RunName = Annotated[
    str,
    typer.Argument(help="Name of the run.", metavar="NAME", autocompletion=run_names),
]
FuncChanged = Annotated[
    str,
    typer.Option(
        "--func-changed",
        help='"ok" goes on with another f than before; the best is scored anew first.',
        metavar="ok",
    ),
]


def open_store(store: str) -> llm_optimize.store.Store:
    """Return a store that exists. Raises NotAStore when it does not."""
    return llm_optimize.store.Store(store, create=False)


def stored_run(name: str, store: str) -> llm_optimize.store.Run:
    """Return a run for reading. Raises RunNotFound with the nearest names."""
    return open_store(store).run(name)


def note_name(names: list[str]) -> Callable[[Any], None]:
    """Return a watcher that appends the name of each run that starts to `names`."""

    def watch(event: Any) -> None:
        if isinstance(event, llm_optimize.records.RunStarted):
            names.append(event.name)

    return watch


def resume_command(name: str, store: str) -> str:
    """Return the command that resumes a run, ready to paste into a shell."""
    return llm_optimize.store.command_line("resume", name, store=store)


@dataclass(frozen=True)
class Shown:
    """What a command shows of the run that it starts: lines on the way, JSON, or only the best x.

    Args:
        as_json: whether --json is given.
        quiet: whether --quiet is given.
    """

    as_json: bool
    quiet: bool

    @property
    def verbose(self) -> bool:
        """Whether the run itself prints what happens."""
        return not (self.as_json or self.quiet)

    def output(self) -> AbstractContextManager[Any]:
        """Return a context in which what the user's file prints stays out of JSON and of x."""
        if self.verbose:
            return nullcontext()
        return redirect_stdout(sys.stderr)

    def finish(self, result: Any) -> None:
        """Print the end of a run; exit with 1 where it ended by an error, or has no score."""
        if self.as_json:
            keys = ("name", "best_score", "best_x", "stop_reason", "usage")
            facts = {key: getattr(result, key) for key in keys}
            typer.echo(as_json({**facts, "trials": len(result.trials)}))
        elif self.quiet and result.best is not None:
            print_x(result.best_x)
        if result.stop_reason.startswith("error"):
            on_screen = self.verbose and sys.stdout.isatty()
            if not on_screen:
                typer.echo(result.stop_reason, err=True)
            raise typer.Exit(FAILED)
        if result.best is None:
            if not self.verbose:
                sentence = f"no trial of the run {result.name!r} has a score"
                typer.echo(f"{sentence} ({result.stop_reason})", err=True)
            raise typer.Exit(FAILED)


def until_interrupted(
    work: Callable[[], Any], names: Sequence[str], store: str, shown: Shown
) -> Any:
    """Return what the work returns; after Ctrl-C say how to resume the first of the runs."""
    try:
        with shown.output():
            return work()
    except KeyboardInterrupt:
        message = "\nstopped before the run began"
        if names:
            command = resume_command(names[0], store)
            message = f"\nstopped; everything is stored. To resume: {command}"
        typer.echo(message, err=True)
        raise typer.Exit(INTERRUPTED) from None


def fail(sentence: str, code: int) -> NoReturn:
    """Print what is wrong to standard error, and exit."""
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(code)
