"""Commands that draw runs: a report in one HTML file, and a live web page of all runs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..watch import page as pages
from ..watch import report as reports
from .common import DEFAULT_STORE, Force, RunName, StoreOption, open_store


def report(
    name: RunName,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The HTML file; report.html if not given, which is replaced.",
            metavar="FILE",
        ),
    ] = None,
    force: Force = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write one HTML file that shows all of a run, or of a comparison."""
    if output is not None and output.exists() and not force:
        raise UsageError(
            f"the file {output} exists: choose another, or replace it with --force"
        )
    with closing(open_store(store)) as opened:
        path = reports.write(opened, name, output or Path("report.html"))
    megabytes = path.stat().st_size / 1e6
    typer.echo(f"{path} ({megabytes:.1f} MB)")


def view(
    store: StoreOption = DEFAULT_STORE,
    port: Annotated[
        int, typer.Option(help="Port of the page; 0 takes any free one.")
    ] = 8765,
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 lets other machines connect."),
    ] = "127.0.0.1",
) -> None:
    """Show all runs of a store in a web page, live."""
    with closing(open_store(store)) as opened:
        page = pages.Page(opened, host=host, port=port)
        typer.echo(f"open {page.url}")
        typer.echo("Ctrl-C ends it; anyone with this address can steer runs")
        try:
            page.run()
        except KeyboardInterrupt:
            typer.echo("\nended")
