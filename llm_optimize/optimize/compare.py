"""Runs of several contenders with the same seeds and the same budget, in one store."""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ..errors import InPython, OptionName, UnknownName, UsageError
from ..llm import Model
from ..propose import gates
from ..records import Budget, Direction, Result, X
from ..search import as_search
from ..settings import as_record, as_x0, refuse_unknown
from ..settings import options as options_of_a_run
from ..store import RunInfo, Store
from ..watch.comparison import (
    Comparison,
    RunOutcome,
    compared,
    is_unfinished,
    outcome_of,
)
from .build import Func, proposer_names
from .func_hash import changed_parts, hashes_of
from .names import new_name

_log = logging.getLogger("llm_optimize")
_STEPS = 4  # proposals for each scoring: some are duplicates or no x at all, and are not scored
# Options that the comparison sets itself.
_OWN = (
    "task_description",
    "task_question",
    "x0",
    "max_steps",
    "seed",
    "budget",
)


@dataclass(frozen=True)
class Hall:
    """How runs are made: `arun` and `aresume`."""

    run: Callable[..., Awaitable[Result]]
    resume: Callable[..., Awaitable[Result]]


@dataclass(frozen=True)
class Contest:
    """What is the same for every contender."""

    task: str
    question: str
    func: Func
    x0: X | Sequence[X] | None
    budget: Budget
    seeds: tuple[int, ...]
    store: str | os.PathLike[str]
    name: str
    at_a_time: int  # runs

    def __post_init__(self) -> None:
        if self.at_a_time < 1:
            raise UsageError(
                OptionName("at_a_time"),
                f" is {self.at_a_time}: at least 1 run is needed",
            )

    @property
    def scorings(self) -> int:
        """How many scorings each run has."""
        return self.budget.scorings or 0


def as_budget(budget: int | Budget | Mapping[str, Any]) -> Budget:
    """Return the budget of each run. Raises UsageError for one that counts no scorings."""
    given: Any = budget
    if isinstance(budget, int):
        given = {"scorings": budget}
    found: Budget = as_record("budget", Budget, given)
    if found.scorings is None:
        raise UsageError(
            "the budget of a comparison counts scorings: give a number, or Budget(scorings=...)"
        )
    return found


def as_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds. Raises UsageError for none, or for one that is given twice."""
    if isinstance(seeds, int):
        chosen = tuple(range(seeds))
    else:
        chosen = tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError(
            OptionName("seeds"),
            f" is {seeds!r}: give how many, at least 1",
            InPython(", or a list of different numbers", shell=""),
        )
    return chosen


def free_name(store: str | os.PathLike[str]) -> str:
    """Return a name that no run of the store begins with."""
    with closing(Store(store)) as opened:
        taken = {run.split("/")[0] for run in opened.names()}
    return new_name(taken)


async def compare_all(
    hall: Hall,
    contest: Contest,
    contenders: Mapping[str, Any],
    common: Mapping[str, Any],
) -> Comparison:
    """Make or finish all runs, and return their comparison.

    Raises what `run` and `resume` raise.
    """
    if not contenders:
        raise UsageError(
            "there are no contenders: name at least one, such as ",
            InPython(
                "{'best': 'best', 'none': 'best_of_n'}",
                shell="--contender best --contender best_of_n",
            ),
        )
    known = [name for name in options_of_a_run() if name not in _OWN]
    known.append("callbacks")
    refuse_unknown(common, known, "compare")
    options = {}
    for name, value in contenders.items():
        options[name] = {**common, **_keywords(value, known)}
    with closing(Store(contest.store)) as opened:
        stored = {run.name: run for run in opened.runs()}
    hashes = hashes_of(contest.func)
    runs = []
    direction = _direction_of(options)
    for seed in contest.seeds:
        for name in contenders:
            before = stored.get(_run_name(contest, name, seed))
            _check_same(contest, before, options[name], seed)
            _check_func(before, hashes)
            runs.append((name, seed, before))
    slots = asyncio.Semaphore(contest.at_a_time)

    async def one(name: str, seed: int, before: RunInfo | None) -> None:
        async with slots:
            await _finish(hall, contest, before, (name, seed, options[name]))

    await _together([one(*run) for run in runs])
    return _read(contest, contenders, direction)


def _direction_of(options: Mapping[str, Mapping[str, Any]]) -> Direction:
    """Return the direction of all contenders. Raises UsageError where they have several."""
    found = set()
    for given in options.values():
        found.add(Direction.named(given.get("direction", Direction.MAXIMIZE)))
    if len(found) > 1:
        raise UsageError(
            "the contenders have two directions, and their scores cannot be compared: "
            "give direction once, beside the contenders"
        )
    return found.pop()


def _read(
    contest: Contest, contenders: Iterable[str], direction: Direction
) -> Comparison:
    """Return the comparison of the stored runs."""
    outcomes: dict[str, list[RunOutcome]] = {}
    with closing(Store(contest.store, create=False)) as opened:
        stop_reasons = {run.name: run.stop_reason for run in opened.runs()}
        for name in contenders:
            outcomes[name] = []
            for seed in contest.seeds:
                run = opened.run(_run_name(contest, name, seed))
                outcome = outcome_of(run, seed, stop_reasons[run.name])
                outcomes[name].append(outcome)
    return compared(contest.name, contest.scorings, outcomes, direction)


async def _together(works: Sequence[Any]) -> None:
    """Await all; the first that raises ends the others."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _finish(
    hall: Hall,
    contest: Contest,
    stored: RunInfo | None,
    what: tuple[str, int, dict[str, Any]],
) -> None:
    """Make one run, or go on with it; one that ended by its budget is left as it is."""
    contender, seed, options = what
    name = _run_name(contest, contender, seed)
    fresh = {}
    for word, value in options.items():
        fresh[word] = _fresh(word, value)
    if stored is None:
        result = await hall.run(
            contest.task,
            contest.question,
            contest.func,
            contest.x0,
            _STEPS * contest.scorings,
            name=name,
            store=contest.store,
            seed=seed,
            budget=contest.budget,
            verbose=False,
            **fresh,
        )
    elif is_unfinished(stored.stop_reason):
        for word, option in options_of_a_run().items():
            if option.no_resume:
                fresh.pop(word, None)
        result = await hall.resume(
            name,
            contest.func,
            store=contest.store,
            verbose=False,
            **fresh,
        )
    else:
        return
    _log.info(
        "%s: %s after %d trials: %s",
        name,
        result.best_score,
        len(result.trials),
        result.stop_reason,
    )
    if result.stop_reason == "interrupted":
        raise KeyboardInterrupt


