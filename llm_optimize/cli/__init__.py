"""The command line: llm-optimize COMMAND."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import llm_optimize

from ..errors import (
    LlmOptimizeError,
    MissingKey,
    NotAStore,
    RunNotFound,
    StoreError,
    UsageError,
)
from ..watch.run_view import stored_view
from .check import check
from .common import (
    DEFAULT_STORE,
    FAILED,
    INTERRUPTED,
    OK,
    WRONG_USAGE,
    Json,
    RunName,
    StoreOption,
    complain,
    end,
    open_store,
    remember,
    stored_run,
    watched,
    write_x,
)
from .compare import compare
from .export import export
from .report import report, view
from .run import fork, replay, resume, run, steer
from .serve import mcp
from .tables import as_json, runs_table, spending, trial_page, trials_table

app = typer.Typer(
    help="A language model proposes, your own function judges.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def front(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.")
    ] = False,
) -> None:
    """A language model proposes, your own function judges."""
    if version:
        typer.echo(llm_optimize.__version__)
        raise typer.Exit


for command in (
    run,
    resume,
    fork,
    replay,
    steer,
    compare,
    check,
    report,
    view,
    export,
    mcp,
):
    app.command()(command)


@app.command(name="list")
def list_(store: StoreOption = DEFAULT_STORE, json_: Json = False) -> None:
    """List all runs of a store."""
    runs = open_store(store).runs()
    typer.echo(as_json(runs) if json_ else runs_table(runs))


@app.command()
def show(
    name: RunName,
    number: Annotated[
        int | None, typer.Argument(help="A trial, to see all of it.", metavar="[TRIAL]")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
) -> None:
    """Show the trials of a run; or one trial with its diff, prompt and reply."""
    row = stored_run(name, store)
    if number is None:
        view, finished = stored_view(row)
        trials = sorted(finished, key=lambda trial: trial.number)
        table = trials_table(trials, view.champion)
        page = "\n\n".join(filter(None, [table, spending(view, row.uncertain_calls())]))
        typer.echo(as_json(trials) if json_ else page)
        return
    trial, calls = row.trial(number), row.calls(number)
    parent = None if trial.parent is None else row.find(trial.parent)
    typer.echo(
        as_json({"trial": trial, "calls": calls})
        if json_
        else trial_page(trial, parent, calls)
    )


@app.command()
def best(
    name: RunName,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write it into this file or folder."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
) -> None:
    """Print the best x of a run and nothing else."""
    found = stored_view(stored_run(name, store))[0].champion
    if found is None:
        raise LlmOptimizeError(f"no trial of the run {name!r} has a score yet")
    if json_:
        typer.echo(as_json(found))
        return
    if output is not None:
        write_x(found.x, output)
        return
    x = llm_optimize.text.show_x(found.x if found.x is not None else "")
    text = llm_optimize.text.visible(x) if sys.stdout.isatty() else x
    typer.echo(text, nl=not text.endswith("\n"))


@app.command()
def demo(
    steps: Annotated[int, typer.Option(help="Changes to try.")] = 40,
    store: StoreOption = DEFAULT_STORE,
    seed: Annotated[int, typer.Option(help="Makes it repeatable.")] = 1,
) -> None:
    """Improve a scikit-learn script by random changes: no key, no network, a minute at the most."""
    started: list[str] = []

    def run_it() -> Any:
        return llm_optimize.demo.run(steps, store, seed, [remember(started)])

    typer.echo(llm_optimize.demo.INTRODUCTION + "\n")
    result = watched(started, store, run_it)
    typer.echo(llm_optimize.demo.report(result, store))
    end(result, as_json_=False)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 ended with an error, 2 wrong usage, 130 interrupted."""
    logging.getLogger("llm_optimize").addHandler(
        logging.NullHandler()
    )  # the commands themselves say what happened
    try:
        sys.exit(app(arguments, standalone_mode=False) or OK)
    except (UsageError, RunNotFound, NotAStore, MissingKey) as error:
        complain(str(error), WRONG_USAGE)
    except (LlmOptimizeError, StoreError) as error:
        complain(str(error), FAILED)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # so that the exit does not complain
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what click raises for wrong options
            raise
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            sys.exit(WRONG_USAGE)
        hint = f"; see {context.command_path} --help" if context else ""
        complain(error.format_message().rstrip(".") + hint, WRONG_USAGE)


__all__ = ["app", "main"]
