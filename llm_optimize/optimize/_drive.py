"""The pipeline: many candidates live at a time, asking and scoring overlap, and a slow one holds no other up."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from ..errors import ModelError, SandboxError, StoreError
from ..evaluate import Evaluator
from ..records import Result, Status, Trial, X
from ..store import Pending
from ._crown import Crown
from ._loop import Loop
from ._parts import Parts
from ._steering import POLL_SECS

_log = logging.getLogger("llm_optimize")
INTERRUPTED = "interrupted"  # why a run ended
_DRAIN_SECS = 5.0  # how long what is in flight may go on when the run is stopped
_LESSON_INDEX = 1000  # of the call for a lesson: after all that a proposer makes for a trial
_MAX_AHEAD = 4  # model slots a worker, at the most
_MEMORY = 0.8  # weight of the past in the mean times


async def drive(loop: Loop, parts: Parts, evaluator: Evaluator) -> Result:
    """Run until the end; what is paid for and in flight is waited for, as long as it can be of use."""
    pipeline = Pipeline(loop, parts, evaluator)
    try:
        loop.start()
        reason = await pipeline.run()
        await pipeline.test()
    except (StoreError, SandboxError) as error:
        reason = f"error: {error}"
    except asyncio.CancelledError:
        await pipeline.drain()
        loop.end(INTERRUPTED)
        raise
    finally:
        await pipeline.aclose()
        await parts.aclose()
    return loop.end(reason)


class Pipeline:
    """The candidates of a run that are being written, wait, or are being scored."""

    def __init__(self, loop: Loop, parts: Parts, evaluator: Evaluator) -> None:
        """Take the state of the run, its parts, and who scores."""
        self._loop = loop
        self._parts = parts
        self._evaluator = evaluator
        self._workers = parts.settings.workers
        repeats = parts.judging.repeats
        self._crown = Crown(loop, evaluator, repeats) if repeats and repeats.champion else None
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[asyncio.Task[None]] = []  # and not looked at yet
        self._any_ended = asyncio.Event()
        self._asking = 0
        self._draining = False
        self._reply_secs = self._scoring_secs = 0.0  # means, the newest counting most; 0 before the first

    async def run(self) -> str:
        """Keep the pipeline full until the run is over; return why. Raises StoreError when the store fails."""
        while True:
            self._loop.steering.look()
            while self._room() and self._loop.ready():
                self._begin()
                await asyncio.sleep(0)  # it begins, and counts
            if self._loop.why_stop_now():
                await self.drain()
                return self._loop.why_stop_now() or ""
            if not self._tasks and not self._ended and not self._loop.steering.paused:
                return self._loop.why_stop() or "nothing left to do"
            await self._wait()
            if self._loop.seconds_left() == 0:
                return "budget: seconds"

    async def _wait(self) -> None:
        """Wait until a candidate is done, or it is time to look at the clock or the store."""
        left_secs = self._loop.seconds_left()
        patience = POLL_SECS if left_secs is None else min(POLL_SECS, left_secs)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._any_ended.wait(), patience)
        self._any_ended.clear()
        ended, self._ended = self._ended, []
        for task in ended:
            task.result()

    def _begin(self) -> None:
        task = asyncio.create_task(self._live(self._loop.begin()))
        self._tasks.add(task)
        task.add_done_callback(self._end_of)

    def _end_of(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.append(task)
        self._any_ended.set()

    async def drain(self) -> None:
        """Begin nothing more, and give what is in flight a few seconds."""
        self._draining = True
        if self._tasks:
            _log.info("waiting up to %g s for %d trials in flight", _DRAIN_SECS, len(self._tasks))
            done, _ = await asyncio.wait(self._tasks, timeout=_DRAIN_SECS)
            for error in filter(None, (task.exception() for task in done if not task.cancelled())):
                _log.error("a trial ended while the run was being stopped: %s", error)

    async def test(self) -> None:
        """Score x0 and the best on the test examples, which nobody has seen yet."""
        examples = self._parts.judging.examples
        if examples is None or examples.test is None:
            return
        for trial in self._loop.to_test():
            if trial.x is not None:
                evaluation = await self._evaluator.test(trial.x, self._loop.seed(trial.number))
                if evaluation.score is not None:
                    self._loop.tested({trial.number: evaluation.score})

    async def aclose(self) -> None:
        """End what is still in flight."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _live(self, step: Pending) -> None:
        """The life of one candidate, from plan to score."""
        trial = self._loop.judged(step)
        if trial is None:
            try:
                with self._asks(step):
                    trial = await self._loop.propose(step)
            except ModelError as error:
                self._loop.abandon(step, error)
                return
            if trial.status is not Status.PENDING or trial.x is None or self._draining:
                return
            trial = await self._scored(step, trial, trial.x)
        if self._crown is not None:
            trial = await self._crown.challenged(trial)
        self._loop.finish(await self._with_lesson(step, trial))

    async def _scored(self, step: Pending, trial: Trial, x: X) -> Trial:
        """Return the trial with what f said; it is on disk already where more is to be done before it is finished."""
        evaluation = await self._evaluator.score(x, self._loop.seed(trial.number), step.plan.parent, trial.key)
        self._scoring_secs = _mean(self._scoring_secs, evaluation.seconds)
        trial = replace(trial, evaluation=evaluation)
        if self._crown is not None or self._parts.reflection is not None:
            self._loop.keep(trial)
        return trial

    async def _with_lesson(self, step: Pending, trial: Trial) -> Trial:
        reflection, parent = self._parts.reflection, step.plan.parent
        if reflection is None or not trial.source.startswith("model:") or not reflection.wants(trial, parent):
            return trial
        lesson, usage = await reflection.lesson(trial, parent, self._loop.conversation(trial.number, _LESSON_INDEX).ask)
        return trial.with_lesson(lesson, usage)

    # How many at a time.

    @contextmanager
    def _asks(self, step: Pending) -> Iterator[None]:
        """Count a candidate among those that are being written, and measure how long that takes."""
        begun = time.monotonic()
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if step.proposal is None and step.number >= len(self._parts.settings.x0):
                self._reply_secs = _mean(self._reply_secs, time.monotonic() - begun)

    def _room(self) -> bool:
        slots, ahead = self._slots()
        return self._asking < slots and len(self._tasks) < self._workers + ahead

    def _slots(self) -> tuple[int, int]:
        """Return how many may be written at a time, and how many may live besides those that are being scored.

        One worker asks for nothing before the last score is known, so that a run with a seed repeats exactly.
        """
        fixed = self._parts.settings.model_slots
        if fixed is not None:
            return fixed, fixed if max(fixed, self._workers) > 1 else 0
        if self._workers == 1:
            return 1, 0
        needed = math.ceil(self._workers * self._ratio())
        slots = needed if needed <= self._workers else max(needed, self._workers + 2)
        return min(max(slots, self._workers), _MAX_AHEAD * self._workers), min(needed, _MAX_AHEAD * self._workers)

    def _ratio(self) -> float:
        """Return how many times longer a reply takes than a scoring; 1 as long as nobody knows."""
        if not self._reply_secs or not self._scoring_secs:
            return 1.0
        return self._reply_secs / self._scoring_secs


def _mean(old: float, new: float) -> float:
    return new if not old else _MEMORY * old + (1 - _MEMORY) * new
