"""The command `llm-optimize compare`: contenders by words, a line per run, a table at the end."""

from __future__ import annotations

import math
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import llm_optimize

from ..errors import LlmOptimizeError, UsageError
from ..store import command_line
from .common import DEFAULT_STORE, Json, Quiet, StoreOption, note_name
from .options import FOR_COMPARE, with_options
from .tables import as_json
from .values import arguments


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
                f"the contender {name!r} is given twice: rename one, as OTHER={what}"
            )
        found[name] = what
    return found


@with_options(FOR_COMPARE)
def compare(
    contender: Annotated[
        list[str],
        typer.Option(
            help="WHAT or NAME=WHAT: a search, a proposer, a gate, model:NAME, or best_of_n. "
            "Repeat it for two or more."
        ),
    ],
    budget: Annotated[int, typer.Option(help="Scorings of each run.")] = 50,
    seeds: Annotated[int, typer.Option(help="Runs of each contender.")] = 5,
    at_a_time: Annotated[int, typer.Option(help="Runs that go on at once.")] = 1,
    store: StoreOption = DEFAULT_STORE,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the comparison; an existing one is continued."),
    ] = None,
    json_: Json = False,
    quiet: Quiet = False,
    **given: Any,
) -> None:
    """Let methods compete on the same budget, and test which differences are significant."""
    contenders = contenders_of(contender)
    if len(contenders) < 2:
        (only,) = contenders
        raise UsageError(
            f"--contender {only} has nothing to compare with: give two or more, such as "
            f"--contender {only} --contender best_of_n"
        )
    names: list[str] = []
    watchers = [note_name(names)]
    if not (quiet or json_):
        watchers.append(_Progress(len(contenders) * seeds * budget))
    try:
        found = llm_optimize.optimize.compare(
            **arguments(given),
            contenders=contenders,
            budget=budget,
            seeds=seeds,
            at_a_time=at_a_time,
            store=store,
            name=name,
            callbacks=watchers,
        )
    except KeyboardInterrupt:
        _print_how_to_continue(names)
        raise
    typer.echo(as_json(found) if json_ else _summary(found, store))
    _raise_problems(found)


class _Progress:
    """Watches the runs: counts scorings, and prints a line to standard error when a run ends.

    In a terminal the count is live; elsewhere it is printed at each tenth.
    """

    def __init__(self, scorings: int) -> None:
        self._most = scorings
        self._scorings = 0
        self._is_live = sys.stderr.isatty()

    def __call__(self, event: Any) -> None:
        if isinstance(event, llm_optimize.records.TrialFinished):
            self._count(event.trial.scorings)
        elif isinstance(event, llm_optimize.records.RunEnded):
            if self._is_live:
                typer.echo("\r\033[K", err=True, nl=False)
            _print_end(event)

    def _count(self, scorings: int) -> None:
        tenth = max(1, self._most // 10)
        passed = (self._scorings + scorings) // tenth > self._scorings // tenth
        self._scorings += scorings
        words = f"{self._scorings} of {self._most} scorings"
        if self._is_live:
            typer.echo(f"\r\033[K{words}", err=True, nl=False)
        elif passed:
            typer.echo(words, err=True)


def _print_end(event: Any) -> None:
    """Watch the runs: print a line to standard error when one ends."""
    if not isinstance(event, llm_optimize.records.RunEnded):
        return
    result = event.result
    best = llm_optimize.text.show_number(result.best_score)
    count = len(result.trials)
    line = f"{result.name}: {best} after {count} trials ({result.stop_reason})"
    typer.echo(line, err=True)


def _print_how_to_continue(names: Sequence[str]) -> None:
    message = "\nstopped; everything is stored"
    if names:
        comparison = names[0].split("/")[0]  # its runs are COMPARISON/CONTENDER/SEED
        option = f"--name {shlex.quote(comparison)}"
        message += f". To continue: the same command with {option}"
    typer.echo(message, err=True)


def _summary(found: Any, store: str) -> str:
    runs = [run for standing in found.standings for run in standing.runs]
    see = command_line("show", runs[0], store=store)
    draw = command_line("report", found.name, store=store)
    return (
        f"{found}\n\n"
        f"comparison {found.name}: the runs {runs[0]} to {runs[-1]}\n"
        f"see one of them: {see}\n"
        f"draw all of them: {draw}"
    )


def _raise_problems(found: Any) -> None:
    """Raise LlmOptimizeError where runs ended early, with the first reason, or have no score."""
    problems: list[str] = []
    best: list[float] = []
    for standing in found.standings:
        problems += standing.problems
        for outcome in standing.outcomes:
            best += outcome.curve[-1:]
    if problems:
        raise LlmOptimizeError(
            f"{len(problems)} runs ended early, the first one by this {problems[0]}"
        )
    if not any(map(math.isfinite, best)):
        raise LlmOptimizeError("no trial of these runs has a score")
