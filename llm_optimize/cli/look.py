"""Commands that show what is stored: the runs of a store, the trials of a run, its best x."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..errors import LlmOptimizeError
from ..watch.overview import Overview, tagged
from ..watch.run_view import stored_view
from .common import (
    DEFAULT_STORE,
    Force,
    Json,
    RunName,
    StoreOption,
    open_store,
    stored_run,
)
from .files import print_x, write_x
from .listing import columns_here, head_of, runs_table
from .tables import as_json, spending, trial_page, trials_table


def list_runs(
    store: StoreOption = DEFAULT_STORE,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", help="Only runs with this tag; repeat it for several."),
    ] = None,
    json_: Json = False,
) -> None:
    """List the runs of a store: state, best score, progress, and the time left."""
    with closing(open_store(store)) as opened:
        runs = tagged(Overview(opened).runs(), tag or ())
    if json_:
        typer.echo(as_json([run.facts() for run in runs]))
    else:
        typer.echo(runs_table(runs, columns_here()))


def show(
    name: RunName,
    number: Annotated[
        int | None,
        typer.Argument(help="Number of a trial, to see all of it.", metavar="TRIAL"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
) -> None:
    """Show the trials of a run, or one trial with its diff, prompt and reply."""
    if number is None:
        _show_run(name, store, json_)
    else:
        _show_trial(name, number, store, json_)


def _show_run(name: str, store: str, print_json: bool) -> None:
    run = stored_run(name, store)
    view, finished = stored_view(run)
    trials = sorted(finished, key=lambda trial: trial.number)
    if print_json:
        typer.echo(as_json(trials))
        return
    listed = Overview(run.store).run(name)
    typer.echo(head_of(listed, view, trials) + "\n")
    typer.echo(trials_table(trials, view.champion))
    used = spending(view, run.uncertain_calls())
    if used:
        typer.echo(f"\n{used}")


def _show_trial(name: str, number: int, store: str, print_json: bool) -> None:
    run = stored_run(name, store)
    trial = run.trial(number)
    calls = run.calls(number)
    if print_json:
        typer.echo(as_json({"trial": trial, "calls": calls}))
        return
    parent = None if trial.parent is None else run.find(trial.parent)
    typer.echo(trial_page(trial, parent, calls))


def best(
    name: RunName,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File or folder to write it to; else it is printed."
        ),
    ] = None,
    force: Force = False,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
) -> None:
    """Print the best x of a run and nothing else."""
    champion = stored_view(stored_run(name, store))[0].champion
    if champion is None:
        raise LlmOptimizeError(f"no trial of the run {name!r} has a score yet")
    if json_:
        typer.echo(as_json(champion))
    elif output is not None:
        write_x(champion.x, output, replace=force)
    else:
        print_x(champion.x)
