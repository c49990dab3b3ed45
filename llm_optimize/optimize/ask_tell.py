"""The run whose loop the user owns: ask for a trial, tell its score.

A candidate of an `Optimizer` lives in the same coroutine as every other (`engine.Engine.live`), on
an event loop in a thread of its own. Where a run would call f, it waits there until the user tells
the score.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Self, Unpack, overload

from ..blocking import BackgroundLoop
from ..checks import is_whole_number
from ..errors import ModelError, UsageError
from ..evaluate import judge
from ..propose import language
from ..records import Direction, Evaluation, Result, Task, Trial, Watcher, X
from ..sandbox import Outcome, OutcomeStatus
from ..settings import Options, RunSettings, option_of, refuse_unknown
from ..store import DEFAULT_URL, Run, Store
from .build import as_callbacks, choose
from .continuing import changes_of, is_stored
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
        load_if_exists: bool = False,
        **options: Unpack[Options],
    ) -> None:
        """Begin a run, or go on with one; the arguments of `run` but for those that concern func.

        With `load_if_exists` the trials that an earlier `Optimizer` asked for and was not told come
        first, with the same numbers.

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
        settings = RunSettings(task, catch=True, **given)
        stored = None
        if load_if_exists and is_stored(name, store):
            with closing(Store(store)) as opened:
                stored = opened.run(str(name))
            changes = changes_of(stored, settings)
            settings = RunSettings.from_json(stored.settings).changed(changes)
        parts = choose(settings)
        callbacks = as_callbacks(callbacks)
        self._store = Store(store)
        self._scores = _UserScores(parts.settings.direction)
        self._one_at_a_time = asyncio.Lock()
        # Candidates whose `ask` was interrupted: the next one takes them.
        self._unclaimed: deque[asyncio.Task[None]] = deque()
        self._loop = BackgroundLoop()
        try:
            row = self._row(name, parts.settings, is_new=stored is None)
            watchers = Watchers(callbacks)
            self._engine = Engine(row, parts, self._scores, watchers)
            self._engine.state.is_eager = True
            self._loop.run(self._engine.start())
        except BaseException:
            self._loop.close()
            self._store.close()
            raise

    def _row(self, name: str | None, settings: RunSettings, *, is_new: bool) -> Run:
        """Return the run in the store, for writing."""
        if not is_new:
            row = self._store.hold(str(name))
            row.change(settings.to_json())
            return row
        name = name or new_name(self._store.names())
        row = self._store.create_run(name, settings.to_json())
        begin_with_known(row, settings)
        return row

    @overload
    def ask(self) -> Trial: ...

    @overload
    def ask(self, n: int) -> list[Trial]: ...

    def ask(self, n: int | None = None) -> Trial | list[Trial]:
        """Return the next trial, or a list of n, each with an x to be scored.

        Any number may be open at a time, and be told in any order. The first are x0. An x that is
        asked for before any score is told is built on x0, whose score is not known yet. May be
        called from several threads.

        Args:
            n: how many; fewer come where the budget or the steps end before.

        Raises:
            ModelError: the model is out of reach.
            UsageError: nothing is left to ask: the budget or the steps are spent; or the optimizer
                is closed.
        """
        self._refuse_closed()
        trials = self._loop.run(self._ask(_as_number(n)))
        return trials[0] if n is None else trials

    @overload
    async def aask(self) -> Trial: ...

    @overload
    async def aask(self, n: int) -> list[Trial]: ...

    async def aask(self, n: int | None = None) -> Trial | list[Trial]:
        """Do what `ask` does, without blocking the running event loop."""
        self._refuse_closed()
        asked = self._loop.submit(self._ask(_as_number(n)))
        trials = await asyncio.wrap_future(asked)
        return trials[0] if n is None else trials

    async def _ask(self, n: int) -> list[Trial]:
        """Return up to n trials, at least one; their x are written concurrently."""
        asked = [self._one() for _ in range(n)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        trials = [one for one in outcomes if isinstance(one, Trial)]
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not trials:
                raise outcome
        return sorted(trials, key=lambda trial: trial.number)

    async def _one(self) -> Trial:
        """Let candidates live until one of them waits for its score."""
        engine, scores = self._engine, self._scores
        while True:
            life = await self._next_life()
            opened = scores.opened_by(life)
            either: list[asyncio.Future[Any]] = [opened, life]
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                self._unclaimed.append(life)
                raise
            if opened.done():
                return scores.taken(life)
            # It ended without a score of the user's, or raises what ended it.
            await life
            if isinstance(engine.state.error, ModelError):
                raise engine.state.error

    async def _next_life(self) -> asyncio.Task[None]:
        """Return a candidate that nobody waits for; begin one where there is none."""
        async with self._one_at_a_time:
            await self._engine.look()
            if self._unclaimed:
                return self._unclaimed.popleft()
            if not self._engine.may_begin():
                raise UsageError(f"nothing to ask: {self._stop_reason(_OPEN)}")
            life = self._engine.begin()
            self._scores.opened_by(life)
            await asyncio.sleep(0)  # it begins, and counts
            return life

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
            UsageError: the trial was told already, or does not come from `ask`; or the optimizer is
                closed.
        """
        self._refuse_closed()
        value = score
        if feedback:
            value = (score, feedback)
        evaluation = judge(Outcome(OutcomeStatus.OK, value=value))
        self._loop.run(self._scores.tell(trial, evaluation))
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

    def _refuse_closed(self) -> None:
        if self._loop.is_closed:
            raise UsageError(
                f"the optimizer of the run {self.result.name!r} is closed: its trials are stored, "
                "and Optimizer(..., name=..., load_if_exists=True) goes on"
            )

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


def _as_number(n: int | None) -> int:
    """Return how many trials are asked for. Raises UsageError for none."""
    if n is None:
        return 1
    if not is_whole_number(n) or n < 1:
        raise UsageError(f"n is {n!r}: give how many trials to ask for, at least 1")
    return n


class _Open(NamedTuple):
    """A trial that waits for its score."""

    trial: Trial
    evaluation: asyncio.Future[Evaluation]
    life: asyncio.Task[Any] | None  # the coroutine of the candidate


class _UserScores:
    """The judge of an Optimizer: a trial waits here until the user tells its score."""

    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._opened: dict[asyncio.Task[Any], asyncio.Future[Trial]] = {}
        self._waiting: dict[int, _Open] = {}

    def opened_by(self, life: asyncio.Task[Any]) -> asyncio.Future[Trial]:
        """Return the future of the trial that a candidate will open."""
        if life not in self._opened:
            loop = asyncio.get_running_loop()
            self._opened[life] = loop.create_future()
        return self._opened[life]

    def taken(self, life: asyncio.Task[Any]) -> Trial:
        """Return the trial that a candidate has opened, which belongs to the user from now on."""
        return self._opened.pop(life).result()

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Wait until the trial is told."""
        loop = asyncio.get_running_loop()
        evaluation: asyncio.Future[Evaluation] = loop.create_future()
        life = asyncio.current_task()
        self._waiting[trial.number] = _Open(trial, evaluation, life)
        if life is not None:
            self.opened_by(life).set_result(trial)
        return self._direction.evaluation(await evaluation)

    async def tell(self, trial: Trial, evaluation: Evaluation) -> None:
        """Give the evaluation of a trial, and wait until it has been written and learned."""
        number = trial.number
        waiting = self._waiting.get(number)
        if waiting is None or waiting.trial.key != trial.key:
            raise UsageError(
                f"trial {number} does not wait for a score: it was told already, "
                "or is of another run"
            )
        del self._waiting[number]
        waiting.evaluation.set_result(evaluation)
        if waiting.life is not None:
            await asyncio.wait([waiting.life])
            waiting.life.result()

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Raise UsageError: nobody but the user can score again."""
        raise UsageError(
            "Optimizer takes no repeats: tell the mean of several scorings"
        )

    async def test(self, trial: Trial) -> Evaluation:
        """Raise UsageError: nobody but the user can score a test."""
        raise UsageError("Optimizer takes no examples: score the test yourself")
