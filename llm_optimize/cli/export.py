"""The command `llm-optimize export`: a run for other tools, in a file or printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..text import counted, visible
from ..watch import export as exports
from .common import DEFAULT_STORE, Force, RunName, StoreOption, stored_run

if TYPE_CHECKING:
    from ..store import Run


def export(
    name: RunName,
    to: Annotated[str, typer.Option(help="Format: csv, jsonl or optuna.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new file; without it, text is printed."),
    ] = None,
    force: Force = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the trials of a run for other tools."""
    run = stored_run(name, store)
    if to in exports.FORMATS and output is None:
        _print(run, to)
        return
    count = exports.export(run, to, output or Path(), replace=force)
    typer.echo(
        f"{counted(count, 'trial')} of {visible(run.name)} in {output}", err=True
    )


def _print(run: Run, format_: str) -> None:
    if format_ == "optuna":
        raise UsageError("a study of Optuna is a database: name its file with -o FILE")
    trials = exports.in_order(run)
    if format_ == "csv":
        text = exports.as_csv(trials)
    else:
        text = exports.as_json_lines(trials)
    typer.echo(text.encode(), nl=False)
