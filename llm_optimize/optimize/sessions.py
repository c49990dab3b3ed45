"""Resume, replay and fork stored runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from ..evaluate import Examples, Repeats
from ..llm import Model
from ..propose.gates import GateSpec
from ..records import Budget, Limits, Proposer, Reply, Result, Search, Watcher
from ..stop import Progress, Rule
from ..store import DEFAULT_URL, Run, Store
from ._settings import Settings
from .build import Chosen, Func, Parts, choose, open_judge, refuse_unknown, stored_model
from .calls import Place
from .engine import Engine, watching


class Changes(TypedDict, total=False):
    """What may differ when a run is resumed or replayed; the rest is as it was.

    Of these, `stop`, `repeats`, `examples`, `executor` and `callbacks` are not stored: give them again.
    """

    store: str | os.PathLike[str]
    max_steps: int
    model: Any
    verbose: bool
    callbacks: Sequence[Watcher]
    budget: Budget
    search: str | Search
    proposer: str | Proposer | GateSpec
    workers: int
    model_slots: int
    timeout_secs: float
    sandbox: str
    limits: Limits
    executor: Executor
    stop: Rule | Callable[[Progress], bool]
    repeats: Repeats | int
    examples: Examples
    max_score: float
    stop_score: float
    func_version: str


_SETTINGS = (
    "max_steps",
    "budget",
    "workers",
    "model_slots",
    "timeout_secs",
    "sandbox",
    "limits",
    "max_score",
    "stop_score",
)


async def aresume(name: str, func: Func, **changes: Unpack[Changes]) -> Result:
    """Go on with a run that was killed, stopped, or is to have more steps. `resume` is the same without await.

    Replies that had arrived are not asked for again, and scores that had arrived are not computed again.

    Args:
        name: of the run.
        func: the same scoring function as before; functions are not stored.
        changes: `max_steps` counts all steps of the run; a `model` is needed again where it was no plain name.

    Raises:
        RunNotFound: no run of that name, with the nearest names.
        RunHeld: another process goes on with this run already.
        UsageError, MissingKey, StoreError: as for `run`.
    """
    refuse_unknown(changes, Changes)
    with closing(Store(changes.get("store", DEFAULT_URL), create=False)) as opened:
        row = opened.hold(name, changes.get("func_version"))
        settings = _changed(Settings.from_json(row.settings), changes)
        model = changes["model"] if "model" in changes else stored_model(settings)
        return await _go(row, func, choose(settings, _chosen(settings, model, changes)), changes)


async def areplay(name: str, func: Func, *, new_name: str | None = None, **changes: Unpack[Changes]) -> Result:
    """Live through a stored run again with its own replies, for no money. `replay` is the same without await.

    With the same f and one worker it repeats exactly; with a changed f it shows what f makes of the same replies, as
    far as they go. The replay is a run of its own in the same store.

    Args:
        name: of the run.
        func: any scoring function.
        new_name: of the replay; None makes it from the name.
        changes: as for `resume`, but no `model`: none is asked.

    Raises:
        RunNotFound: no run of that name, with the nearest names.
        UsageError, StoreError: as for `run`.
    """
    refuse_unknown(changes, Changes)
    with closing(Store(changes.get("store", DEFAULT_URL), create=False)) as opened:
        origin = opened.run(name)
        settings = _changed(Settings.from_json(origin.settings), changes)
        parts = choose(settings, replace(_chosen(settings, None, changes), replayed=True))
        row = opened.create_run(new_name or _free(f"{name}-replay", opened), parts.settings.to_json())
        return await _go(row, func, parts, changes, _replies(origin))


def fork(
    name: str, upto_trial: int, *, new_name: str | None = None, store: str | os.PathLike[str] = DEFAULT_URL
) -> str:
    """Begin a run with the trials 0 to `upto_trial` of another, and return its name: `resume` goes on with it.

    Scores, replies and lessons come along, and are neither paid nor computed again.

    Raises RunNotFound, UsageError when that trial is not finished or the new name is taken, and StoreError.
    """
    with closing(Store(store, create=False)) as opened:
        return opened.fork(name, upto_trial, new_name).name


async def _go(
    row: Run, func: Func, parts: Parts, changes: Changes, recorded: dict[Place, Reply] | None = None
) -> Result:
    watched = watching(changes.get("verbose", True), changes.get("callbacks", ()))
    with closing(open_judge(func, parts, row.store)) as judge, watched as watchers:
        return await Engine(row, parts, judge, watchers.tell, recorded).run()


def _changed(settings: Settings, changes: Changes) -> Settings:
    known: dict[str, Any] = dict(changes)
    return replace(settings, **{name: known[name] for name in _SETTINGS if name in known})


def _chosen(settings: Settings, model: Model | str | None, changes: Changes) -> Chosen:
    return Chosen(
        model,
        changes.get("search", settings.search),
        changes.get("proposer", settings.proposer),
        settings.space,
        changes.get("stop"),
        changes.get("repeats"),
        changes.get("examples"),
        changes.get("executor"),
    )


def _replies(run: Run) -> dict[Place, Reply]:
    """Return the replies of a run by their places; the first where a call was made twice."""
    return {(call.trial, call.index): call.reply for call in reversed(run.calls()) if call.reply is not None}


def _free(name: str, store: Store) -> str:
    taken = set(store.names())
    return next(free for free in (name, *(f"{name}-{n}" for n in range(2, len(taken) + 3))) if free not in taken)
