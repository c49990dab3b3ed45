"""The command line: llm-optimize run | resume | list | show | best | export | mcp | demo."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

import llm_optimize

from ._cli_export import export_run
from ._cli_func import load
from ._cli_mcp import serve
from ._cli_show import as_json, runs_table, trial_page, trials_table
from .errors import LlmOptimizeError, MissingKey, NotAStore, RunNotFound, StoreError, UsageError
from .records import Limits

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_DEFAULT_STORE = "sqlite:///runs.db"

app = typer.Typer(
    help="A language model proposes, your own function judges.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Store = Annotated[str, typer.Option(help="Where runs are kept: a database URL or a file.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing while it runs.")]
FuncOption = Annotated[str | None, typer.Option("--func", help="f, as FILE.py:NAME or MODULE:NAME.")]
ModelOption = Annotated[str | None, typer.Option("--model", help='A model\'s name, or "mutation" for no model.')]
BaseUrl = Annotated[str | None, typer.Option(help="Address of an OpenAI-compatible endpoint.")]
RunName = Annotated[str, typer.Argument(help="Name of the run.", metavar="NAME")]


@app.callback(invoke_without_command=True)
def front(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """A language model proposes, your own function judges."""
    if version:
        typer.echo(llm_optimize.__version__)
        raise typer.Exit


@app.command()
def run(
    func: Annotated[str, typer.Option("--func", help="f, as FILE.py:NAME or MODULE:NAME.")],
    task: Annotated[str, typer.Option(help="What is wanted, in words; @FILE reads it from a file.")],
    question: Annotated[str, typer.Option(help="What is asked at each step.")] = "What is a better x?",
    x0: Annotated[list[str] | None, typer.Option(help="The first candidate; several where given again.")] = None,
    x0_file: Annotated[list[Path] | None, typer.Option(help="A file that holds the first candidate.")] = None,
    model: ModelOption = None,
    base_url: BaseUrl = None,
    steps: Annotated[int, typer.Option(help="Candidates to propose beyond x0.")] = 10,
    workers: Annotated[int, typer.Option(help="Scorings at a time.")] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds for one scoring.")] = 600.0,
    stop_score: Annotated[float | None, typer.Option(help="End as soon as a score reaches this.")] = None,
    search: Annotated[str, typer.Option(help="What to build on: best, chat.")] = "best",
    sandbox: Annotated[str, typer.Option(help="Where f runs: process, namespace, auto, inline.")] = "process",
    readable: Annotated[list[str] | None, typer.Option(help="A file or folder that f may read; several again.")] = None,
    writable: Annotated[list[str] | None, typer.Option(help="A file or folder that f may write to.")] = None,
    network: Annotated[bool | None, typer.Option(help="Whether f may use the network.")] = None,
    store: Store = _DEFAULT_STORE,
    name: Annotated[str | None, typer.Option(help="Name of the run; one is made up.")] = None,
    seed: Annotated[int | None, typer.Option(help="Makes a run repeatable.")] = None,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search for the x with the highest f(x)."""
    started: list[str] = []
    result = _watched(
        started,
        store,
        lambda: llm_optimize.optimize.run(
            _text(task),
            question,
            load(func),
            [*(x0 or []), *map(_file_text, x0_file or [])] or None,
            steps,
            _model(model, base_url),
            not (quiet or json_),
            stop_score=stop_score,
            search=search,
            workers=workers,
            timeout_secs=timeout,
            sandbox=sandbox,
            limits=Limits(network=network, readable=tuple(readable or ()), writable=tuple(writable or ())),
            store=store,
            name=name,
            seed=seed,
            callbacks=[_remember(started)],
        ),
    )
    _end(result, as_json_=json_)


