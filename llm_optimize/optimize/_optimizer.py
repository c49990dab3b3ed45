"""The run whose loop the user owns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack

from .. import prompts
from ..blocking import wait_for
from ..errors import UsageError
from ..evaluate import judge
from ..propose.gates import GateSpec
from ..records import Budget, Proposer, Result, Search, Status, Task, Trial, Watcher, X
from ..sandbox import Outcome, OutcomeStatus
from ..stop import Progress, Rule
from ..store import DEFAULT_URL, Store
from ._loop import Loop
from ._names import new_name
from ._parts import Chosen, choose, refuse_unknown, seed_or_new
from ._settings import Settings, as_x0
from ._watchers import Watchers


class Options(TypedDict, total=False):
    """The further arguments of an `Optimizer`; they mean what they mean to `run`."""

    system_prompt: str
    human_prompt: str
    max_steps: int
    search: str | Search
    proposer: str | Proposer | GateSpec
    space: Any
    budget: Budget
    seed: int
    callbacks: Sequence[Watcher]
    stop: Rule | Callable[[Progress], bool]
    max_prompt_tokens: int
    tune: int


class Optimizer:
    """Ask and tell, for people who own the loop: `ask` returns a trial with an x, `tell` takes its score.

    >>> opt = Optimizer("Raise f.", "A better x?", x0="1", model="mutation", seed=1)
    >>> for _ in range(3):
    ...     trial = opt.ask()
    ...     trial = opt.tell(trial, float(trial.x))
    >>> opt.result.best_score > 1
    True
    >>> opt.close()
    """

    def __init__(
        self,
        task_description: str,
        task_question: str,
        x0: X | Sequence[X] | None = None,
        *,
        model: Any = None,
        store: str | os.PathLike[str] = DEFAULT_URL,
        name: str | None = None,
        **options: Unpack[Options],
    ) -> None:
        """Begin a run; the arguments are those of `run` that do not concern func. Raises what `run` raises."""
        refuse_unknown(options, Options)
        settings = Settings(
            task=Task(
                task_description,
                task_question,
                options.get("system_prompt", prompts.SYSTEM_PROMPT),
                options.get("human_prompt", prompts.HUMAN_PROMPT),
            ),
            x0=as_x0(x0),
            max_steps=options.get("max_steps", 1_000_000),
            budget=options.get("budget", Budget()),
            seed=seed_or_new(options.get("seed")),
            max_prompt_tokens=options.get("max_prompt_tokens", 16_000),
            tune=options.get("tune", 0),
        )
        self._parts = choose(
            settings,
            Chosen(
                model, options.get("search", "best"), options.get("proposer"), options.get("space"), options.get("stop")
            ),
        )
        self._store = Store(store)
        try:
            row = self._store.create_run(name or new_name(self._store.names()), self._parts.settings.to_json())
            self._loop = Loop(row, self._parts, Watchers(options.get("callbacks", ())))
            self._loop.start()
        except BaseException:
            self._store.close()
            raise

    def ask(self) -> Trial:
        """Return the next trial, with an x to be scored.

        Raises ModelError when the model is out of reach, and UsageError when the budget or the steps are spent.
        """
        return wait_for(self.aask())

    async def aask(self) -> Trial:
        """Do what `ask` does inside a running event loop."""
        self._loop.steering.look()
        try:
            while self._loop.ready():
                trial = await self._loop.propose(self._loop.begin())
                if trial.status is Status.PENDING:
                    return trial
        finally:
            await self._parts.aclose()
        raise UsageError(f"nothing to ask: {self._loop.why_stop() or 'tell the score of an open trial first'}")

    def tell(self, trial: Trial, score: Any, feedback: str = "") -> Trial:
        """Give the score of a trial that `ask` returned, or whatever else a scoring function may return.

        Returns the finished trial; a score that is no finite number makes it invalid, never an exception.
        """
        outcome = Outcome(OutcomeStatus.OK, value=(score, feedback) if feedback else score)
        return self._loop.scored(trial, judge(outcome))

    @property
    def result(self) -> Result:
        """What was found so far."""
        return self._loop.result(self._loop.why_stop() or "open")

    def close(self) -> None:
        """End the run and close its store."""
        self._loop.end(self._loop.why_stop() or "closed")
        self._store.close()
