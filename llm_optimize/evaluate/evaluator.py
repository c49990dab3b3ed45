"""Evaluator: scores candidates through the stages, on the examples, as often as is wanted."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from ..blocking import cancel_all
from ..checks import is_number
from ..errors import InPython, OptionName, UsageError
from ..records import Direction, Evaluation, Limits, Trial, X
from .backends import Backend, BackendOptions, Dispatch, Order, open_backend
from .challenge import Challenge
from .evaluation import judge
from .examples import TEST, TRAIN, VAL, Examples
from .repeats import Repeats, check_has_score, together
from .stages import Stage, after, as_stages, check_syntax, ended, passed, stopped


@dataclass(frozen=True)
class Judging:
    """What goes beyond one call of f on this machine.

    Args:
        max_score: the best score that is possible; a trial with a better one is refused, and its
            stage is IMPOSSIBLE.
        repeats: for a noisy f.
        examples: f is f(x, example), and the score is a mean.
        executor: its workers score, instead of sandboxes on this machine. It is not shut down here.
        direction: whether a higher or a lower score of f is better.

    Raises:
        UsageError: a value is of the wrong type, or `repeats` and `examples` are given together.
    """

    max_score: float | None = None
    repeats: Repeats | None = None
    examples: Examples | None = None
    executor: Executor | None = None
    direction: Direction = Direction.MAXIMIZE

    def __post_init__(self) -> None:
        limit, repeats, examples = self.max_score, self.repeats, self.examples
        is_finite = is_number(limit) and math.isfinite(limit)
        if limit is not None and not is_finite:
            raise UsageError(
                OptionName("max_score"),
                f" is {limit!r}: give a finite number",
                InPython(", or None", shell=""),
            )
        if not isinstance(repeats, Repeats | None):
            raise UsageError(f"repeats is {repeats!r}: give evaluate.Repeats(n=3)")
        if not isinstance(examples, Examples | None):
            raise UsageError(
                f"examples is a {type(examples).__name__}: "
                "give optimize.Examples(train=[...])"
            )
        if repeats is not None and examples is not None:
            raise UsageError(
                "repeats and examples: examples already average several scorings, "
                "pass either one or the other"
            )


class Evaluator:
    """Scores candidates, each call of f in a sandbox under its deadline.

    Cancelling one of its coroutines ends that scoring: at once, or, where a worker of an executor
    has begun it, at its deadline at the latest.

    Args:
        func: a function, or a sequence of functions, (function, threshold) pairs and Stages: cheap
            ones first, the last one gives the score. With examples the last is f(x, example), and
            those before it f(x).
        sandbox: the level of isolation.
        limits: of each call.
        workers: calls of f at a time, at most.
        timeout_secs: wall clock of one call.
        hidden: files that the sandbox does not show, where its level can hide files.
        judging: what goes beyond one call of f on this machine.

    Raises:
        UsageError, UnknownName: an argument is wrong.
        FunctionUnusable: func cannot be sent to a process.
        SandboxUnavailable: this machine cannot isolate at that level.
    """

    def __init__(
        self,
        func: Callable[..., Any] | Stage | Sequence[Any],
        *,
        sandbox: str,
        limits: Limits,
        workers: int,
        timeout_secs: float,
        hidden: Sequence[str] = (),
        judging: Judging | None = None,
    ) -> None:
        self._judging = judging or Judging()
        self._stages = as_stages(func)
        self._has_stages = isinstance(func, Stage) or not callable(func)
        self._timeout_secs = timeout_secs
        executor = self._judging.executor
        self._options = BackendOptions(
            sandbox, limits, tuple(hidden), workers, executor
        )
        self._slots = asyncio.Semaphore(workers)
        self._challenge: Challenge | None = None
        examples = self._judging.examples
        if examples is not None:
            max_score = self._judging.max_score
            self._challenge = Challenge(
                examples, self._call_on_example, max_score, self._judging.direction
            )
        self._backend = self._open(TRAIN, VAL)
        # No process that x was scored in before may know the test examples, so they have a backend
        # of their own, which is opened when it is needed.
        self._test_backend: Backend | None = None
        self._opening_test = asyncio.Lock()

    def _open(self, *parts: str) -> Backend:
        """Open a backend for all stages that knows these parts of the examples and no other."""
        funcs = [stage.func for stage in self._stages]
        examples = self._judging.examples
        if len(funcs) == 1 and examples is None:
            return open_backend(funcs[0], self._options)
        known: dict[str, Sequence[Any]] = {}
        for part in parts:
            if examples and examples.size(part):
                known[part] = getattr(examples, part)
        return open_backend(Dispatch(funcs, known), self._options)

    # Scoring.

    async def score(
        self,
        x: X,
        seed: int,
        parent: Trial | None = None,
        key: str = "",
    ) -> Evaluation:
        """Return the evaluation of x; nothing that f does raises here.

        Its score, and that of the parent, is what f returns (see `records.Direction`).

        Args:
            x: to score.
            seed: of the trial.
            parent: the trial that x was built on.
            key: of x, where it is known (`Trial.key`).

        Raises:
            SandboxError: nothing can be scored any more: an executor is broken, or lost three
                scorings in a row.
        """
        if self._has_stages and parent is not None and parent.x is not None:
            failure = check_syntax(x, parent.x)
            if failure is not None:
                return failure
        earlier: list[tuple[Stage, Evaluation]] = []
        for number, stage in enumerate(self._stages[:-1]):
            evaluation = await self._call(x, number, seed)
            if not passed(stage, evaluation, self._judging.direction):
                return after(earlier, stopped(stage, evaluation))
            earlier.append((stage, evaluation))
        last = await self._score_at_last_stage(x, seed, parent, key)
        evaluation = after(earlier, last)
        if self._has_stages:
            return ended(self._stages[-1], evaluation, self._judging.direction)
        return evaluation

    async def _score_at_last_stage(
        self,
        x: X,
        seed: int,
        parent: Trial | None,
        key: str,
    ) -> Evaluation:
        if self._challenge is not None:
            return await self._challenge.score(x, seed, parent, key)
        last = len(self._stages) - 1
        first = await self._call(x, last, seed)
        repeats = self._judging.repeats
        if repeats is None or repeats.champion or first.score is None:
            return first
        seeds = repeats.seeds(seed, first)
        return await self.more(x, first, seeds)

    async def more(
        self,
        x: X,
        known: Evaluation,
        seeds: Sequence[int],
    ) -> Evaluation:
        """Return an evaluation after one more scoring under each of these seeds.

        Only the last stage is called. The score becomes the mean, the feedback stays that of the
        first scoring. See `Repeats`.

        Raises:
            UsageError: x has no score, or f is scored on examples.
        """
        if self._challenge is not None:
            raise UsageError(
                "scored on examples: a mean over examples is not scored again"
            )
        check_has_score(known)
        if not seeds:
            return known
        last = len(self._stages) - 1
        calls = [self._call(x, last, seed) for seed in seeds]
        return together(known, await _gather(calls))

    async def test(self, x: X, seed: int = 0) -> Evaluation:
        """Return the mean of x over the test examples, which no process has seen before.

        Raises:
            UsageError: there are no test examples.
        """
        examples = self._judging.examples
        has_test = examples is not None and examples.test is not None
        if self._challenge is None or not has_test:
            raise UsageError(
                "there are no test examples: give optimize.Examples(train, test=[...])"
            )
        async with self._opening_test:
            if self._test_backend is None:
                self._test_backend = await asyncio.to_thread(self._open, TEST)
        return await self._challenge.test(x, seed)

    async def _call_on_example(
        self,
        x: X,
        example: tuple[str, int],
        seed: int,
        begun: Callable[[], None],
    ) -> Evaluation:
        last = len(self._stages) - 1
        return await self._call(x, last, seed, example, begun)

    async def _call(
        self,
        x: X,
        number: int,
        seed: int,
        example: tuple[str, int] | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> Evaluation:
        """Call one stage once, as soon as there is a free slot."""
        stage = self._stages[number]
        is_last = number == len(self._stages) - 1
        backend = self._backend
        sent: Any = x
        if example is not None:
            sent = Order(x, number, *example).encoded()
            if example[0] == TEST and self._test_backend is not None:
                backend = self._test_backend
        elif len(self._stages) > 1 or self._challenge is not None:
            sent = Order(x, number).encoded()
        on_loop = inspect.iscoroutinefunction(stage.func)
        timeout_secs = stage.timeout_secs or self._timeout_secs
        max_score = self._judging.max_score if is_last else None
        async with self._slots:
            begun()
            outcome = await backend.run(sent, timeout_secs, seed, on_loop)
        return judge(outcome, max_score, self._judging.direction)

    def close(self) -> None:
        """End all scorings in flight and the sandboxes."""
        self._backend.close()
        if self._test_backend is not None:
            self._test_backend.close()


async def _gather(
    coroutines: Sequence[Coroutine[Any, Any, Evaluation]],
) -> list[Evaluation]:
    """Wait for all; when one raises or this is cancelled, none of them goes on.

    A TaskGroup would wrap what one raises in an ExceptionGroup, which callers do not expect.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_all(tasks)


