"""The front door: `run`, `arun`, `resume`, `replay`, `fork`, and `Optimizer` for people who own the loop.

best_score, scores, best_x = optimize.run("Decrease f(x).", "What x makes f(x) smaller?", f, x0="[5, 3]")
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from typing import Any

from ..blocking import blocking
from ..evaluate import Examples, Repeats, Stage
from ..propose import language
from ..propose.gates import GateSpec
from ..records import Budget, Limits, Proposer, Result, Search, Task, Watcher, X
from ..space import Space
from ..stop import Progress, Rule
from ..store import DEFAULT_URL, Store
from ._settings import Settings, as_x0
from .ask_tell import Optimizer
from .build import Chosen, Func, choose, open_judge, seed_or_new, where
from .compare import Contest, Hall, as_budget, as_seeds, compare_all, free_name
from .comparison import Comparison
from .engine import Engine, watching
from .names import new_name
from .sessions import Changes, areplay, aresume, fork

__all__ = [
    "Changes",
    "Comparison",
    "Examples",
    "Optimizer",
    "Repeats",
    "Stage",
    "acompare",
    "areplay",
    "aresume",
    "arun",
    "compare",
    "fork",
    "replay",
    "resume",
    "run",
]


async def arun(
    task_description: str,
    task_question: str,
    func: Func,
    x0: X | Sequence[X] | None = None,
    max_steps: int = 10,
    model: Any = None,
    verbose: bool = True,
    system_prompt: str = language.SYSTEM_PROMPT,
    human_prompt: str = language.HUMAN_PROMPT,
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
    executor: Executor | None = None,
    store: str | os.PathLike[str] = DEFAULT_URL,
    name: str | None = None,
    seed: int | None = None,
    callbacks: Sequence[Watcher] = (),
    stop: Rule | Callable[[Progress], bool] | None = None,
    examples: Examples | None = None,
    repeats: Repeats | int | None = None,
    max_score: float | None = None,
    func_version: str | None = None,
    model_slots: int | None = None,
    max_prompt_tokens: int = 16_000,
    reflect: bool = False,
    tune: int = 0,
) -> Result:
    """Search for the x with the highest func(x); a model proposes, `func` judges. `run` is the same without await.

    Args:
        task_description: what is wanted, in words.
        task_question: what is asked of the model at each step.
        func: returns a finite number, higher is better; or (score, feedback), where feedback is for the model to read;
            or (score, dict), a dict with "score", or a `records.Score`. It runs in a sandbox, once for each x.
            An exception is a failed trial. Several functions are stages, cheap ones first: see `Stage`.
        x0: the first candidate, or a list of several; None lets the model write the first. A dict of named texts is
            one candidate of several parts.
        max_steps: how many candidates are proposed beyond x0.
        model: a model's name, an `llm.Chat`, any callable from messages to text, a list of these, an `llm.Ensemble`, or
            "mutation" for no model at all. None takes `llm.default_llm_options` and the environment.
        verbose: show the run in the terminal.
        system_prompt: begins each prompt; may hold {task_description}, {task_question}, {x}, {fx}.
        human_prompt: ends each prompt; may hold the same.
        stop_score: end as soon as a score reaches this.
        search: what to build on: a name such as "best" or "chat", or an object with `ask` and `tell`.
        proposer: who writes the next x: "model", "mutation", with a space also "policy_gradient", "tpe", "cmaes", "gp",
            "random" (of Optuna); a gate between two (`propose.gates.adaptive("model", "tpe")`); or an object with
            `propose` and `tell`.
        space: typed parameters by name, or whatever else `space.as_space` takes; x is then a dict of values.
        workers: scorings at a time.
        timeout_secs: wall clock of one func(x); then it is killed with all that it started.
        sandbox: "process"; "namespace" where bubblewrap is, for candidates that nobody trusts; "auto", the stronger of
            the two that works here; or "inline" for a trusted or async func that needs no isolation.
        limits: what one scoring may use.
        budget: when to end besides `max_steps`; calls in flight count at what they are expected to cost.
        executor: where scorings run, such as a pool of Dask or Ray; None: on this machine.
        store: the path of a file, or a database URL; every reply and score is in it before it is used.
        name: of the run; None makes one up.
        seed: with one worker and the same replies a run with the same seed repeats exactly; None throws one.
        callbacks: called with every event of the run (see `records.Event`).
        stop: further rules that end the run, such as `stop.stale(20) & stop.seconds(600)`, or any callable that takes a
            `stop.Progress`.
        examples: data that func is scored on one by one, as func(x, example): see `Examples`.
        repeats: for a noisy func: how often a champion is scored, or a `Repeats`.
        max_score: no honest score is above this; one that is makes the trial invalid.
        func_version: names this version of func: an x that the same version scored in any run of the store is not
            scored again.
        model_slots: x that are being written at a time; None adapts to how long replies and scorings take, where there
            are several workers, and is 1 for a single one.
        max_prompt_tokens: the longest prompt, in tokens, roughly; what matters least is left out first.
        reflect: ask the model, after a trial that failed or was no better than its parent, for a lesson in a sentence.
        tune: steps that are spent, without a model call, on the knobs of each new champion: numbers in x whose lines
            declare a range, such as `lr = 0.1  # tune: 1e-4..1 log`; the model is told that it may. 0 is off.

    Returns:
        A `Result` that unpacks as (best_score, scores, best_x).

    Raises:
        UsageError: an argument is wrong; its subclasses say more.
        MissingKey: no API key was given.
        StoreError: the store cannot be used.

    A model that is out of reach, or a store that fails, ends the run with its best so far; `Result.stop_reason` says
    so. Ctrl-C lets what is in flight finish for up to 5 s, a second one ends at once; `resume` goes on.
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
        model_slots=model_slots,
        max_prompt_tokens=max_prompt_tokens,
        max_score=max_score,
        reflect=reflect,
        tune=tune,
    )
    parts = choose(settings, Chosen(model, search, proposer, space, stop, repeats, examples, executor))
    with closing(Store(store)) as opened, closing(open_judge(func, parts, opened)) as judge:
        row = opened.create_run(name or new_name(opened.names()), parts.settings.to_json(), func_version)
        with watching(verbose, callbacks) as watchers:
            return await Engine(row, parts, judge, watchers.tell).run()


run = blocking(arun)
resume = blocking(aresume)
replay = blocking(areplay)


async def acompare(
    task_description: str,
    task_question: str,
    func: Func,
    x0: X | Sequence[X] | None = None,
    *,
    contenders: Mapping[str, Any],
    budget: int | Budget = 50,
    seeds: int | Sequence[int] = 5,
    store: str | os.PathLike[str] = DEFAULT_URL,
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
        store: the path of a file, or a database URL.
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
