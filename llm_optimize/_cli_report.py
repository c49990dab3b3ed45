"""The commands that make something to look at: a report in a file, and a web page."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from .store import Store
from .watch import page, report


def write_report(name: str, output: Path, store: str) -> str:
    """Write the report of a run or comparison, and return what to say of it."""
    with closing(Store(store, create=False)) as opened:
        path = report.write(opened, name, output)
    return f"{path} ({path.stat().st_size / 1e6:.1f} MB)"


def view(store: str, host: str, port: int, say: Callable[[str], None]) -> None:
    """Show a store in a web page until Ctrl-C."""
    with closing(Store(store, create=False)) as opened:
        shown = page.Page(opened, host=host, port=port)
        say(f"open {shown.url}")
        say("Ctrl-C ends it; whoever has this address may steer runs")
        try:
            shown.run()
        except KeyboardInterrupt:
            say("\nended")