@app.command()
def resume(
    name: RunName,
    func: FuncOption = None,
    steps: Annotated[int | None, typer.Option(help="All steps of the run, those done included.")] = None,
    model: ModelOption = None,
    base_url: BaseUrl = None,
    workers: Annotated[int | None, typer.Option(help="Scorings at a time.")] = None,
    store: Store = _DEFAULT_STORE,
    json_: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped, or give it more steps."""
    settings = _stored(name, store).settings
    where = func or settings["func"]
    if where is None:
        raise UsageError(f"the run {name!r} does not know where its f is: add --func FILE.py:NAME")
    changes: dict[str, Any] = {"store": store, "verbose": not (quiet or json_)}
    if model is not None or base_url is not None:
        changes["model"] = _model(model or settings["model"], base_url or settings["base_url"])
    changes |= {"max_steps": steps} if steps is not None else {}
    changes |= {"workers": workers} if workers is not None else {}
    _end(_watched([name], store, lambda: llm_optimize.optimize.resume(name, load(where), **changes)), as_json_=json_)


@app.command(name="list")
def list_(store: Store = _DEFAULT_STORE, json_: Json = False) -> None:
    """List all runs of a store."""
    runs = _open(store).runs()
    typer.echo(as_json(runs) if json_ else runs_table(runs))


@app.command()
def show(
    name: RunName,
    number: Annotated[int | None, typer.Argument(help="A trial, to see all of it.", metavar="[TRIAL]")] = None,
    store: Store = _DEFAULT_STORE,
    json_: Json = False,
) -> None:
    """Show the trials of a run; or one trial with its diff, prompt and reply."""
    row = _stored(name, store)
    trials = sorted(row.trials(), key=lambda trial: trial.number)
    if number is None:
        typer.echo(as_json(trials) if json_ else trials_table(trials))
        return
    by_number = {trial.number: trial for trial in trials}
    if number not in by_number:
        raise UsageError(f"the run {name!r} has no finished trial {number}: it has {len(trials)}")
    trial, calls = by_number[number], row.calls(number)
    parent = by_number.get(trial.parent) if trial.parent is not None else None
    typer.echo(as_json({"trial": trial, "calls": calls}) if json_ else trial_page(trial, parent, calls))


@app.command()
def best(name: RunName, store: Store = _DEFAULT_STORE, json_: Json = False) -> None:
    """Print the best x of a run and nothing else."""
    scored = [trial for trial in _stored(name, store).trials() if trial.scored]
    if not scored:
        raise LlmOptimizeError(f"no trial of the run {name!r} has a score yet")
    found = max(scored, key=llm_optimize.records.rank)
    if json_:
        typer.echo(as_json(found))
        return
    x = llm_optimize.text.show_x(found.x if found.x is not None else "")
    text = llm_optimize.text.visible(x) if sys.stdout.isatty() else x
    typer.echo(text, nl=not text.endswith("\n"))


@app.command()
def export(
    name: RunName,
    to: Annotated[str, typer.Option(help="csv, jsonl or optuna.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new file; else text is printed.")] = None,
    store: Store = _DEFAULT_STORE,
) -> None:
    """Write the trials of a run for other tools."""
    export_run(_stored(name, store), to, output)


@app.command()
def mcp(store: Store = _DEFAULT_STORE) -> None:
    """Serve runs to coding agents by the Model Context Protocol, on standard input and output."""
    serve(store)


@app.command()
def demo(
    steps: Annotated[int, typer.Option(help="Changes to try.")] = 40,
    store: Store = _DEFAULT_STORE,
    seed: Annotated[int, typer.Option(help="Makes it repeatable.")] = 1,
) -> None:
    """Improve a scikit-learn script by random changes: no key, no network, a minute at the most."""
    started: list[str] = []
    run_it: Callable[[], Any] = lambda: llm_optimize.demo.run(steps, store, seed, [_remember(started)])  # noqa: E731
    typer.echo(llm_optimize.demo.INTRODUCTION + "\n")
    result = _watched(started, store, run_it)
    typer.echo(llm_optimize.demo.report(result))
    _end(result, as_json_=False)


# What the commands share.


def _text(words: str) -> str:
    return _file_text(Path(words[1:])) if words.startswith("@") else words


def _file_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UsageError(f"the file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"the file {path} is no UTF-8 text ({error.reason} at byte {error.start})") from error


def _model(name: str | None, base_url: str | None) -> Any:
    return name if name == "mutation" or base_url is None else llm_optimize.llm.Chat(name, base_url=base_url)


def _open(store: str) -> llm_optimize.store.Store:
    return llm_optimize.store.Store(store, create=False)


def _stored(name: str, store: str) -> llm_optimize.store.Run:
    return _open(store).run(name)


def _remember(started: list[str]) -> Callable[[Any], None]:
    """Return a watcher that writes down the name of the run."""

    def remember(event: Any) -> None:
        if isinstance(event, llm_optimize.records.RunStarted):
            started.append(event.name)

    return remember


def _watched(started: Sequence[str], store: str, work: Callable[[], Any]) -> Any:
    """Do the work; after Ctrl-C say how to go on."""
    try:
        return work()
    except KeyboardInterrupt:
        where = "" if store == _DEFAULT_STORE else f" --store {store}"
        kept = f"; go on with: llm-optimize resume {started[0]}{where}" if started else ""
        typer.echo(f"\nstopped, everything is kept{kept}", err=True)
        raise typer.Exit(INTERRUPTED) from None


def _end(result: Any, *, as_json_: bool) -> None:
    """Print a result for programs, and leave with the exit code that it stands for."""
    if as_json_:
        keys = ("name", "best_score", "best_x", "stop_reason", "usage")
        facts = {key: getattr(result, key) for key in keys}
        typer.echo(as_json({**facts, "trials": len(result.trials)}))
    if result.stop_reason.startswith("error"):
        typer.echo(result.stop_reason, err=True)
        raise typer.Exit(FAILED)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 ended with an error, 2 wrong usage, 130 interrupted."""
    logging.getLogger("llm_optimize").addHandler(logging.NullHandler())  # the commands themselves say what happened
    try:
        sys.exit(app(arguments, standalone_mode=False) or OK)
    except (UsageError, RunNotFound, NotAStore, MissingKey) as error:
        _complain(str(error), WRONG_USAGE)
    except (LlmOptimizeError, StoreError) as error:
        _complain(str(error), FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit does not complain
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        if not hasattr(error, "format_message"):  # what click raises for wrong options
            raise
        context = getattr(error, "ctx", None)
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            sys.exit(WRONG_USAGE)
        hint = f"; see {context.command_path} --help" if context else ""
        _complain(error.format_message().rstrip(".") + hint, WRONG_USAGE)


def _complain(sentence: str, code: int) -> NoReturn:
    typer.echo(f"error: {sentence}", err=True)
    sys.exit(code)


__all__ = ["app", "main"]
