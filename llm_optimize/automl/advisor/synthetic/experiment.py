"""The ridge experiment: repetitions of tasks, and what each predictor chooses in them.

Repetition r has one target and a list of solved tasks, of which k are shown: the first k. They
depend on the seed, the dimension and r alone, so that all predictors and all k meet the same tasks.
What was paid for, the replies of a model, is kept; all else is computed again from the seed.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from ....errors import BudgetSpent, LlmOptimizeError, UsageError
from ....llm import Model
from ....records import Budget, Message, Usage
from ....watch.atomic import atomic_path
from ..asking import Asker
from ..ledger import Ledger
from .closed_form import solve
from .grid import position
from .predictors import Predictor
from .prompts import messages_of, read_penalty
from .tasks import Solved, draw_many

_PER_REPETITION = 1_000_000  # numbers of tasks that one repetition may use
_REDRAWS = 50  # of a task whose error cannot be computed
_CHUNK = 20_000  # tasks in memory
_TIMES_ASKED = 3  # that one prompt is sent, until an answer holds a number
COLUMNS = ("k", "lambda_pred", "best_lambda", "regret", "is_correct", "grid_dist")


@dataclass(frozen=True)
class Setup:
    """What is the same for all predictors.

    Args:
        reps: repetitions.
        ks: how many solved tasks are shown.
        dim: of a sample.
        seed: of the tasks.
        compat: repeat the published program: its formula, its distances and its parser.
    """

    reps: int
    ks: tuple[int, ...]
    dim: int
    seed: int
    compat: bool = False

    def __post_init__(self) -> None:
        for flag, value in (("--rep", self.reps), ("--dim", self.dim)):
            if value < 1:
                raise UsageError(f"{flag} is {value}: give 1 or more")


@dataclass(frozen=True)
class Repetition:
    """The tasks of one repetition."""

    number: int
    target: Solved
    context: tuple[Solved, ...]  # of the largest k


@dataclass(frozen=True)
class Row:
    """What a predictor chose for one repetition and one k."""

    rep: int
    k: int
    lambda_pred: float
    best_lambda: float
    regret: float  # error of the chosen penalty, less that of the best
    grid_dist: int

    @property
    def is_correct(self) -> int:
        """1 where the best penalty was chosen, else 0."""
        return int(self.grid_dist == 0)


@dataclass
class Counts:
    """What happened on the way.

    Args:
        redrawn: tasks whose error could not be computed, and that were replaced.
        moved: answers of the model that were in the grid only after rounding.
        unreadable: predictions that are missing, since no answer of the model held a number.
        usage: of the model calls of this session.
    """

    redrawn: int = 0
    moved: int = 0
    unreadable: int = 0
    usage: Usage = field(default_factory=Usage)


def repetitions(setup: Setup, counts: Counts) -> Iterator[Repetition]:
    """Yield the repetitions; a few at a time are in memory."""
    width = max(setup.ks) + 1
    size = max(1, _CHUNK // width)
    for start in range(0, setup.reps, size):
        stop = min(start + size, setup.reps)
        reps = range(start, stop)
        numbers: list[int] = []
        for rep in reps:
            first = rep * _PER_REPETITION
            numbers += range(first, first + width)
        solved = _solved(setup, numbers, counts)
        for place, rep in enumerate(reps):
            target, *context = solved[place * width : (place + 1) * width]
            yield Repetition(rep, target, tuple(context))


def _solved(
    setup: Setup,
    numbers: Sequence[int],
    counts: Counts,
) -> list[Solved]:
    """Return the solved tasks of these numbers; one without a finite error is drawn again."""
    stream = str(setup.seed)
    tasks = draw_many(stream, setup.dim, numbers)
    solved = solve(tasks, compat=setup.compat)
    for attempt in range(1, _REDRAWS):
        bad = [at for at, one in enumerate(solved) if math.isinf(max(one.errors))]
        if not bad:
            return solved
        counts.redrawn += len(bad)
        again = [numbers[at] for at in bad]
        other = f"{stream}/again {attempt}"
        tasks = draw_many(other, setup.dim, again)
        for at, one in zip(bad, solve(tasks, compat=setup.compat), strict=True):
            solved[at] = one
    raise LlmOptimizeError(
        f"the error of tasks of dimension {setup.dim} cannot be computed: choose a smaller --dim"
    )


def row_of(rep: Repetition, k: int, penalty: float) -> Row:
    """Return what choosing a penalty means for a repetition."""
    errors = rep.target.errors
    chosen = position(penalty)
    best = position(rep.target.best)
    regret = errors[chosen] - errors[best]
    return Row(rep.number, k, penalty, rep.target.best, regret, abs(chosen - best))


def predicted_rows(
    setup: Setup,
    reps: Iterable[Repetition],
    predictors: Mapping[str, Predictor],
) -> Iterator[tuple[str, Row]]:
    """Yield the rows of each baseline by its name, one repetition after the other."""
    for rep in reps:
        for k in setup.ks:
            for name, predict in predictors.items():
                rng = Random(f"{setup.seed}/{name}/{rep.number}/{k}")
                known = rep.context[:k]
                penalty = predict(known, rep.target, rng)
                yield name, row_of(rep, k, penalty)


@dataclass(frozen=True)
class Asked:
    """A model that predicts, and how it is asked.

    Args:
        model: who answers.
        name: of the model, as it was given.
        temperature: as it was given; a part of what tells calls apart.
        workers: calls at a time.
        budget: of this session.
    """

    model: Model
    name: str
    temperature: float
    workers: int
    budget: Budget


async def asked_rows(
    setup: Setup,
    reps: Iterator[Repetition],
    asked: Asked,
    ledger: Ledger,
    counts: Counts,
) -> list[Row]:
    """Return the rows of a model, one for each repetition and k whose answer holds a number.

    The answers are stored as they come; what the ledger has is not asked again.

    Raises what `Asker.ask` raises; what was answered until then is stored.
    """
    asker = Asker(asked.model, ledger, asked.budget)
    rows: list[Row] = []
    jobs = ((rep, k) for rep in reps for k in setup.ks)

    async def work() -> None:
        for rep, k in jobs:
            row = await _asked_row(setup, asked, asker, rep, k, counts)
            if row is None:
                counts.unreadable += 1
            else:
                rows.append(row)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(asked.workers):
                group.create_task(work())
    except* LlmOptimizeError as errors:
        raise _first(errors) from None
    finally:
        counts.usage = asker.usage
        await asked.model.aclose()
    return sorted(rows, key=lambda row: (row.rep, setup.ks.index(row.k)))


async def _asked_row(
    setup: Setup,
    asked: Asked,
    asker: Asker,
    rep: Repetition,
    k: int,
    counts: Counts,
) -> Row | None:
    """Return the row of one question; None where no answer to it holds a number."""
    known = rep.context[:k]
    messages = messages_of(known, rep.target.task)
    for attempt in range(_TIMES_ASKED):
        key = _key(setup, asked, rep.number, k, attempt, messages)
        answer = await asker.ask(key, messages)
        penalty, moved = read_penalty(answer.text.strip(), compat=setup.compat)
        if penalty is not None:
            counts.moved += moved
            return row_of(rep, k, penalty)
    return None


def _first(errors: BaseExceptionGroup[Any]) -> BaseException:
    """Return what ended the session; a spent budget only where nothing else did."""
    leaves: list[BaseException] = []
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            leaves.append(_first(error))
        else:
            leaves.append(error)
    leaves.sort(key=lambda error: isinstance(error, BudgetSpent))
    return leaves[0]


def _key(
    setup: Setup,
    asked: Asked,
    rep: int,
    k: int,
    attempt: int,
    messages: Sequence[Message],
) -> dict[str, Any]:
    prompt = messages[0]["content"].encode()
    return {
        "model": asked.name,
        "temperature": asked.temperature,
        "seed": setup.seed,
        "dim": setup.dim,
        "rep": rep,
        "k": k,
        "attempt": attempt,
        "prompt": hashlib.sha256(prompt).hexdigest()[:16],
    }


def file_stem(
    name: str,
    reps: int,
    temperature: float | None,
) -> str:
    """Return the name of the files of a predictor, without the ending.

    >>> file_stem("org/m", 5, 0.1), file_stem("mean", 5, None)
    ('records_org_m_T0.1_N5', 'records_mean_N5')
    """
    safe = re.sub(r"[^\w.@+-]", "_", name)
    at = "" if temperature is None else f"_T{temperature}"
    return f"records_{safe}{at}_N{reps}"


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the rows as CSV, replacing an older file. Raises UsageError where that fails."""
    with atomic_path(path) as unfinished:
        with unfinished.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for row in rows:
                cells = [getattr(row, column) for column in COLUMNS]
                writer.writerow(cells)
