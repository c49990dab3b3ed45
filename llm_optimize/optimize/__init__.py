"""The front door: `run`, `arun`, `resume`, `replay`, `fork`, `compare` and `Optimizer`.

question = "What x makes f(x) smaller?"
best_score, scores, best_x = optimize.run("Decrease f(x).", question, f, x0="[5, 3]")
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Unpack

from ..blocking import blocking
from ..evaluate import Examples, Repeats, Stage
from ..propose import language
from ..records import Budget, Noticed, Result, Task, Watcher, X
from ..settings import Changes, RunOptions, RunSettings, keywords, refuse_unknown
from ..store import DEFAULT_URL, Store
from ..watch.comparison import Comparison
from .ask_tell import Optimizer
from .build import Func, as_callbacks, choose, open_judge, where
from .compare import Contest, Hall, as_budget, as_seeds, compare_all, free_name
from .continuing import changes_of, hashed, is_stored
from .documented import documented
from .dry_run import DryRun, first_prompt
from .early import checked_early
from .engine import Engine
from .names import new_name
from .prompt_size import notice_of_size
from .sessions import areplay, aresume, fork, go_on
from .warm_start import begin_with_known
from .watchers import watching

__all__ = [
    "Changes",
    "Comparison",
    "DryRun",
    "Examples",
    "Optimizer",
    "Repeats",
    "Stage",
    "acompare",
    "areplay",
    "aresume",
    "arun",
    "compare",
    "dry_run",
    "fork",
    "replay",
    "resume",
    "run",
]


@documented
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
    store: str | os.PathLike[str] = DEFAULT_URL,
    name: str | None = None,
    callbacks: Sequence[Watcher] = (),
    load_if_exists: bool = False,
    func_changed: str = "",
    **options: Unpack[RunOptions],
) -> Result:
    """Search for the x with the highest func(x); a model proposes, `func` judges.

    `run` is the same without await.

    Args:
        task_description:
        task_question:
        func: returns a finite number, higher is better; or (score, feedback), where feedback is for
            the model to read; or (score, dict), a dict with "score", or a `records.Score`. It runs
            in a sandbox, once for each x. An exception is a failed trial. Several functions are
            stages, cheap ones first: see `Stage`.
        x0:
        max_steps:
        model:
        verbose: show the run in the terminal.
        system_prompt:
        human_prompt:
        stop_score:
        store: the path of a file, or a database URL; every reply and score is in it before it is
            used.
        name: of the run; None makes one up.
        callbacks: called with every event of the run (see `records.Event`).
        load_if_exists: go on with the run of this name where the store has it. Options that the
            call gives and the run has otherwise are changed; the task, x0, `space` and `seed`
            cannot be. An argument at its default changes nothing. A run that has nothing left to
            do returns its result at once.
        func_changed: "ok" goes on with such a run though f has changed, see `resume`.
        options:

    Returns:
        A `Result` that unpacks as (best_score, scores, best_x).

    Raises:
        UsageError: an argument is wrong, or the name is taken; its subclasses say more.
        MissingKey: no API key was given.
        StoreError: the store cannot be used.

    A model that is out of reach, or a store that fails, ends the run with its best so far;
    `Result.stop_reason` says so. Ctrl-C lets what is in flight finish for up to 5 s, a second one
    ends at once; `resume` goes on.
    """
    refuse_unknown(options, list(inspect.signature(arun).parameters), "run")
    task = Task(task_description, task_question, system_prompt, human_prompt)
    given: dict[str, Any] = {
        "x0": x0,
        "max_steps": max_steps,
        "model": model,
        "stop_score": stop_score,
        **options,
    }
    asked = RunSettings(task, where(func), **given)
    callbacks = as_callbacks(callbacks)
    if load_if_exists and is_stored(name, store):
        with closing(Store(store)) as opened, watching(verbose, callbacks) as watchers:
            stored = opened.run(str(name))
            changes = changes_of(stored, asked)
            return await go_on(stored, func, changes, watchers, func_changed)
    parts = choose(hashed(asked, func))
    notice = ""
    if parts.model is not None:
        notice = notice_of_size(parts.settings)
    with (
        closing(Store(store)) as opened,
        closing(open_judge(func, parts, opened)) as judge,
    ):
        name = name or new_name(opened.names())
        row = opened.create_run(
            name, parts.settings.to_json(), parts.settings.func_version
        )
        begin_with_known(row, parts.settings)
        with watching(verbose, callbacks) as watchers:
            if notice:
                watchers.notify(Noticed(notice))
            engine = Engine(row, parts, judge, watchers)
            async with checked_early(parts.model, engine.state, watchers.notify):
                return await engine.run()


def dry_run(
    task_description: str,
    task_question: str,
    func: Func | None = None,
    x0: X | Sequence[X] | None = None,
    max_steps: int = 10,
    model: Any = None,
    **options: Any,
) -> DryRun:
    """Return the first prompt of a run, and what the run may use; the arguments are those of `run`.

    Nothing is sent, scored or stored, and no key is needed; in the prompt the score of x0 is left
    open. Printed, it is a page of text.

    Args:
        task_description, task_question, x0, max_steps, model: as for `run`.
        func: is not called.
        options: further keywords of `run`.

    Raises UsageError for what `run` would refuse.

    >>> from llm_optimize.llm import Chat, Price
    >>> chat = Chat("gpt", price=Price(1.0, 2.0))
    >>> planned = dry_run("Raise f.", "A better x?", x0="1", model=chat)
    >>> planned.calls, planned.messages[-1]["content"].splitlines()[-1], planned.usd[0] < 0.02
    (10, 'A better x?', True)
    """
    of_run = ("verbose", "store", "name", "callbacks", "load_if_exists", "func_changed")
    of_task = ("system_prompt", "human_prompt")
    known = [*keywords(), *of_run, *of_task, "stop_score"]
    refuse_unknown(options, known, "dry_run")
    given = {name: options[name] for name in options if name not in of_run}
    prompts = {
        "system_prompt": given.pop("system_prompt", language.SYSTEM_PROMPT),
        "human_prompt": given.pop("human_prompt", language.HUMAN_PROMPT),
    }
    task = Task(task_description, task_question, **prompts)
    given = {"x0": x0, "max_steps": max_steps, "model": model, **given}
    return first_prompt(RunSettings(task, **given))


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
    budget: int | Budget | Mapping[str, Any] = 50,
    seeds: int | Sequence[int] = 5,
    store: str | os.PathLike[str] = DEFAULT_URL,
    name: str | None = None,
    at_a_time: int = 1,
    **common: Any,
) -> Comparison:
    """Compare contenders that search with the same budget of scorings.

    Each contender makes one run for each seed, named NAME/CONTENDER/SEED, in one store. The same
    call goes on with a comparison that was interrupted: runs that ended by their budget are used as
    they are, the others are resumed. `compare` is the same without await.

    Args:
        task_description, task_question, func, x0: as for `run`.
        contenders: by name: the name of a search or proposer, a gate, "model:NAME", None or
            "best_of_n" for no search at all, a model, an object or a class of a search or proposer
            (each run has one of its own), or a dict of keywords of `run`.
        budget: scorings of each run, x0's included; a `Budget` with `scorings`, or a dict of
            its fields, may have other caps as well.
        seeds: how many runs each contender makes, or the seeds of these. Each run is one value for
            the test: few runs can show only large differences, and `Comparison.sentence` says when
            they could show none.
        store: the path of a file, or a database URL.
        name: of the comparison; None makes one up.
        at_a_time: how many runs go on at once.
        common: further keywords of `run` for every contender, such as `model`, `space` or
            `sandbox`.

    Returns:
        A `Comparison`; printed, it is a table. A run proposes at most four x for each scoring,
        since what was scored before, or is not an x at all, is not scored.

    Raises:
        UnknownName, UsageError: as for `run`, and where a stored run of this name had other
            settings.
        MissingKey, StoreError: as for `run`.

    >>> contenders = {"search": "best", "none": "best_of_n"}
    >>> found = compare("Raise x.", "A better x?", float, "1", contenders=contenders,
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
    return await compare_all(Hall(arun, aresume), contest, contenders, common)


compare = blocking(acompare)


def __dir__() -> list[str]:
    return sorted(__all__)
