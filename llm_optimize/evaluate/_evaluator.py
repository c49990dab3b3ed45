"""The scoring of candidates: through the stages, on the examples, as often as is wanted."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..records import Evaluation, Limits, Trial, X
from ._challenge import Challenge
from ._dispatch import Dispatch
from ._examples import TEST, TRAIN, VAL, Examples
from ._places import Place, Where, open_place
from ._repeats import Repeats, can_be_scored_again, together
from ._score import judge
from ._stages import Stage, after, as_stages, check_syntax, ended, passed, stopped


@dataclass(frozen=True)
class Judging:
    """What goes beyond one call of f on this machine.

    Args:
        max_score: the highest score that is possible; one above it is refused, its trial's stage is IMPOSSIBLE.
        repeats: for a noisy f.
        examples: f is f(x, example), and the score is a mean.
        executor: whose workers score, instead of sandboxes of this machine. It is not shut down here.

    Raises UsageError for what cannot be, or not together.
    """

    max_score: float | None = None
    repeats: Repeats | None = None
    examples: Examples | None = None
    executor: Executor | None = None

    def __post_init__(self) -> None:
        if self.max_score is not None and not _is_finite(self.max_score):
            raise UsageError(
                f"max_score is {self.max_score!r}: give a finite number, or None"
            )
        if self.repeats is not None and not isinstance(self.repeats, Repeats):
            raise UsageError(f"repeats is {self.repeats!r}: give evaluate.Repeats(n=3)")
        if self.examples is not None and not isinstance(self.examples, Examples):
            raise UsageError(
                f"examples is a {type(self.examples).__name__}: give optimize.Examples(train=[...])"
            )
        if self.repeats is not None and self.examples is not None:
            raise UsageError(
                "repeats and examples: a mean over examples is one of many scorings already, give one"
            )


def _is_finite(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


class Evaluator:
    """Scores candidates, with at most `workers` calls of f at a time, each in a sandbox under its deadline.

    Whoever cancels one of its coroutines ends that scoring: at once, or, where a worker of an executor has begun it, at
    its deadline at the latest.
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
        """Open the sandbox, in which the `hidden` files are not seen where its level can hide files.

        `func` is a function, or a sequence of functions, (function, threshold) pairs and Stages: cheap ones first, the
        last one gives the score. With examples, the last is f(x, example), and those before it f(x).

        Raises UnknownName, FunctionUnusable, SandboxUnavailable, or UsageError for what cannot be.
        """
        self._judging = judging or Judging()
        self._stages = as_stages(func)
        self._has_stages = isinstance(func, Stage) or not callable(func)
        self._timeout_secs = timeout_secs
        self._where = Where(
            sandbox, limits, tuple(hidden), workers, self._judging.executor
        )
        self._slots = asyncio.Semaphore(workers)
        self._challenge = self._made_challenge()
        self._places: dict[bool, Place] = {
            False: self._opened(TRAIN, VAL)
        }  # whether it is the one of the test
        self._opening = asyncio.Lock()

    def _made_challenge(self) -> Challenge | None:
        examples = self._judging.examples
        return (
            None
            if examples is None
            else Challenge(examples, self._on_example, self._judging.max_score)
        )

    def _opened(self, *parts: str) -> Place:
        """Open a place for all stages, which knows these parts of the examples and no other."""
        funcs = [stage.func for stage in self._stages]
        examples = self._judging.examples
        if len(funcs) == 1 and examples is None:
            return open_place(funcs[0], self._where)
        known = {
            part: getattr(examples, part)
            for part in parts
            if examples and examples.size(part)
        }
        return open_place(Dispatch(funcs, known), self._where)

    # Scoring.

    async def score(
        self, x: X, seed: int, parent: Trial | None = None, key: str = ""
    ) -> Evaluation:
        """Return what f says of x; nothing that f does raises here.

        `parent` is the trial that x was built on, `key` that of x where it is known already (`Trial.key`).

        Raises SandboxError when nothing can be scored any more: an executor is broken, or lost three in a row.
        """
        if self._has_stages and parent is not None and parent.x is not None:
            failed = check_syntax(x, parent.x)
            if failed is not None:
                return failed
        earlier: list[tuple[Stage, Evaluation]] = []
        for number, stage in enumerate(self._stages[:-1]):
            evaluation = await self._called(x, number, seed)
            if not passed(stage, evaluation):
                return after(earlier, stopped(stage, evaluation))
            earlier.append((stage, evaluation))
        evaluation = after(earlier, await self._decided(x, seed, parent, key))
        return ended(self._stages[-1], evaluation) if self._has_stages else evaluation

    async def _decided(
        self, x: X, seed: int, parent: Trial | None, key: str
    ) -> Evaluation:
        """Return what the last stage says."""
        if self._challenge is not None:
            return await self._challenge.score(x, seed, parent, key)
        first = await self._called(x, len(self._stages) - 1, seed)
        repeats = self._judging.repeats
        if repeats is None or repeats.champion or first.score is None:
            return first
        return await self.more(x, first, repeats.seeds(seed, first))

    async def more(self, x: X, known: Evaluation, seeds: Sequence[int]) -> Evaluation:
        """Return what is known of x after one more scoring under each of these seeds, of the last stage only.

        The score becomes the mean, the feedback stays that of the first. See `Repeats`.

        Raises UsageError for an x without a score, and where f is scored on examples.
        """
        if self._challenge is not None:
            raise UsageError(
                "scored on examples: a mean over examples is not scored again"
            )
        can_be_scored_again(known)
        if not seeds:
            return known
        last = len(self._stages) - 1
        return together(
            known, await _all([self._called(x, last, seed) for seed in seeds])
        )

    async def test(self, x: X, seed: int = 0) -> Evaluation:
        """Return the mean of x over the test examples, which no scoring before has seen, nor any process of one.

        Raises UsageError when there are none.
        """
        examples = self._judging.examples
        if self._challenge is None or examples is None or examples.test is None:
            raise UsageError(
                "there are no test examples: give optimize.Examples(train, test=[...])"
            )
        async with self._opening:
            if True not in self._places:
                self._places[True] = await asyncio.to_thread(self._opened, TEST)
        return await self._challenge.test(x, seed)

    async def _on_example(
        self, x: X, example: tuple[str, int], seed: int, begun: Callable[[], None]
    ) -> Evaluation:
        return await self._called(x, len(self._stages) - 1, seed, example, begun)

    async def _called(
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
        plain = len(self._stages) == 1 and self._challenge is None
        place = self._places[example is not None and example[0] == TEST]
        on_loop = inspect.iscoroutinefunction(stage.func)
        async with self._slots:
            begun()
            order = x if plain else Dispatch.order(x, number, example)
            outcome = await place.run(
                order, stage.timeout_secs or self._timeout_secs, seed, on_loop
            )
        return judge(outcome, self._judging.max_score if is_last else None)

    def close(self) -> None:
        """End all scorings in flight and the sandboxes."""
        for place in self._places.values():
            place.close()


async def _all(
    coroutines: Sequence[Coroutine[Any, Any, Evaluation]],
) -> list[Evaluation]:
    """Wait for all; when one raises or this is cancelled, none of them goes on."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
