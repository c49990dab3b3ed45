"""The run whose loop the user owns: ask for a trial, tell its score.

A candidate of an `Optimizer` lives in the same coroutine as every other (`engine.Engine.live`), on
an event loop in a thread of its own. Where a run would call f, it waits there until the user tells
the score.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self, Unpack

from ..blocking import BackgroundLoop
from ..errors import ModelError, UsageError
from ..evaluate import judge
from ..propose import language
from ..records import Direction, Evaluation, Result, Task, Trial, Watcher, X
from ..sandbox import Outcome, OutcomeStatus
from ..settings import Options, RunSettings, option_of, refuse_unknown
from ..store import DEFAULT_URL, Store
from .build import as_callbacks, choose
from .engine import Engine
from .names import new_name
from .warm_start import begin_with_known
from .watchers import Watchers

_MANY_STEPS = 1_000_000  # who owns the loop ends it
_OPEN = "tell the score of an open trial first"


class Optimizer:
    """A run whose loop is yours: `ask` returns a trial with an x, `tell` takes its score.

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
        callbacks: Sequence[Watcher] = (),
        **options: Unpack[Options],
    ) -> None:
        """Begin a run. The arguments are those of `run` that do not concern func.

        Raises what `run` raises.
        """
        given: dict[str, Any] = {
            "x0": x0,
            "model": model,
            "max_steps": _MANY_STEPS,
            **options,
        }
        _refuse_of_func(options)
        prompts = {
            "system_prompt": given.pop("system_prompt", language.SYSTEM_PROMPT),
            "human_prompt": given.pop("human_prompt", language.HUMAN_PROMPT),
        }
        task = Task(task_description, task_question, **prompts)
        parts = choose(RunSettings(task, catch=True, **given))
        callbacks = as_callbacks(callbacks)
        self._store = Store(store)
        self._scores = _UserScores(parts.settings.direction)
        self._loop = BackgroundLoop()
        try:
            name = name or new_name(self._store.names())
            row = self._store.create_run(name, parts.settings.to_json())
            begin_with_known(row, parts.settings)
            watchers = Watchers(callbacks)
            self._engine = Engine(row, parts, self._scores, watchers)
            self._loop.run(self._engine.start())
        except BaseException:
            self._loop.close()
            self._store.close()
            raise

    def ask(self) -> Trial:
        """Return the next trial, with an x to be scored. Several may be open at a time.

        Raises:
            ModelError: the model is out of reach.
            UsageError: the budget or the steps are spent, or the score of an open trial must be
                told first.
        """
        return self._loop.run(self._ask())

    async def aask(self) -> Trial:
        """Do what `ask` does, without blocking the running event loop."""
        return await asyncio.wrap_future(self._loop.submit(self._ask()))

    async def _ask(self) -> Trial:
        """Let candidates live until one of them waits for its score."""
        engine = self._engine
        await engine.look()
        while engine.may_begin():
            opened = asyncio.ensure_future(self._scores.opened.get())
            task = engine.begin()
            await asyncio.wait([opened, task], return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                return opened.result()
            opened.cancel()
            # It ended without a score of the user's, or raises what ended it.
            await task
            if isinstance(engine.state.error, ModelError):
                raise engine.state.error
        raise UsageError(f"nothing to ask: {self._stop_reason(_OPEN)}")

    def _stop_reason(self, otherwise: str) -> str:
        """Return why the run is over, or another word while it is not."""
        stop = self._engine.state.why_stop()
        if stop is None:
            return otherwise
        return stop.reason

    def tell(self, trial: Trial, score: Any, feedback: str = "") -> Trial:
        """Give the score of a trial, or whatever else a scoring function may return.

        Returns:
            The finished trial. A score that is not a finite number makes it invalid, and raises
            nothing.

        Raises:
            UsageError: the trial was told already, or does not come from `ask`.
        """
        value = score
        if feedback:
            value = (score, feedback)
        evaluation = judge(Outcome(OutcomeStatus.OK, value=value))
        self._loop.run(self._scores.tell(trial.number, evaluation))
        return self._engine.state.shown[trial.number]

    @property
    def result(self) -> Result:
        """What was found so far."""
        return self._engine.result(self._stop_reason("open"))

    def close(self) -> None:
        """End the run and close its store; does nothing the second time."""
        if self._loop.is_closed:
            return
        reason = self._stop_reason("closed")
        try:
            self._loop.run(self._end(reason))
        finally:
            self._loop.close()
            self._store.close()

    async def _end(self, reason: str) -> None:
        await self._engine.aclose()
        await self._engine.end(reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _refuse_of_func(given: Mapping[str, Any]) -> None:
    """Raise UnknownName for an unknown option, and UsageError for one that says how f is called."""
    refuse_unknown(
        given,
        [*RunSettings.__dataclass_fields__, *Options.__annotations__],
        "Optimizer",
    )
    for name in given:
        if option_of(name).of_func:
            raise UsageError(
                f"{name} says how f is called, and an Optimizer calls none: remove it"
            )


class _Open(NamedTuple):
    """A trial that waits for its score."""

    evaluation: asyncio.Future[Evaluation]
    life: asyncio.Task[Any] | None  # the coroutine of the candidate


class _UserScores:
    """The judge of an Optimizer: a trial waits here until the user tells its score."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self.opened: asyncio.Queue[Trial] = asyncio.Queue()  # not returned by `ask` yet
        self._waiting: dict[int, _Open] = {}

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Wait until the trial is told."""
        loop = asyncio.get_running_loop()
        evaluation: asyncio.Future[Evaluation] = loop.create_future()
        self._waiting[trial.number] = _Open(evaluation, asyncio.current_task())
        self.opened.put_nowait(trial)
        return self._direction.evaluation(await evaluation)

    async def tell(self, number: int, evaluation: Evaluation) -> None:
        """Give the evaluation of a trial, and wait until it has been written and learned."""
        if number not in self._waiting:
            raise UsageError(
                f"trial {number} does not wait for a score: it was told already, "
                "or is of another run"
            )
        trial = self._waiting.pop(number)
        trial.evaluation.set_result(evaluation)
        if trial.life is not None:
            await asyncio.wait([trial.life])
            trial.life.result()

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Raise UsageError: nobody but the user can score again."""
        raise UsageError(
            "Optimizer takes no repeats: tell the mean of several scorings"
        )

    async def test(self, trial: Trial) -> Evaluation:
        """Raise UsageError: nobody but the user can score a test."""
        raise UsageError("Optimizer takes no examples: score the test yourself")
