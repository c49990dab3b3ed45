"""The commands that make something to look at: a report in a file, and a web page."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..watch import page as pages
from ..watch import report as reports
from .common import DEFAULT_STORE, RunName, StoreOption, open_store


def report(
    name: RunName,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The HTML file.")
    ] = Path("report.html"),
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write one HTML file that shows all of a run, or of a comparison."""
    with closing(open_store(store)) as opened:
        path = reports.write(opened, name, output)
    typer.echo(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")


def view(
    store: StoreOption = DEFAULT_STORE,
    port: Annotated[
        int, typer.Option(help="Port of the page; 0 takes any that is free.")
    ] = 8765,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 lets others in.")
    ] = "127.0.0.1",
) -> None:
    """Show all runs in a web page, live."""
    with closing(open_store(store)) as opened:
        shown = pages.Page(opened, host=host, port=port)
        typer.echo(f"open {shown.url}")
        typer.echo("Ctrl-C ends it; whoever has this address may steer runs")
        try:
            shown.run()
        except KeyboardInterrupt:
            typer.echo("\nended")
