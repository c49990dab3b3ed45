"""The commands that work: run, resume, fork, replay, steer."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

import llm_optimize

from ._cli_common import (
    DEFAULT_STORE,
    Json,
    Quiet,
    RunName,
    StoreOption,
    end,
    file_text,
    open_store,
    remember,
    stored_run,
    text_of,
    watched,
)
from ._cli_func import load
from .errors import UsageError
from .records import Budget, Limits

FuncOption = Annotated[
    list[str] | None, typer.Option("--func", help="f, as FILE.py:NAME or MODULE:NAME; several are stages.")
]
ModelOption = Annotated[
    list[str] | None, typer.Option("--model", help='A model\'s name, or "mutation" for no model; several again.')
]
BaseUrl = Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible endpoint.")]
PriceOption = Annotated[
    str | None, typer.Option(help="Dollars per million tokens of prompt and of reply, such as 0.25/2.")
]
FuncsOption = Annotated[
    list[str], typer.Option("--func", help="f, as FILE.py:NAME or MODULE:NAME; several are stages.")
]
X0Option = Annotated[
    list[str] | None, typer.Option("--x0", help="The first candidate, or a folder of files; several again.")
]
X0FileOption = Annotated[list[Path] | None, typer.Option("--x0-file", help="A file that holds the first candidate.")]


def run(
    func: FuncsOption,
    task: Annotated[str, typer.Option(help="What is wanted, in words; @FILE reads it from a file.")],
    question: Annotated[str, typer.Option(help="What is asked at each step.")] = "What is a better x?",
    x0: X0Option = None,
    x0_file: X0FileOption = None,
    space: Annotated[
        Path | None, typer.Option(help="A JSON file with typed parameters; x is then a set of values.")
    ] = None,
    model: ModelOption = None,
    base_url: BaseUrl = None,
    price: PriceOption = None,
    steps: Annotated[int, typer.Option(help="Candidates to propose beyond x0.")] = 10,
    workers: Annotated[int, typer.Option(help="Scorings at a time.")] = 1,
    model_slots: Annotated[int | None, typer.Option(help="Candidates that are being written at a time.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one scoring.")] = 600.0,
    stop_score: Annotated[float | None, typer.Option(help="End as soon as a score reaches this.")] = None,
    max_score: Annotated[float | None, typer.Option(help="No honest score is above this.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Dollars to spend at the most.")] = None,
    max_calls: Annotated[int | None, typer.Option(help="Model calls at the most.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Tokens at the most.")] = None,
    max_seconds: Annotated[float | None, typer.Option(help="Wall clock at the most.")] = None,
    stale_steps: Annotated[int | None, typer.Option(help="End after so many steps without a new best.")] = None,
    search: Annotated[str, typer.Option(help="What to build on: best, chat, tree, islands, pareto.")] = "best",
    proposer: Annotated[str | None, typer.Option(help="Who writes the next x, if not the model.")] = None,
    repeats: Annotated[int | None, typer.Option(help="For a noisy f: how often a champion is scored.")] = None,
    reflect: Annotated[bool, typer.Option(help="Ask for a lesson after trials that were no better.")] = False,
    tune: Annotated[int, typer.Option(help="Scorings that may tune the knobs of a new champion.")] = 0,
    func_version: Annotated[str | None, typer.Option(help="Share scores with runs of the same version of f.")] = None,
    sandbox: Annotated[str, typer.Option(help="Where f runs: process, namespace, auto, inline.")] = "process",
    readable: Annotated[list[str] | None, typer.Option(help="A file or folder that f may read; several again.")] = None,
    writable: Annotated[list[str] | None, typer.Option(help="A file or folder that f may write to.")] = None,
    network: Annotated[bool | None, typer.Option(help="Whether f may use the network.")] = None,
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[str | None, typer.Option(help="Name of the run; one is made up.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeatable.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for the x with the highest f(x)."""
    started: list[str] = []
    result = watched(
        started,
        store,
        lambda: llm_optimize.optimize.run(
            text_of(task),
            question,
            functions_of(func),
            [*map(first_x, x0 or []), *map(file_text, x0_file or [])] or None,
            steps,
            model_of(model, base_url, price),
            not (quiet or json_),
            stop_score=stop_score,
            search=search,
            proposer=proposer,
            space=_space(space),
            workers=workers,
            timeout_secs=timeout,
            sandbox=sandbox,
            limits=Limits(network=network, readable=tuple(readable or ()), writable=tuple(writable or ())),
            budget=Budget(None, max_seconds, max_calls, max_tokens, max_usd, stale_steps),
            store=store,
            name=name,
            seed=seed,
            callbacks=[remember(started)],
            repeats=repeats,
            max_score=max_score,
            func_version=func_version,
            model_slots=model_slots,
            reflect=reflect,
            tune=tune,
        ),
    )
    end(result, as_json_=json_)


