"""Commands for runs as things: delete, rename, tag."""

from __future__ import annotations

import sys
from contextlib import closing
from typing import Annotated

import typer

from ..errors import UsageError
from ..store import Store
from ..text import visible
from .common import DEFAULT_STORE, RunName, StoreOption, open_store

Names = Annotated[list[str], typer.Argument(help="Names of runs.", metavar="NAME")]


def delete(
    names: Names,
    store: StoreOption = DEFAULT_STORE,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Also all runs NAME/..., those of a comparison."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Make the file smaller, too.")
    ] = False,
) -> None:
    """Delete runs with their trials, prompts and replies, for good."""
    with closing(open_store(store)) as opened:
        if not yes and not _is_meant(opened, names, all_):
            typer.echo("nothing was deleted")
            return
        count = opened.delete(*names, all_below=all_, compact=compact)
    noun = "run" if count == 1 else "runs"
    typer.echo(f"deleted {count} {noun}")


def _is_meant(store: Store, names: list[str], all_below: bool) -> bool:
    """Ask whether these runs shall be deleted. Raises UsageError where nobody can answer."""
    meant = store.meant_by(*names, all_below=all_below)
    trials = 0
    for info in store.runs():
        if info.name in meant:
            trials += info.trials
    shown = ", ".join(map(visible, meant[:5]))
    if len(meant) > 5:
        shown += f" and {len(meant) - 5} more"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{shown} would be deleted for good, with {trials} trials: add --yes"
        )
    return typer.confirm(f"Delete {shown} for good, with {trials} trials?")


def rename(
    old: Annotated[str, typer.Argument(help="Its present name.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="Its new name.", metavar="NEW")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Rename a run, or all runs of a comparison."""
    with closing(open_store(store)) as opened:
        opened.rename(old, new)
    typer.echo(f"{visible(old)} is named {visible(new)}")


def tag(
    name: RunName,
    words: Annotated[list[str], typer.Argument(help="Tags.", metavar="WORD")],
    remove: Annotated[
        bool, typer.Option("--remove", help="Take these tags away.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Add tags to a run or take them away; `list --tag WORD` shows the runs that have one."""
    with closing(open_store(store)) as opened:
        tags = opened.tag(name, *words, remove=remove)
    shown = " ".join(tags) or "no tags"
    typer.echo(f"{visible(name)}: {shown}")
