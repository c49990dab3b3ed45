"""The command line, `llm-optimize COMMAND`: all commands, and how errors become exit codes.

Each module holds a few commands: `run` starts and changes runs, `look` shows them, `compare`
lets methods compete, `report` writes and serves pages. Commands only translate: they read
options, call `llm_optimize` and print.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn

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
from . import check, compare, export, look, report, run, serve
from .common import FAILED, INTERRUPTED, OK, WRONG_USAGE, fail
from .options import flag_of

__all__ = ["app", "main"]

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


_COMMANDS: dict[str, Callable[..., None]] = {  # in the order of the help
    "run": run.run,
    "resume": run.resume,
    "fork": run.fork,
    "replay": run.replay,
    "steer": run.steer,
    "demo": run.demo,
    "list": look.list_runs,
    "show": look.show,
    "best": look.best,
    "report": report.report,
    "view": report.view,
    "export": export.export,
    "compare": compare.compare,
    "check": check.check,
    "mcp": serve.mcp,
}
for _name, _command in _COMMANDS.items():
    app.command(name=_name)(_command)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done, 1 ended by an error, 2 wrong usage, 130 interrupted.
    """
    # The commands print what happened. Without a handler, logging would print it once more.
    logging.getLogger("llm_optimize").addHandler(logging.NullHandler())
    try:
        code = app(arguments, standalone_mode=False)
        sys.exit(code or OK)
    except (UsageError, RunNotFound, NotAStore, MissingKey) as error:
        fail(error.for_shell(flag_of), WRONG_USAGE)
    except (LlmOptimizeError, StoreError) as error:
        fail(error.for_shell(flag_of), FAILED)
    except BrokenPipeError:
        # The reader, such as `head`, is gone. At exit Python flushes standard output once more:
        # into /dev/null that raises nothing.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        # Typer brings its own copy of click, whose exceptions are recognized by this method.
        if not hasattr(error, "format_message"):
            raise
        message = error.format_message()
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(message, err=True)
            sys.exit(WRONG_USAGE)
        message = message.rstrip(".")
        context = getattr(error, "ctx", None)
        if context:
            message += f"; see {context.command_path} --help"
        fail(message, WRONG_USAGE)
