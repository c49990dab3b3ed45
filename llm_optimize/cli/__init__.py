"""The command line, `llm-optimize COMMAND`: all commands, and how errors become exit codes.

Each module holds a few commands: `run` starts and changes runs, `look` shows them, `compare`
lets methods compete, `report` writes and serves pages. Commands only translate: they read
options, call `llm_optimize` and print.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

import llm_optimize

from ..errors import (
    LlmOptimizeError,
    MissingKey,
    NotAStore,
    RunNotFound,
    StoreError,
    UsageError,
)
from . import advisor, check, compare, export, init, look, manage, report, run, serve
from .common import FAILED, INTERRUPTED, OK, WRONG_USAGE, fail
from .options import flag_of

__all__ = ["app", "main"]

app = typer.Typer(
    help="A language model proposes, your own function judges.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 ended by an error or without a score, 2 wrong usage, "
    "130 interrupted.",
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


class Command(TyperCommand):
    """A command whose usage line has its arguments as NAME and [TRIAL]."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the usage line, in pieces; typer writes {NAME} for what is required."""
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]


_COMMANDS: dict[str, Callable[..., None]] = {  # in the order of the help
    "init": init.init,
    "run": run.run,
    "resume": run.resume,
    "fork": run.fork,
    "replay": run.replay,
    "steer": run.steer,
    "demo": run.demo,
    "list": look.list_runs,
    "show": look.show,
    "best": look.best,
    "delete": manage.delete,
    "rename": manage.rename,
    "tag": manage.tag,
    "report": report.report,
    "view": report.view,
    "export": export.export,
    "compare": compare.compare,
    "check": check.check,
    "ridge-exp": advisor.ridge_exp,
    "generate-models": advisor.generate_models,
    "mcp": serve.mcp,
}
for _name, _command in _COMMANDS.items():
    _first_line = (_command.__doc__ or "").splitlines()[0]
    app.command(name=_name, short_help=_first_line, cls=Command)(_command)


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _give_up_output() -> None:
    """Send the rest of the output nowhere: at exit Python flushes it once more, and may raise."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit.

    Exit codes: 0 done, 1 ended by an error, 2 wrong usage, 130 interrupted.
    """
    # The commands print what happened. Without a handler, logging would print it once more.
    logging.getLogger("llm_optimize").addHandler(logging.NullHandler())
    try:
        code = app(arguments, standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code or OK)
    except (UsageError, RunNotFound, NotAStore, MissingKey) as error:
        fail(error.for_shell(flag_of), WRONG_USAGE)
    except (LlmOptimizeError, StoreError) as error:
        fail(error.for_shell(flag_of), FAILED)
    except BrokenPipeError:
        _give_up_output()  # the reader, such as `head`, is gone
        sys.exit(FAILED)
    except OSError as error:
        if error.errno not in _NO_SPACE or error.filename is not None:
            raise
        _give_up_output()
        fail(f"the output cannot be written: {error.strerror}", FAILED)
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
