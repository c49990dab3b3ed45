"""The command `llm-optimize mcp`: a server of runs for coding agents.

The server itself is `llm_optimize.mcp`; this is its entry on the command line.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from ..mcp.server import serve
from .common import DEFAULT_STORE, StoreOption

AllowOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--allow",
        help="A TASK.toml that agents may start, or a folder of them. Repeat it for several.",
        exists=True,
    ),
]
AtATime = Annotated[
    int,
    typer.Option("--at-a-time", help="How many runs may go on at once.", min=1),
]


def mcp(
    store: StoreOption = DEFAULT_STORE,
    allow: AllowOption = None,
    at_a_time: AtATime = 4,
) -> None:
    """Serve runs to coding agents by the Model Context Protocol, on standard input and output."""
    # Standard output belongs to the protocol: what a human should read goes to standard error.
    logging.getLogger("llm_optimize").addHandler(logging.StreamHandler())
    serve(store, allow or [], at_a_time)