def resume(
    name: RunName,
    func: FuncOption = None,
    steps: Annotated[int | None, typer.Option(help="All steps of the run, those done included.")] = None,
    model: ModelOption = None,
    base_url: BaseUrl = None,
    price: PriceOption = None,
    workers: Annotated[int | None, typer.Option(help="Scorings at a time.")] = None,
    max_usd: Annotated[float | None, typer.Option(help="Dollars to spend at the most, all sessions together.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped, or give it more steps."""
    settings = stored_run(name, store).settings
    changes = _changes(store, steps, workers, json_ or quiet)
    if model or base_url is not None or price is not None:
        changes["model"] = model_of(model or [settings["model"]], base_url or settings["base_url"], price)
    if max_usd is not None:
        changes["budget"] = Budget(**{**settings["budget"], "usd": max_usd})
    go_on: Callable[[], Any] = lambda: llm_optimize.optimize.resume(name, _stored_func(name, func, settings), **changes)  # noqa: E731
    end(watched([name], store, go_on), as_json_=json_)


def fork(
    name: RunName,
    trial: Annotated[int, typer.Argument(help="The last trial that comes along.", metavar="TRIAL")],
    new_name: Annotated[str | None, typer.Option("--name", help="Name of the new run; one is made up.")] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Begin a run with the first trials of another; nothing is paid or scored again."""
    new = llm_optimize.optimize.fork(name, trial, new_name=new_name, store=store)
    go_on = f"llm-optimize resume {shlex.quote(new)}{llm_optimize.store.option_of(store)}"
    typer.echo(f"{new} begins with the trials of {name} up to {trial}; go on with: {go_on}")


def steer(
    name: RunName,
    kind: Annotated[str, typer.Argument(help="stop, pause, go, or hint.", metavar="WHAT")],
    text: Annotated[str, typer.Argument(help="Of a hint: a sentence for the model.", metavar="[TEXT]")] = "",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Stop or pause a run that goes on elsewhere, or give its model a hint."""
    open_store(store).steer(name, kind, text)
    typer.echo(f"the run {name} will {kind}" if kind != "hint" else f"the next prompt of {name} holds the hint")


def replay(
    name: RunName,
    func: FuncOption = None,
    steps: Annotated[int | None, typer.Option(help="All steps of the run.")] = None,
    workers: Annotated[int | None, typer.Option(help="Scorings at a time.")] = None,
    new_name: Annotated[str | None, typer.Option("--name", help="Name of the replay; one is made up.")] = None,
    store: StoreOption = DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Live through a run again with its own replies, for no money; --func names another f to judge them."""
    where = _stored_func(name, func, stored_run(name, store).settings)
    changes = _changes(store, steps, workers, json_ or quiet)
    started: list[str] = []
    changes["callbacks"] = [remember(started)]
    again: Callable[[], Any] = lambda: llm_optimize.optimize.replay(name, where, new_name=new_name, **changes)  # noqa: E731
    end(watched(started, store, again), as_json_=json_)


def _changes(store: str, steps: int | None, workers: int | None, silent: bool) -> dict[str, Any]:
    given = {"max_steps": steps, "workers": workers}
    return {"store": store, "verbose": not silent, **{key: value for key, value in given.items() if value is not None}}


def functions_of(where: list[str]) -> Any:
    """Return f, or its stages."""
    return load(where[0]) if len(where) == 1 else [load(one) for one in where]


def _stored_func(name: str, given: list[str] | None, settings: Any) -> Any:
    where = given or ([settings["func"]] if settings["func"] else [])
    if not where:
        raise UsageError(f"the run {name!r} does not know where its f is: add --func FILE.py:NAME")
    return functions_of(where)


def first_x(given: str) -> Any:
    """Return a text, or the files of a folder by their names. Raises UsageError for a folder without any text."""
    folder = Path(given) if "\n" not in given and len(given) < 1000 else None
    if folder is None or not folder.is_dir():
        return given
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path.relative_to(folder)))
    if not files:
        raise UsageError(f"the folder {folder} of --x0 holds no file")
    return {path.relative_to(folder).as_posix(): file_text(path) for path in files}


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _space(path: Path | None) -> Any:
    if path is None:
        return None
    try:
        return json.loads(file_text(path))
    except ValueError as error:
        raise UsageError(f"the file {path} of --space is no JSON: {error}") from error


def model_of(names: list[str] | None, base_url: str | None, price: str | None) -> Any:
    """Return what optimize.run takes for a model: nothing, a name, or chats."""
    wanted: list[str | None] = [*names] if names else [None]
    if names == ["mutation"] or (base_url is None and price is None):
        chosen: list[Any] = wanted
    else:
        chosen = [llm_optimize.llm.Chat(name, base_url=base_url, price=_price(price)) for name in wanted]
    return chosen if len(chosen) > 1 else chosen[0]


def _price(text: str | None) -> llm_optimize.llm.Price | None:
    if text is None:
        return None
    prompt, _, reply = text.partition("/")
    try:
        return llm_optimize.llm.Price(float(prompt), float(reply))
    except ValueError as error:
        raise UsageError(
            f"--price is {text!r}: write dollars per million tokens of prompt and of reply, as 0.25/2"
        ) from error
