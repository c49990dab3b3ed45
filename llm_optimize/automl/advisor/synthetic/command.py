"""The command `ridge-exp`: its options, and what it does with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....blocking import wait_for
from ....errors import ModelError, UsageError
from ....llm import Chat, Model
from ....records import Budget
from ..flags import at_least, made_folder
from ..ledger import Ledger
from ..options import BASELINES, BESIDE, RidgeOptions
from .experiment import (
    Asked,
    Counts,
    Repetition,
    Row,
    Setup,
    asked_rows,
    file_stem,
    predicted_rows,
    repetitions,
    write_csv,
)
from .grid import k_grid
from .predictors import predictors_of
from .summary import check_picture, plot, table

_COMPAT_TOKENS = 5  # of an answer, in the published program


@dataclass(frozen=True)
class Findings:
    """What the experiment found.

    Args:
        rows: of each method by its name, the baselines included.
        files: the CSV files that were written.
        table: the summary, to print.
        problem: what is missing, a sentence; empty where nothing is.
    """

    rows: dict[str, list[Row]]
    files: list[Path]
    table: str
    problem: str


def run(options: RidgeOptions) -> Findings:
    """Run the experiment and write its files.

    Raises:
        UsageError: an option is wrong; its subclass MissingExtra names a package that is missing.
        ModelError: the model did not answer, or its budget is spent. Its answers are stored: the
            same call goes on.
    """
    at_least("--workers", options.workers, 1)
    setup = Setup(
        options.rep, k_grid(options.k_grid), options.dim, options.seed, options.compat
    )
    if options.plot is not None:
        check_picture(Path(options.plot))
    names = [word.strip() for word in options.model.split(",") if word.strip()]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"--model is {options.model!r}: name each model once")
    folder = made_folder("--log-dir", options.log_dir)
    asked = [name for name in names if name not in BASELINES]
    chats = {name: _asked(options, name) for name in asked}
    counts = Counts()
    rows: dict[str, list[Row]] = {name: [] for name in (*names, *BESIDE)}
    known = [name for name in rows if name in BASELINES]
    predictors = predictors_of(known, str(setup.seed), setup.dim, compat=setup.compat)
    for name, row in predicted_rows(setup, repetitions(setup, counts), predictors):
        rows[name].append(row)
    files = []
    for name in names:
        temperature = options.temperature if name in chats else None
        stem = file_stem(name, options.rep, temperature)
        if name in chats:
            reps = repetitions(setup, Counts())
            path = folder / f"{stem}.jsonl"
            rows[name] = _ask(setup, reps, chats[name], path, counts)
        path = folder / f"{stem}.csv"
        write_csv(path, rows[name])
        files.append(path)
    if options.plot is not None:
        plot(rows, Path(options.plot))
    return Findings(rows, files, _text(rows, counts), _problem(rows, setup))


def _asked(options: RidgeOptions, name: str) -> Asked:
    model: Model = Chat(
        name,
        base_url=options.base_url,
        api_key=options.api_key,
        temperature=options.temperature,
        max_tokens=_COMPAT_TOKENS if options.compat else None,
    )
    budget = Budget(calls=options.max_calls, usd=options.max_usd)
    if isinstance(model, Chat):
        model.check()
        if budget.usd is not None and model.price is None:
            raise UsageError(
                f"--max-usd is {budget.usd:g}, but the price of {name!r} is unknown: "
                "give --max-calls"
            )
    return Asked(model, name, options.temperature, options.workers, budget)


def _ask(
    setup: Setup,
    reps: Iterator[Repetition],
    asked: Asked,
    path: Path,
    counts: Counts,
) -> list[Row]:
    with Ledger(path) as ledger:
        try:
            return wait_for(asked_rows(setup, reps, asked, ledger, counts))
        except ModelError as error:
            message = f"{error}; the answers so far are in {path}, and the same command goes on"
            raise type(error)(message) from error


def _text(
    rows: dict[str, list[Row]],
    counts: Counts,
) -> str:
    sentences = [table({name: found for name, found in rows.items() if found})]
    if counts.redrawn:
        sentences.append(
            f"{counts.redrawn} tasks were drawn again: their error cannot be computed"
        )
    if counts.moved:
        sentences.append(
            f"{counts.moved} answers were no value of the grid, and count as the nearest"
        )
    if counts.usage.calls:
        usage = counts.usage
        sentences.append(f"{usage.calls} model calls, {usage.tokens} tokens")
    return "\n".join(sentences)


def _problem(
    rows: dict[str, list[Row]],
    setup: Setup,
) -> str:
    expected = setup.reps * len(setup.ks)
    missing = {name: expected - len(found) for name, found in rows.items()}
    incomplete = [f"{name} {count}" for name, count in missing.items() if count]
    if not incomplete:
        return ""
    return (
        f"predictions are missing, since three answers in a row held no number: "
        f"{', '.join(incomplete)} of {expected}"
    )
