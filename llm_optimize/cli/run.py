"""Commands that start or change runs: run, resume, fork, replay, steer, demo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

import llm_optimize

from ..store import command_line
from ..task_file import read as read_task
from .common import (
    DEFAULT_STORE,
    FuncChanged,
    Json,
    Quiet,
    RunName,
    Shown,
    StoreOption,
    note_name,
    open_store,
    resume_command,
    stored_run,
    until_interrupted,
)
from .options import FOR_REPLAY, FOR_RESUME, FOR_RUN, with_options
from .tables import as_json
from .values import arguments, changes

TaskArgument = Annotated[
    Path | None,
    typer.Argument(
        help="A file with the options, which flags override; llm-optimize init writes one.",
        metavar="TASK.toml",
    ),
]


@with_options(FOR_RUN)
def run(
    task_file: TaskArgument = None,
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; one is made up if not given.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the run of this --name if it exists."
        ),
    ] = False,
    func_changed: FuncChanged = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the first prompt and what the run may cost; send nothing.",
        ),
    ] = False,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Search for the x with the highest f(x), or with --direction minimize the lowest."""
    shown = Shown(json_, quiet)
    names: list[str] = []
    file = None if task_file is None else read_task(task_file)

    if dry_run:
        planned = llm_optimize.optimize.dry_run(**arguments(given, file))
        typer.echo(as_json(asdict(planned)) if json_ else str(planned))
        return

    def work() -> Any:
        return llm_optimize.optimize.run(
            **arguments(given, file),
            store=store,
            name=name,
            load_if_exists=resume,
            func_changed=func_changed,
            verbose=shown.verbose,
            callbacks=[note_name(names)],
        )

    shown.finish(until_interrupted(work, names, store, shown))


@with_options(FOR_RESUME, changing=True)
def resume(
    name: RunName,
    store: StoreOption = DEFAULT_STORE,
    func_changed: FuncChanged = "",
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Continue a run that was stopped, or add steps to it; other options stay as they were."""
    shown = Shown(json_, quiet)
    stored = stored_run(name, store).settings

    def work() -> Any:
        changed = changes(given, stored)
        return llm_optimize.optimize.resume(
            name,
            store=store,
            verbose=shown.verbose,
            func_changed=func_changed,
            **changed,
        )

    shown.finish(until_interrupted(work, [name], store, shown))


def fork(
    name: RunName,
    trial: Annotated[
        int, typer.Argument(help="The last trial to copy.", metavar="TRIAL")
    ],
    new_name: Annotated[
        str | None,
        typer.Option(
            "--name", help="Name of the new run; one is made up if not given."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Create a run from the first trials of another; nothing is paid for or scored again."""
    new = llm_optimize.optimize.fork(name, trial, new_name=new_name, store=store)
    command = resume_command(new, store)
    typer.echo(f"{new} has the trials of {name} up to {trial}. To continue: {command}")


def steer(
    name: RunName,
    kind: Annotated[
        str, typer.Argument(help="stop, pause, go, or hint.", metavar="WHAT")
    ],
    text: Annotated[
        str,
        typer.Argument(help="With hint: a sentence for the model.", metavar="TEXT"),
    ] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Stop, pause or continue a run from another terminal, or give its model a hint."""
    open_store(store).steer(name, kind, text)
    go = command_line("steer", name, "go", store=store)
    effects = {
        "stop": f"run {name}: it stops after the trials in flight",
        "pause": f"run {name}: it pauses; to continue: {go}",
        "go": f"run {name}: it continues",
        "hint": f"run {name}: the next prompt has the hint",
    }
    typer.echo(effects[kind])


@with_options(FOR_REPLAY, changing=True)
def replay(
    name: RunName,
    new_name: Annotated[
        str | None,
        typer.Option("--name", help="Name of the replay; one is made up if not given."),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Repeat a run from its stored replies, at no cost; --func scores them by another f."""
    shown = Shown(json_, quiet)
    stored = stored_run(name, store).settings
    names: list[str] = []

    def work() -> Any:
        changed = changes(given, stored)
        return llm_optimize.optimize.replay(
            name,
            new_name=new_name,
            store=store,
            verbose=shown.verbose,
            callbacks=[note_name(names)],
            **changed,
        )

    shown.finish(until_interrupted(work, names, store, shown))


def demo(
    steps: Annotated[int, typer.Option(help="How many changes to try.")] = 40,
    store: StoreOption = DEFAULT_STORE,
    seed: Annotated[int, typer.Option(help="Makes the demo repeatable.")] = 1,
) -> None:
    """Improve a scikit-learn script by random changes: no key, no network, under a minute."""
    names: list[str] = []

    def work() -> Any:
        return llm_optimize.demo.run(steps, store, seed, [note_name(names)])

    typer.echo(llm_optimize.demo.INTRODUCTION + "\n")
    shown = Shown(as_json=False, quiet=False)
    result = until_interrupted(work, names, store, shown)
    typer.echo(llm_optimize.demo.report(result, store))
    shown.finish(result)
