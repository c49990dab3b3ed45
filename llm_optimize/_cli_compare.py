"""The command `compare`: words to contenders, a line a run while it goes on, a table at the end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer

import llm_optimize

from ._cli_show import as_json
from .errors import LlmOptimizeError, UsageError


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
            raise UsageError(f"the contender {name!r} is given twice: name one of them, OTHER={what}")
        found[name] = what
    return found


def compare(words: Sequence[str], progress: bool, as_json_: bool, options: dict[str, Any]) -> None:
    """Compare, and print what was found. Raises LlmOptimizeError when a run ended before its time."""
    started: list[str] = []
    watchers = [_remember(started), *([_say] if progress else [])]
    try:
        found = llm_optimize.optimize.compare(**options, contenders=contenders_of(words), callbacks=watchers)
    except KeyboardInterrupt:
        name = started[0].split("/")[0] if started else ""
        kept = f"; the same command with --name {name} goes on" if name else ""
        typer.echo(f"\nstopped, everything is kept{kept}", err=True)
        raise
    typer.echo(as_json(found) if as_json_ else f"{found}\n\ncomparison {found.name}: {_runs(found)}")
    problems = [problem for standing in found.standings for problem in standing.problems]
    if problems:
        raise LlmOptimizeError(f"{len(problems)} runs ended before their time, one of them by this {problems[0]}")


def _runs(found: Any) -> str:
    runs = [run for standing in found.standings for run in standing.runs]
    return f"the runs {runs[0]} to {runs[-1]}, which `llm-optimize show` shows"


def _remember(started: list[str]) -> Any:
    """Return a watcher that writes down the names of the runs."""

    def remember(event: Any) -> None:
        if isinstance(event, llm_optimize.records.RunStarted):
            started.append(event.name)

    return remember


def _say(event: Any) -> None:
    if isinstance(event, llm_optimize.records.RunEnded):
        result = event.result
        best = llm_optimize.text.show_number(result.best_score)
        typer.echo(f"{result.name}: {best} after {len(result.trials)} trials ({result.stop_reason})", err=True)
