"""The command `llm-optimize check`: tries what a run needs, before one is started."""

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
    """Test what works on this machine: the mechanisms of the sandbox."""
    if not sandbox:
        raise UsageError(
            "nothing to check was named: add --sandbox, which tries the sandbox here"
        )
    mechanisms = check_machine()
    typer.echo(as_json(mechanisms) if json_ else mechanisms_table(mechanisms))
