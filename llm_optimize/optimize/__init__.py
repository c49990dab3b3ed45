"""The front door: `run`, `arun`, `resume`, and `Optimizer` for people who own the loop.

best_score, scores, best_x = optimize.run("Decrease f(x).", "What x makes f(x) smaller?", f, x0="[5, 3]")
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, TypedDict, Unpack

from .. import prompts
from ..blocking import blocking
from ..errors import ModelError
from ..evaluate import Evaluator
from ..propose.gates import GateSpec
from ..records import Budget, Limits, Proposer, Result, Search, Status, Task, Watcher, X
from ..space import Space
from ..store import DEFAULT_URL, Run, Store
from ._compare import Contest, Hall, as_budget, as_seeds, compare_all, free_name
from ._comparison import Comparison
from ._loop import Loop
from ._names import new_name
from ._optimizer import Optimizer
from ._parts import Parts, choose, refuse_unknown, seed_or_new, stored_model, watching, where
from ._settings import Settings, as_x0

__all__ = ["Changes", "Comparison", "Optimizer", "acompare", "aresume", "arun", "compare", "resume", "run"]

Func = Callable[[Any], Any]


async def arun(
    task_description: str,
    task_question: str,
    func: Func,
    x0: X | Sequence[X] | None = None,
    max_steps: int = 10,
    model: Any = None,
    verbose: bool = True,
    system_prompt: str = prompts.SYSTEM_PROMPT,
    human_prompt: str = prompts.HUMAN_PROMPT,
    stop_score: float | None = None,
    *,
    search: str | Search = "best",
    proposer: str | Proposer | GateSpec | None = None,
    space: Space | Mapping[str, Any] | None = None,
    workers: int = 1,
    timeout_secs: float = 600.0,
    sandbox: str = "process",
    limits: Limits | None = None,
    budget: Budget | None = None,
    store: str = DEFAULT_URL,
    name: str | None = None,
    seed: int | None = None,
    callbacks: Sequence[Watcher] = (),
) -> Result:
    """Search for the x with the highest func(x); a model proposes, `func` judges. `run` is the same without await.

    Args:
        task_description: what is wanted, in words.
        task_question: what is asked of the model at each step.
        func: returns a finite number, higher is better; or (score, feedback), where feedback is for the model to read;
            or (score, dict), a dict with "score", or a `records.Score`. It runs in a sandbox, once for each x.
            An exception is a failed trial.
        x0: the first candidate, or a list of several; None lets the model write the first.
        max_steps: how many candidates are proposed beyond x0.
        model: a model's name, an `llm.Chat`, any callable from messages to text, or "mutation" for no model at all.
            None takes `llm.default_llm_options` and the environment.
        verbose: show the run in the terminal.
        system_prompt: begins each prompt; may hold {task_description}, {task_question}, {x}, {fx}.
        human_prompt: ends each prompt; may hold the same.
        stop_score: end as soon as a score reaches this.
        search: what to build on: "best", "chat", or an object with `ask` and `tell`.
        proposer: who writes the next x: "model", "mutation", "policy_gradient" (for a space), a gate between two of
            them (`propose.gates.adaptive("model", "policy_gradient")`), or an object with `propose` and `tell`.
        space: typed parameters by name; x is then a dict of values.
        workers: scorings at a time.
        timeout_secs: wall clock of one func(x); then it is killed with all that it started.
        sandbox: "process"; "namespace" where bubblewrap is, for candidates that nobody trusts; "auto", the stronger of
            the two that works here; or "inline" for a trusted or async func that needs no isolation.
        limits: what one scoring may use.
        budget: when to end besides `max_steps`.
        store: a database URL or the path of a file; every reply and score is in it before it is used.
        name: of the run; None makes one up.
        seed: with one worker and the same replies a run with the same seed repeats exactly; None throws one.
        callbacks: called with every event of the run (see `records.Event`).

    Returns:
        A `Result` that unpacks as (best_score, scores, best_x).

    Raises:
        UsageError: an argument is wrong; its subclasses say more.
        MissingKey: no API key was given.
        StoreError: the store cannot be used.

    A model that is out of reach ends the run with its best so far; `Result.stop_reason` says so.
    """
    settings = Settings(
        task=Task(task_description, task_question, system_prompt, human_prompt),
        x0=as_x0(x0),
        func=where(func),
        max_steps=max_steps,
        stop_score=stop_score,
        workers=workers,
        timeout_secs=timeout_secs,
        sandbox=sandbox,
        limits=limits or Limits(),
        budget=budget or Budget(),
        seed=seed_or_new(seed),
    )
    parts = choose(settings, model, search, proposer, space)
    with closing(Store(store)) as opened, closing(_evaluator(func, settings, opened)) as evaluator:
        row = opened.create_run(name or new_name(opened.names()), parts.settings.to_json())
        with watching(verbose, callbacks) as watchers:
            return await _drive(row, parts, evaluator, watchers)


run = blocking(arun)


class Changes(TypedDict, total=False):
    """What may differ when a run is resumed; the rest is as it was."""

    store: str
    max_steps: int
    model: Any
    verbose: bool
    callbacks: Sequence[Watcher]
    budget: Budget
    search: str | Search
    proposer: str | Proposer | GateSpec
    workers: int
    timeout_secs: float


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
        row = opened.hold(name)
        settings = _changed(Settings.from_json(row.settings), changes)
        model = changes["model"] if "model" in changes else stored_model(settings)
        search, proposer = changes.get("search", settings.search), changes.get("proposer", settings.proposer)
        parts = choose(settings, model, search, proposer, settings.space)
        watched = watching(changes.get("verbose", True), changes.get("callbacks", ()))
        with closing(_evaluator(func, settings, opened)) as evaluator, watched as watchers:
            return await _drive(row, parts, evaluator, watchers)


resume = blocking(aresume)


async def acompare(
    task_description: str,
    task_question: str,
    func: Func,
    x0: X | Sequence[X] | None = None,
    *,
    contenders: Mapping[str, Any],
    budget: int | Budget = 50,
    seeds: int | Sequence[int] = 5,
    store: str = DEFAULT_URL,
    name: str | None = None,
    at_a_time: int = 1,
    **common: Any,
) -> Comparison:
    """Let several contenders search with the same budget of scorings, and say what differs beyond noise.

    Each contender makes one run a seed, named NAME/CONTENDER/SEED, in one store. The same call goes on with a
    comparison that was interrupted: runs that ended by their budget are used as they are, the others are resumed.
    `compare` is the same without await.

    Args:
        task_description, task_question, func, x0: as for `run`.
        contenders: by name: the name of a search or proposer, a gate, "model:NAME", None or "best_of_n" for no search
            at all, a model, an object or a class of a search or proposer (each run has one of its own), or a dict of
            keywords of `run`.
        budget: scorings of each run, x0's included; a `Budget` with `scorings` may have other caps as well.
        seeds: how many runs each contender makes, or the seeds of these. Each run is one value for the test: few runs
            can show only large differences, and `Comparison.sentence` says when they could show none.
        store: a database URL or the path of a file.
        name: of the comparison; None makes one up.
        at_a_time: how many runs go on at once.
        common: further keywords of `run` for every contender, such as `model`, `space` or `sandbox`.

    Returns:
        A `Comparison`; printed, it is a table. A run proposes at most four x for each scoring, since what was scored
        before, or is no x at all, is not scored.

    Raises:
        UnknownName, UsageError: as for `run`, and where a stored run of this name had other settings.
        MissingKey, StoreError: as for `run`.

    >>> found = compare("Raise x.", "A better x?", float, "1", contenders={"search": "best", "none": "best_of_n"},
    ...                 budget=4, seeds=2, model="mutation", sandbox="inline")
    >>> found.sentence.split(". ")[1]
    'So few runs cannot show one: take at least 4 seeds.'
    """
    contest = Contest(
        task=task_description,
        question=task_question,
        func=func,
        x0=x0,
        budget=as_budget(budget),
        seeds=as_seeds(seeds),
        store=store,
        name=name or free_name(store),
        at_a_time=at_a_time,
    )
    return await compare_all(Hall(arun, aresume, frozenset(Changes.__annotations__)), contest, contenders, common)


compare = blocking(acompare)


async def _drive(row: Run, parts: Parts, evaluator: Evaluator, watchers: Sequence[Watcher]) -> Result:
    """Keep up to `workers` candidates alive until the run is over."""
    loop = Loop(row, parts, watchers)
    flying: set[asyncio.Task[None]] = set()
    try:
        loop.start()
        while True:
            while loop.ready() and len(flying) < parts.settings.workers:
                flying.add(asyncio.create_task(_live(loop, evaluator)))
                await asyncio.sleep(0)  # it begins, and counts
            if not flying:
                return loop.end(loop.why_stop() or "nothing left to do")
            done, flying = await asyncio.wait(flying, timeout=loop.seconds_left(), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if not done:
                return loop.end("budget: seconds")
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)
        await parts.aclose()


async def _live(loop: Loop, evaluator: Evaluator) -> None:
    """The life of one candidate, from plan to score."""
    step = loop.begin()
    try:
        trial = await loop.propose(step)
    except ModelError as error:
        loop.abandon(step, error)
        return
    if trial.status is Status.PENDING and trial.x is not None:
        loop.scored(trial, await evaluator.score(trial.x, loop.seed(trial.number)))


def _evaluator(func: Func, settings: Settings, store: Store) -> Evaluator:
    return Evaluator(
        func,
        sandbox=settings.sandbox,
        limits=settings.limits,
        workers=settings.workers,
        timeout_secs=settings.timeout_secs,
        hidden=store.files,
    )


def _changed(settings: Settings, changes: Changes) -> Settings:
    return replace(
        settings,
        max_steps=changes.get("max_steps", settings.max_steps),
        budget=changes.get("budget", settings.budget),
        workers=changes.get("workers", settings.workers),
        timeout_secs=changes.get("timeout_secs", settings.timeout_secs),
    )
