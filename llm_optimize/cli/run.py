"""The commands that work: run, resume, fork, replay, steer."""

from __future__ import annotations

import shlex
from typing import Annotated, Any

import typer

import llm_optimize

from .common import (
    DEFAULT_STORE,
    Json,
    Quiet,
    RunName,
    StoreOption,
    end,
    open_store,
    remember,
    stored_run,
    watched,
)
from .options import FOR_REPLAY, FOR_RESUME, FOR_RUN, arguments, changes, taking


@taking(FOR_RUN)
def run(
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; one is made up.")
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Search for the x with the highest f(x)."""
    started: list[str] = []

    def work() -> Any:
        of_call: dict[str, Any] = {
            "store": store,
            "name": name,
            "verbose": not (quiet or json_),
            "callbacks": [remember(started)],
        }
        return llm_optimize.optimize.run(**arguments(given), **of_call)

    end(watched(started, store, work), as_json_=json_)


@taking(FOR_RESUME, changing=True)
def resume(
    name: RunName,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Go on with a run that was stopped, or give it more steps; what is not given stays as it was."""
    changed = changes(given, stored_run(name, store).settings)

    def work() -> Any:
        return llm_optimize.optimize.resume(
            name, store=store, verbose=not (quiet or json_), **changed
        )

    end(watched([name], store, work), as_json_=json_)


def fork(
    name: RunName,
    trial: Annotated[
        int, typer.Argument(help="The last trial that comes along.", metavar="TRIAL")
    ],
    new_name: Annotated[
        str | None, typer.Option("--name", help="Name of the new run; one is made up.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Begin a run with the first trials of another; nothing is paid or scored again."""
    new = llm_optimize.optimize.fork(name, trial, new_name=new_name, store=store)
    go_on = (
        f"llm-optimize resume {shlex.quote(new)}{llm_optimize.store.option_of(store)}"
    )
    typer.echo(
        f"{new} begins with the trials of {name} up to {trial}; go on with: {go_on}"
    )


def steer(
    name: RunName,
    kind: Annotated[
        str, typer.Argument(help="stop, pause, go, or hint.", metavar="WHAT")
    ],
    text: Annotated[
        str,
        typer.Argument(help="Of a hint: a sentence for the model.", metavar="[TEXT]"),
    ] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Stop or pause a run that goes on elsewhere, or give its model a hint."""
    open_store(store).steer(name, kind, text)
    typer.echo(
        f"the run {name} will {kind}"
        if kind != "hint"
        else f"the next prompt of {name} holds the hint"
    )


@taking(FOR_REPLAY, changing=True)
def replay(
    name: RunName,
    new_name: Annotated[
        str | None, typer.Option("--name", help="Name of the replay; one is made up.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Live through a run again with its own replies, for no money; --func names another f to judge them."""
    changed = changes(given, stored_run(name, store).settings)
    started: list[str] = []

    def work() -> Any:
        of_call: dict[str, Any] = {
            "store": store,
            "verbose": not (quiet or json_),
            "callbacks": [remember(started)],
        }
        return llm_optimize.optimize.replay(
            name, new_name=new_name, **of_call, **changed
        )

    end(watched(started, store, work), as_json_=json_)
