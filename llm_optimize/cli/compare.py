"""The command `compare`: words to contenders, a line a run while it goes on, a table at the end."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import llm_optimize

from ..errors import LlmOptimizeError, UsageError
from .common import DEFAULT_STORE, Json, Quiet, StoreOption, remember
from .options import FOR_COMPARE, arguments, taking
from .tables import as_json


def contenders_of(words: Sequence[str]) -> dict[str, str]:
    """Return the contenders by name; a word is NAME=WHAT, or stands for itself.

    Raises UsageError for a name that is given twice, or that cannot be a part of a run's name.

    >>> contenders_of(["best", "gate=adaptive(model, mutation, window=4)", "big=model:gpt-5"])
    {'best': 'best', 'gate': 'adaptive(model, mutation, window=4)', 'big': 'model:gpt-5'}
    """
    found: dict[str, str] = {}
    for word in words:
        named = re.fullmatch(r"([\w.-]+)=(.+)", word)
        name, what = named.groups() if named else (word, word)
        if name in found:
            raise UsageError(
                f"the contender {name!r} is given twice: name one of them, OTHER={what}"
            )
        found[name] = what
    return found


@taking(FOR_COMPARE)
def compare(
    contender: Annotated[
        list[str],
        typer.Option(
            help="WHAT or NAME=WHAT: a search, a proposer, a gate, model:NAME, best_of_n; two or more."
        ),
    ],
    budget: Annotated[int, typer.Option(help="Scorings of each run.")] = 50,
    seeds: Annotated[int, typer.Option(help="Runs of each contender.")] = 5,
    at_a_time: Annotated[int, typer.Option(help="Runs that go on at once.")] = 1,
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the comparison; one that exists goes on."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Let searches, proposers and models compete with the same budget, and say what differs beyond noise."""
    of_comparison: dict[str, Any] = {
        "budget": budget,
        "seeds": seeds,
        "at_a_time": at_a_time,
        "store": store,
        "name": name,
    }
    _compare(
        contender, not (quiet or json_), json_, {**arguments(given), **of_comparison}
    )


def _compare(
    words: Sequence[str], progress: bool, as_json_: bool, options: dict[str, Any]
) -> None:
    """Compare, and print what was found. Raises LlmOptimizeError when a run ended before its time."""
    started: list[str] = []
    watchers = [remember(started), *([_say] if progress else [])]
    try:
        found = llm_optimize.optimize.compare(
            **options, contenders=contenders_of(words), callbacks=watchers
        )
    except KeyboardInterrupt:
        name = started[0].split("/")[0] if started else ""
        kept = (
            f"; the same command with --name {shlex.quote(name)} goes on"
            if name
            else ""
        )
        typer.echo(f"\nstopped, everything is kept{kept}", err=True)
        raise
    typer.echo(
        as_json(found)
        if as_json_
        else f"{found}\n\ncomparison {found.name}: {_runs(found, options['store'])}"
    )
    problems = [
        problem for standing in found.standings for problem in standing.problems
    ]
    if problems:
        raise LlmOptimizeError(
            f"{len(problems)} runs ended before their time, one of them by this {problems[0]}"
        )


def _runs(found: Any, store: str) -> str:
    runs = [run for standing in found.standings for run in standing.runs]
    where = llm_optimize.store.option_of(store)
    draw = f"llm-optimize report {shlex.quote(found.name)}{where}"
    return f"the runs {runs[0]} to {runs[-1]}, which `llm-optimize show` shows, and `{draw}` draws"


def _say(event: Any) -> None:
    if isinstance(event, llm_optimize.records.RunEnded):
        result = event.result
        best = llm_optimize.text.show_number(result.best_score)
        typer.echo(
            f"{result.name}: {best} after {len(result.trials)} trials ({result.stop_reason})",
            err=True,
        )
