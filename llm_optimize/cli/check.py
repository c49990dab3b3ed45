"""The command `llm-optimize check`: what works here, before anything is started."""

from __future__ import annotations

from typing import Annotated

import typer

from ..errors import UsageError
from ..sandbox import check_machine
from .common import Json
from .tables import as_json, mechanisms_table

Sandbox = Annotated[
    bool,
    typer.Option(
        "--sandbox", help="Try each mechanism of the sandbox on this machine."
    ),
]


def check(sandbox: Sandbox = False, json_: Json = False) -> None:
    """Try what a run needs, before it is started."""
    if not sandbox:
        raise UsageError(
            "check: say what to check; today that is --sandbox, which tries the sandbox of this machine"
        )
    found = check_machine()
    typer.echo(as_json(found) if json_ else mechanisms_table(found))