def _run_name(contest: Contest, contender: str, seed: int) -> str:
    return f"{contest.name}/{contender}/{seed}"


def _fresh(word: str, value: Any) -> Any:
    """Return a strategy that no other run shares: an instance of a class, a copy of an object.

    Raises UsageError for an object that cannot be copied.
    """
    if word not in ("search", "proposer") or isinstance(value, str):
        return value
    if inspect.isclass(value):
        return value()
    try:
        return deepcopy(value)
    except TypeError as error:
        raise UsageError(
            f"the {word} {value!r} cannot be copied for each run ({error}): give its class"
        ) from error


def _keywords(contender: Any, known: Sequence[str]) -> dict[str, Any]:
    """Return the keywords of `run` that a contender stands for.

    Raises UsageError for what stands for none.
    """
    if contender is None:
        return {"search": "best_of_n"}
    if isinstance(contender, Mapping):
        refuse_unknown(contender, known, "compare")
        return dict(contender)
    if isinstance(contender, str):
        return _named(contender)
    if isinstance(contender, gates.GateSpec) or hasattr(contender, "propose"):
        return {"proposer": contender}
    if hasattr(contender, "ask") and hasattr(contender, "observe"):
        return {"search": contender}
    if isinstance(contender, Model | list | tuple) or callable(contender):
        return {"model": contender}
    raise UsageError(
        f"{contender!r} is not a contender: give a search, a proposer, a model, or keywords of run"
    )


def _named(word: str) -> dict[str, Any]:
    """Return the keywords for the name of a search, a proposer or a gate, or for model:NAME.

    Raises UnknownName with the nearest name.
    """
    if word.startswith("model:"):
        return {"model": word.removeprefix("model:")}
    if "(" in word:
        return {"proposer": gates.read(word)}
    if word in proposer_names():
        return {"proposer": word}
    try:
        as_search(word)
    except UnknownName as error:
        raise UnknownName(
            "contender", word, [*error.known, *proposer_names(), "model:NAME"]
        ) from None
    return {"search": word}


def _check_same(
    contest: Contest, stored: RunInfo | None, options: Mapping[str, Any], seed: int
) -> None:
    """Raise UsageError where a stored run of this name was made with other settings."""
    if stored is None:
        return
    before = stored.settings
    _check_equal(stored, "task", before["task"]["description"], contest.task)
    _check_equal(stored, "question", before["task"]["question"], contest.question)
    _check_equal(stored, "x0", list(before["x0"]), list(as_x0(contest.x0)))
    _check_equal(stored, "seed", before["seed"], seed)
    direction = str(options.get("direction", Direction.MAXIMIZE))
    _check_equal(stored, "direction", str(stored.direction), direction)
    scorings = before["budget"]["scorings"]
    _check_equal(stored, "budget of scorings", scorings, contest.scorings)
    for word in ("search", "proposer"):
        given = options.get(word)
        if isinstance(given, str | gates.GateSpec):
            _check_equal(stored, word, before[word], str(given))


def _check_func(stored: RunInfo | None, hashes: Mapping[str, str]) -> None:
    """Raise UsageError where a stored run was scored by another f: results cannot be compared."""
    if stored is None:
        return
    before = stored.settings.get("func_hashes") or {}
    changed = changed_parts(before, hashes)
    if changed:
        what = ", ".join(changed)
        raise UsageError(
            f"the run {stored.name!r} was scored by another f ({what} changed): "
            "choose another name for the comparison"
        )


def _check_equal(stored: RunInfo, what: str, before: Any, now: Any) -> None:
    if before != now:
        raise UsageError(
            f"the run {stored.name!r} has the {what} {before!r}, not {now!r}: "
            "choose another name for the comparison"
        )
