"""The command `llm-optimize export`: a run for other tools, in a file or on the standard output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .errors import UsageError
from .text import visible
from .watch.export import FORMATS, as_csv, as_json_lines, export, in_order

if TYPE_CHECKING:
    from .store import Run


def export_run(run: Run, form: str, file: Path | None) -> None:
    """Write a run into a file, or to the standard output where it is text. Raises UsageError."""
    if form in FORMATS and file is None:
        _print(run, form)
        return
    count = export(run, form, file or Path())
    typer.echo(f"{count} trials of {visible(run.name)} are in {file}", err=True)


def _print(run: Run, form: str) -> None:
    if form == "optuna":
        raise UsageError("a study of Optuna is a database: say into which file with -o FILE")
    text = as_csv(in_order(run)) if form == "csv" else as_json_lines(in_order(run))
    typer.echo(text.encode(), nl=False)
