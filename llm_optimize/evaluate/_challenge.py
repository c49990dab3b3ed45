"""Scoring on examples: a challenger shows on a few of them that it beats its parent, then it is scored on all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from weakref import WeakValueDictionary

from ..identity import X, key_of
from ..records import Evaluation, Trial
from ._evaluation import MINIBATCH
from ._examples import (
    TEST,
    TRAIN,
    Examples,
    Scored,
    broken,
    mean,
    rejected,
    seed_of,
    summed_up,
)

CallF = Callable[[X, tuple[str, int], int, Callable[[], None]], Awaitable[Evaluation]]
"""f(x, example) under a seed, for the example of that part and index; the last is called when f is."""

_Key = tuple[str, int]  # of x, and the index of an example


class Challenge:
    """Scores each x on examples, and knows what its parents scored on those that are drawn."""

    def __init__(
        self, examples: Examples, call: CallF, max_score: float | None
    ) -> None:
        """Take the examples, how f is called, and the score that nothing can beat."""
        self._examples = examples
        self._call = call
        self._max_score = max_score
        self._known: dict[
            _Key, float | None
        ] = {}  # on examples of `train`; None: no score
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def score(
        self, x: X, seed: int, parent: Trial | None, key: str = ""
    ) -> Evaluation:
        """Return the mean of x over the deciding examples, or why it has none; `key` is that of x, if known."""
        chosen = self._examples.chosen(seed)
        tried = await self._scored(x, TRAIN, chosen, seed)
        self._remember(key or key_of(x), tried)
        if tried.failed:
            return broken(tried, shown=True, stage=MINIBATCH)
        calls = tried.calls
        if chosen and parent is not None:
            bar, more = await self._of_parent(parent, chosen)
            calls += more
            if bar is not None and not self._beats(mean(tried.scores.values()), bar):
                return rejected(tried, bar, calls)
        return await self._on_all(x, seed, tried, calls)

    async def _on_all(self, x: X, seed: int, tried: Scored, calls: int) -> Evaluation:
        part = self._examples.deciding
        known = tried if part == TRAIN else Scored(part, {}, 0)
        left = [
            index
            for index in range(self._examples.size(part))
            if index not in known.by_index
        ]
        found = known + await self._scored(x, part, left, seed)
        calls += found.calls - known.calls
        if found.failed:
            return broken(Scored(part, found.by_index, calls), shown=part == TRAIN)
        return summed_up(found, found if part == TRAIN else tried, calls)

    def _beats(self, score: float, bar: float) -> bool:
        """Whether a challenger is promising: better than its parent, or as good where nothing is better."""
        return score > bar or (self._max_score is not None and score >= self._max_score)

    async def test(self, x: X, seed: int) -> Evaluation:
        """Return the mean of x over the test examples, of which nothing is told."""
        found = await self._scored(x, TEST, range(self._examples.size(TEST)), seed)
        return (
            broken(found, shown=False)
            if found.failed
            else summed_up(found, None, found.calls)
        )

    async def _scored(
        self, x: X, part: str, indices: Iterable[int], seed: int
    ) -> Scored:
        """Call f on x and each of these examples; the first without a score ends the others."""
        begun: list[int] = []

        async def one(index: int) -> tuple[int, Evaluation]:
            example_seed = seed_of(seed, part, index)
            return index, await self._call(
                x, (part, index), example_seed, lambda: begun.append(index)
            )

        found: dict[int, Evaluation] = {}
        tasks = [asyncio.create_task(one(index)) for index in indices]
        try:
            for next_one in asyncio.as_completed(tasks):
                index, evaluation = await next_one
                found[index] = evaluation
                if evaluation.score is None:
                    break
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return Scored(part, dict(sorted(found.items())), len(begun))

    # What the parents scored.

    async def _of_parent(
        self, parent: Trial, chosen: list[int]
    ) -> tuple[float | None, int]:
        """Return the mean of the parent on the minibatch, None where it has none, and the calls that this took."""
        if parent.x is None or (parent.score is None and parent.stage != MINIBATCH):
            return None, 0
        name = parent.key
        async with self._locks.setdefault(
            name, asyncio.Lock()
        ):  # two challengers of one parent: computed once
            missing = [index for index in chosen if (name, index) not in self._known]
            if self._examples.deciding == TRAIN:
                told = {
                    index: parent.instances[str(index)]
                    for index in missing
                    if str(index) in parent.instances
                }
                self._known.update(
                    {(name, index): score for index, score in told.items()}
                )
                missing = [index for index in missing if index not in told]
            found = await self._scored(parent.x, TRAIN, missing, parent.seed or 0)
            self._remember(name, found)
        scores = [self._known.get((name, index)) for index in chosen]
        known = [score for score in scores if score is not None]
        return (mean(known) if len(known) == len(chosen) else None), found.calls

    def _remember(self, key: str, scored: Scored) -> None:
        self._known.update(
            {(key, index): one.score for index, one in scored.by_index.items()}
        )
