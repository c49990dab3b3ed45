"""Runs of several contenders with the same seeds and the same budget of scorings, one store for all of them."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ..errors import UnknownName, UsageError
from ..llm import Model
from ..propose import gates
from ..records import Budget, Result, Usage, X
from ..search import as_search
from ..settings import as_record, as_x0, refuse_unknown
from ..settings import options as options_of_a_run
from ..store import RunInfo, Store
from .build import Func, proposer_names
from .comparison import Comparison, Story, compared, curve_of
from .names import new_name

_log = logging.getLogger("llm_optimize")
_STEPS = 4  # proposals for each scoring: some are duplicates or no x at all, and are not scored
_OWN = (
    "task_description",
    "task_question",
    "x0",
    "max_steps",
    "seed",
    "budget",
)  # of the comparison
_UNFINISHED = (
    None,
    "closed",
    "interrupted",
    "open",
)  # why a run ended that is to go on; errors as well


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
            raise UsageError(f"at_a_time is {self.at_a_time}: at least 1 run is needed")

    @property
    def scorings(self) -> int:
        """How many scorings each run has."""
        return self.budget.scorings or 0


def as_budget(budget: int | Budget | Mapping[str, Any]) -> Budget:
    """Return the budget of each run. Raises UsageError for one that counts no scorings."""
    found: Budget = as_record(
        "budget", Budget, {"scorings": budget} if isinstance(budget, int) else budget
    )
    if found.scorings is None:
        raise UsageError(
            "the budget of a comparison counts scorings: give a number, or Budget(scorings=...)"
        )
    return found


def as_seeds(seeds: int | Sequence[int]) -> tuple[int, ...]:
    """Return the seeds. Raises UsageError for none, or for one that is there twice."""
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise UsageError(
            f"seeds is {seeds!r}: give how many, at least 1, or a list of different numbers"
        )
    return chosen


def free_name(store: str | os.PathLike[str]) -> str:
    """Return a name that no run of the store begins with."""
    with closing(Store(store)) as opened:
        return new_name({run.split("/")[0] for run in opened.names()})


async def compare_all(
    hall: Hall,
    contest: Contest,
    contenders: Mapping[str, Any],
    common: Mapping[str, Any],
) -> Comparison:
    """Make or finish all runs, and return what came of them. Raises what `run` and `resume` raise."""
    if not contenders:
        raise UsageError(
            "there are no contenders: name at least one, such as {'best': 'best', 'none': 'best_of_n'}"
        )
    known = [*(name for name in options_of_a_run() if name not in _OWN), "callbacks"]
    refuse_unknown(common, known, "compare")
    options = {
        name: {**common, **_keywords(value, known)}
        for name, value in contenders.items()
    }
    with closing(Store(contest.store)) as opened:
        stored = {run.name: run for run in opened.runs()}
    runs = [(name, seed) for seed in contest.seeds for name in contenders]
    for name, seed in runs:
        _check_same(
            contest, stored.get(_run_name(contest, name, seed)), options[name], seed
        )
    slots = asyncio.Semaphore(contest.at_a_time)

    async def one(name: str, seed: int) -> None:
        async with slots:
            await _finish(
                hall,
                contest,
                stored.get(_run_name(contest, name, seed)),
                (name, seed, options[name]),
            )

    await _together([one(name, seed) for name, seed in runs])
    with closing(Store(contest.store, create=False)) as opened:
        ends = {run.name: run.stop_reason for run in opened.runs()}
        stories = {
            name: [
                _story(opened, contest, (name, seed), ends) for seed in contest.seeds
            ]
            for name in contenders
        }
    return compared(contest.name, contest.scorings, stories)


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
    options = {word: _fresh(word, value) for word, value in options.items()}
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
            **options,
        )
    elif _unfinished(stored.stop_reason):
        changes = {word: value for word, value in options.items() if _may_change(word)}
        result = await hall.resume(
            name, contest.func, store=contest.store, verbose=False, **changes
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


def _may_change(word: str) -> bool:
    option = options_of_a_run().get(word)
    return option is None or not option.no_resume


def _unfinished(stop_reason: str | None) -> bool:
    return stop_reason in _UNFINISHED or str(stop_reason).startswith("error")


def _run_name(contest: Contest, contender: str, seed: int) -> str:
    return f"{contest.name}/{contender}/{seed}"


def _fresh(word: str, value: Any) -> Any:
    """Return a strategy that no other run knows: a class is called, an object copied as it was given.

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
    """Return the keywords of `run` that a contender stands for. Raises UsageError for what is none."""
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
        f"the contender {contender!r} is none: give a search, a proposer, a model, or keywords of run"
    )


def _named(word: str) -> dict[str, Any]:
    """Return what a word means: a search, a proposer, a gate, or model:NAME. Raises UnknownName with the nearest."""
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
    said = stored.settings
    wanted: dict[str, tuple[Any, Any]] = {
        "task": (said["task"]["description"], contest.task),
        "question": (said["task"]["question"], contest.question),
        "x0": (list(said["x0"]), list(as_x0(contest.x0))),
        "seed": (said["seed"], seed),
        "budget of scorings": (said["budget"]["scorings"], contest.scorings),
    }
    for word in ("search", "proposer"):
        if isinstance(options.get(word), str | gates.GateSpec):
            wanted[word] = (said[word], str(options[word]))
    for what, (before, now) in wanted.items():
        if before != now:
            raise UsageError(
                f"the run {stored.name!r} has the {what} {before!r}, not {now!r}: choose another name"
            )


def _story(
    store: Store, contest: Contest, who: tuple[str, int], ends: Mapping[str, str | None]
) -> Story:
    """Return what a stored run came to; `ends` says of all runs why they ended."""
    run = store.run(_run_name(contest, *who))
    trials, calls, reason = run.trials(), run.calls(), ends[run.name]
    usage = sum((trial.usage for trial in trials), Usage())
    waited = [call.reply.seconds for call in calls if call.reply]
    return Story(
        run.name,
        who[1],
        curve_of(trials),
        usage,
        math.fsum([*waited, *(trial.seconds for trial in trials)]),
        str(reason) if _unfinished(reason) else "",
    )
