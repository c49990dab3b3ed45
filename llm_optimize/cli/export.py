"""The command `llm-optimize export`: a run for other tools, in a file or on the standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..text import visible
from ..watch.export import FORMATS, as_csv, as_json_lines, in_order
from ..watch.export import export as write
from .common import DEFAULT_STORE, RunName, StoreOption, stored_run

if TYPE_CHECKING:
    from ..store import Run


def export(
    name: RunName,
    to: Annotated[str, typer.Option(help="csv, jsonl or optuna.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new file; else text is printed."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the trials of a run for other tools."""
    run = stored_run(name, store)
    if to in FORMATS and output is None:
        _print(run, to)
        return
    count = write(run, to, output or Path())
    typer.echo(f"{count} trials of {visible(run.name)} are in {output}", err=True)


def _print(run: Run, form: str) -> None:
    if form == "optuna":
        raise UsageError(
            "a study of Optuna is a database: say into which file with -o FILE"
        )
    text = as_csv(in_order(run)) if form == "csv" else as_json_lines(in_order(run))
    typer.echo(text.encode(), nl=False)
