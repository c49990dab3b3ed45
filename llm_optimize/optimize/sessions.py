"""Resume, replay and fork stored runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Unpack

from ..errors import OptionName, UsageError
from ..records import Reply, Result, RunEnded, Watcher
from ..settings import Changes, RunSettings, option_of, refuse_unknown
from ..settings import options as options_of_a_run
from ..store import DEFAULT_URL, Run, Store
from .build import Func, Parts, as_callbacks, choose, open_judge, where
from .calls import Place
from .continuing import finished, hashed, with_func
from .early import checked_early
from .engine import Engine
from .warm_start import known_of, refuse_cut_off
from .watchers import Watchers, watching


async def aresume(
    name: str,
    func: Func,
    *,
    store: str | os.PathLike[str] = DEFAULT_URL,
    verbose: bool = True,
    callbacks: Sequence[Watcher] = (),
    func_changed: str = "",
    **changes: Unpack[Changes],
) -> Result:
    """Go on with a run that was killed, stopped, or is to have more steps.

    `resume` is the same without await.

    Replies that had arrived are not asked for again, and scores that had arrived are not computed
    again. A run that has nothing left to do returns its result at once; `Result.stop_reason` says
    so: "finished: 20 of 20 steps; give max_steps=40 (--steps 40) for more".

    Args:
        name: of the run.
        func: the same scoring function as before; functions are not stored.
        func_changed: "ok" goes on though f has changed: the champion is scored anew, and then
            whichever is best, until the best has a score of the changed f. Lower scores of the
            former f stay as they are. `func_hash` says what counts as a change.
        store, verbose, callbacks: as for `run`.
        changes: options of `run` that are to be others from here on; the rest is as it was.
            `max_steps` counts all steps of the run. `stop`, `examples` and `executor` are not
            stored, nor is a `model` that was not plain name, nor a search or proposer that was an
            object: give them again. The task, x0, `space` and `seed` cannot change.

    Raises:
        RunNotFound: no run of that name, with the nearest names.
        RunHeld: another process goes on with this run already.
        FunctionChanged: f, or a file of yours that it imports, is not what scored the trials.
        UsageError, MissingKey, StoreError: as for `run`.
    """
    of_resume = ["store", "verbose", "callbacks", "func_changed"]
    refuse_unknown(changes, [*options_of_a_run(), *of_resume], "resume")
    callbacks = as_callbacks(callbacks)
    with closing(Store(store, create=False)) as opened:
        run = opened.run(name)
        with watching(verbose, callbacks) as watchers:
            return await go_on(run, func, changes, watchers, func_changed)


async def go_on(
    run: Run,
    func: Func,
    changes: Mapping[str, Any],
    watchers: Watchers,
    func_changed: str = "",
) -> Result:
    """Go on with a stored run, with some options changed. Raises what `aresume` raises."""
    row = run.store.hold(run.name)
    stored = RunSettings.from_json(row.settings)
    refuse_cut_off(row, stored)
    settings = with_func(row, stored.changed(changes), func, func_changed)
    result = finished(row, stored, settings)
    if result is not None:
        watchers.notify(RunEnded(result))
        return result
    parts = choose(settings)
    if settings.func_version is not None:
        row.close()
        row = run.store.hold(run.name, settings.func_version)
    if parts.settings.to_json() != row.settings:
        row.change(parts.settings.to_json())
    return await _go(row, func, parts, watchers)


async def areplay(
    name: str,
    func: Func,
    *,
    new_name: str | None = None,
    store: str | os.PathLike[str] = DEFAULT_URL,
    verbose: bool = True,
    callbacks: Sequence[Watcher] = (),
    **changes: Unpack[Changes],
) -> Result:
    """Re-run a finished run from its stored replies, free of charge.

    `replay` is the same without await.

    With the same f and one worker it repeats exactly; with a changed f it shows what f makes of the
    same replies, as far as they go. The replay is a run of its own in the same store.

    Args:
        name: of the run.
        func: any scoring function.
        new_name: of the replay; None makes it from the name.
        store, verbose, callbacks: as for `run`.
        changes: as for `resume`, but no `model`: none is asked.

    Raises:
        RunNotFound: no run of that name, with the nearest names.
        UsageError, StoreError: as for `run`.
    """
    refuse_unknown(
        changes,
        [*options_of_a_run(), "store", "verbose", "callbacks", "new_name"],
        "replay",
    )
    for word in changes:
        if option_of(word).of_model:
            raise UsageError(
                OptionName(word),
                " cannot change in a replay: its replies are those of the run, "
                "and no model is asked",
            )
    callbacks = as_callbacks(callbacks)
    with closing(Store(store, create=False)) as opened:
        origin = opened.run(name)
        settings = RunSettings.from_json(origin.settings).changed(changes)
        settings = replace(hashed(settings, func), func=where(func), old_scores=None)
        parts = choose(settings, replayed=True)
        new_name = new_name or _free(f"{name}-replay", opened)
        row = opened.create_run(
            new_name, parts.settings.to_json(), changes.get("func_version")
        )
        known = known_of(origin)
        if known:
            row.begin_with(known, len(parts.settings.x0))
        with watching(verbose, callbacks) as watchers:
            return await _go(row, func, parts, watchers, _replies(origin))


def fork(
    name: str,
    upto_trial: int,
    *,
    new_name: str | None = None,
    store: str | os.PathLike[str] = DEFAULT_URL,
) -> str:
    """Begin a run with the trials 0 to `upto_trial` of another, and return its name.

    `resume` goes on with it.

    Scores, replies and lessons come along, and are neither paid nor computed again.

    Raises RunNotFound, UsageError when that trial is not finished or the new name is taken, and
    StoreError.
    """
    with closing(Store(store, create=False)) as opened:
        new = opened.fork(name, upto_trial, new_name)
        if new.settings.get("old_scores"):
            # Which of its scores are of a former f is not known: so all of them may be.
            seen = new.seen_now()
            held = opened.hold(new.name)
            old_scores = (seen.finished, seen.again)
            held.change({**new.settings, "old_scores": old_scores})
        return new.name


async def _go(
    row: Run,
    func: Func,
    parts: Parts,
    watchers: Watchers,
    recorded: dict[Place, Reply] | None = None,
) -> Result:
    with closing(open_judge(func, parts, row.store)) as judge:
        engine = Engine(row, parts, judge, watchers, recorded)
        async with checked_early(parts.model, engine.state, watchers.notify):
            return await engine.run()


def _replies(run: Run) -> dict[Place, Reply]:
    """Return the replies of a run by their places; the first where a call was made twice."""
    replies: dict[Place, Reply] = {}
    for call in run.calls():
        if call.reply is not None:
            replies.setdefault((call.trial, call.index), call.reply)
    return replies


def _free(name: str, store: Store) -> str:
    """Return the name, or the name with the first number that makes it a new one."""
    taken = set(store.names())
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    return free
