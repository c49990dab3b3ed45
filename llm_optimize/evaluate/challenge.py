"""Challenge: a new x is scored on a minibatch first; on all examples only if it beats its parent.

    minibatch = some examples of `train`, drawn by the seed of the trial
    score x on the minibatch; if one example gives no score: failed
    bar = mean of the parent on the same examples (known, or computed now)
    if mean of x <= bar: rejected
    score x on all deciding examples; its score is their mean

Source: GEPA (arXiv 2507.19457), which accepts a candidate when it improves on its parent on a
minibatch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from weakref import WeakValueDictionary

from ..blocking import cancel_all
from ..identity import X, key_of
from ..records import Direction, Evaluation, Trial
from .evaluation import MINIBATCH
from .examples import (
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

ExampleKey = tuple[str, int]
"""An example: the name of its part, and its index there."""

CallF = Callable[[X, ExampleKey, int, Callable[[], None]], Awaitable[Evaluation]]
"""Score x on one example, under a seed; call the last argument when f is called."""


class Challenge:
    """Scores each x on examples, and remembers scores on `train` for the comparison with children.

    Args:
        examples: to score on.
        call: scores x on one example.
        max_score: the score that nothing can beat; None where it is unknown.
        direction: whether a higher or a lower score is better.
    """

    def __init__(
        self,
        examples: Examples,
        call: CallF,
        max_score: float | None,
        direction: Direction = Direction.MAXIMIZE,
    ) -> None:
        self._examples = examples
        self._call = call
        self._max_score = max_score
        self._direction = direction
        # Scores on `train`, by the key of x and the index of the example; None: it gave no score.
        self._known: dict[tuple[str, int], float | None] = {}
        # By the key of a parent: two challengers of one parent must not compute its bar twice.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def score(
        self,
        x: X,
        seed: int,
        parent: Trial | None,
        key: str = "",
    ) -> Evaluation:
        """Return the mean of x over the deciding examples, or why it has none.

        Args:
            x: to score.
            seed: of the trial.
            parent: that x was built on.
            key: of x, if it is known.
        """
        minibatch = self._examples.chosen(seed)
        tried = await self._score_on(x, TRAIN, minibatch, seed)
        key = key or key_of(x)
        self._remember(key, tried)
        if tried.failed:
            return broken(tried, shown=True, stage=MINIBATCH)
        calls = tried.calls
        if minibatch and parent is not None:
            bar, calls_for_parent = await self._bar_of(parent, minibatch)
            calls += calls_for_parent
            if bar is not None and not self._beats(tried, bar):
                return rejected(tried, bar, calls, self._direction)
        return await self._score_on_all(x, seed, tried, calls)

    def _beats(self, tried: Scored, bar: float) -> bool:
        """Whether a challenger beats its parent, or is as good where nothing is better."""
        score = mean(tried.scores.values())
        direction = self._direction
        if self._max_score is not None and direction.reaches(score, self._max_score):
            return True
        return direction.is_better(score, bar)

    async def _score_on_all(
        self, x: X, seed: int, tried: Scored, calls: int
    ) -> Evaluation:
        part = self._examples.deciding
        is_shown = part == TRAIN
        known = tried if is_shown else Scored(part, {}, 0)
        indices = range(self._examples.size(part))
        left = set(indices) - set(known.by_index)
        new = await self._score_on(x, part, sorted(left), seed)
        found = known + new
        calls += new.calls
        if found.failed:
            counted = Scored(part, found.by_index, calls)
            return broken(counted, shown=is_shown)
        shown = found if is_shown else tried
        return summed_up(found, shown, calls, self._direction)

    async def test(self, x: X, seed: int) -> Evaluation:
        """Return the mean of x over the test examples; no feedback of f is in it."""
        indices = range(self._examples.size(TEST))
        found = await self._score_on(x, TEST, indices, seed)
        if found.failed:
            return broken(found, shown=False)
        return summed_up(found, None, found.calls, self._direction)

    async def _score_on(
        self,
        x: X,
        part: str,
        indices: Iterable[int],
        seed: int,
    ) -> Scored:
        """Score x on each of these examples; the first without a score ends the others."""
        begun: list[int] = []

        async def on_one(index: int) -> tuple[int, Evaluation]:
            own_seed = seed_of(seed, part, index)

            def note_call() -> None:
                begun.append(index)

            return index, await self._call(x, (part, index), own_seed, note_call)

        found: dict[int, Evaluation] = {}
        tasks = [asyncio.create_task(on_one(index)) for index in indices]
        try:
            for finished in asyncio.as_completed(tasks):
                index, evaluation = await finished
                found[index] = evaluation
                if evaluation.score is None:
                    break
        finally:
            await cancel_all(tasks)
        in_order = dict(sorted(found.items()))
        return Scored(part, in_order, len(begun))

    # Scores of the parents.

    async def _bar_of(
        self, parent: Trial, minibatch: Sequence[int]
    ) -> tuple[float | None, int]:
        """Return the mean of the parent on a minibatch, if it has one, and the calls it took."""
        if parent.x is None:
            return None, 0
        if parent.score is None and parent.stage != MINIBATCH:
            return None, 0
        key = parent.key
        async with self._locks.setdefault(key, asyncio.Lock()):
            if self._examples.deciding == TRAIN:
                self._remember_instances(parent, minibatch)
            known = self._known
            missing = [index for index in minibatch if (key, index) not in known]
            seed = parent.seed or 0
            found = await self._score_on(parent.x, TRAIN, missing, seed)
            self._remember(key, found)
        scores: list[float] = []
        for index in minibatch:
            score = self._known.get((key, index))
            if score is None:
                return None, found.calls
            scores.append(score)
        return mean(scores), found.calls

    def _remember_instances(self, parent: Trial, minibatch: Sequence[int]) -> None:
        """Take scores from a stored trial: after a resume nothing else knows them."""
        for index in minibatch:
            name = (parent.key, index)
            score = parent.instances.get(str(index))
            if name not in self._known and score is not None:
                self._known[name] = score

    def _remember(self, key: str, scored: Scored) -> None:
        for index, one in scored.by_index.items():
            self._known[key, index] = one.score