class TrialJudge:
    """Scores whole trials with an `Evaluator`, which it closes.

    Here a higher score is better: where f is minimized, its scores are turned.
    """

    def __init__(
        self, evaluator: Evaluator, direction: Direction = Direction.MAXIMIZE
    ) -> None:
        self._evaluator = evaluator
        self._direction = direction

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Return the evaluation of the trial's x; nothing that f does raises here."""
        x, seed = _x_of(trial), trial.seed or 0
        if parent is not None:
            parent = self._direction.trial(parent)
        evaluation = await self._evaluator.score(x, seed, parent, trial.key)
        return self._direction.evaluation(evaluation)

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Return its evaluation after one further scoring under each of these seeds."""
        x, known = _x_of(trial), self._direction.evaluation(trial.evaluation)
        evaluation = await self._evaluator.more(x, known, seeds)
        return self._direction.evaluation(evaluation)

    async def test(self, trial: Trial) -> Evaluation:
        """Return its mean over the test examples."""
        x, seed = _x_of(trial), trial.seed or 0
        evaluation = await self._evaluator.test(x, seed)
        return self._direction.evaluation(evaluation)

    def close(self) -> None:
        """End all scorings in flight and the sandboxes."""
        self._evaluator.close()


def _x_of(trial: Trial) -> X:
    if trial.x is None:
        raise UsageError(f"trial {trial.number} has no x: nothing can be scored")
    return trial.x
