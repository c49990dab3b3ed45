"""The engine: many candidates live at a time, each of them in one coroutine, `Engine.live`.

A run is over when its state says so. What is paid for and in flight is waited for as long as it
can be of use. Killed at any moment, a run goes on from its rows: all that is paid for is on disk
before it is used.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from ..errors import (
    BudgetSpent,
    ModelError,
    NothingToPropose,
    SandboxError,
    ScriptExhausted,
    StoreError,
)
from ..llm import Ensemble
from ..propose.gates import Gate
from ..records import (
    BudgetUsed,
    ChampionFound,
    Evaluation,
    Event,
    Plan,
    Proposal,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    ScoredAgain,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    usage_of,
)
from ..store import Pending, Run, Seen
from .build import Judge, Parts
from .calls import ModelCalls, Place
from .promotion import Promotion
from .results import result_of
from .state import DRAIN_SECS, Control, RunState, Slots, with_hints
from .watchers import Watchers

_log = logging.getLogger("llm_optimize")
INTERRUPTED = "interrupted"  # why a run ended
# Of the call for a lesson: above all that a proposer makes for a trial.
_LESSON_INDEX = 1000
_POLL_SECS = 0.25  # between two looks at the store for control commands


class Engine:
    """One run: what is known of it, and how its candidates live.

    Args:
        run: held for writing.
        parts: search, proposer, model and the rest.
        judge: scores trials.
        watchers: are notified of what happens.
        recorded: the replies of the run that is replayed; None where none is.
    """

    def __init__(
        self,
        run: Run,
        parts: Parts,
        judge: Judge,
        watchers: Watchers,
        recorded: Mapping[Place, Reply] | None = None,
    ) -> None:
        self.state = RunState(parts.settings, parts.stop)
        self._run = run
        self._parts = parts
        self._judge = judge
        self._watchers = watchers
        self._slots = Slots(parts.settings.workers, parts.settings.model_slots)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[asyncio.Task[None]] = []  # and not looked at yet
        # While somebody waits for it.
        self._any_ended: asyncio.Future[None] | None = None
        self._promotion = Promotion(self.state, judge, parts.judging.repeats)
        self._is_draining = False
        self._goes_on = parts.goes_on_after_scoring
        direction = parts.settings.direction
        for trial in direction.trials(run.history()):
            self._observe(trial)
        self._left = deque(step.turned(direction) for step in run.pending())
        self._shown = direction.trial  # a trial as rows and watchers have it
        stored = self._take_over()
        self._last_steer = 0
        self._looked_at = -math.inf
        self._store = run.writer()
        self._calls = ModelCalls(
            parts.model, self.state, self._store, watchers.notify, stored, recorded
        )

    def _take_over(self) -> dict[Place, Reply]:
        """Count what earlier sessions used; return their replies to unfinished trials."""
        if not self.state.trials and not self._left:
            return {}
        trials = self.state.trials.values()
        inherited, used = usage_of(trials, self._run.last_inherited)
        stored = self._run.unused_replies()
        for reply in stored.values():
            used += reply.usage
        calls = self._run.answered_calls()
        self.state.counts.take_over(inherited, used, calls)
        return stored

    # The life of one candidate.

    async def live(self, left: Pending | None = None) -> None:
        """Take one candidate from its plan to what is learned from it; each write is awaited here.

        `left` is a candidate that an earlier session began: what is on disk is not done again.
        The requests and replies of the model are written by `calls.ModelCalls`.
        """
        step = left or self._plan()
        number, plan = step.number, step.plan
        self.state.begin(number, plan)
        # Rows reach the disk in the order of these calls. A plan costs nothing, so nobody waits for
        # its row alone: the row of the request, which is awaited before it is sent, comes later.
        written = []
        if left is None:
            written.append(self._store.plan(number, plan))
        with self._slots.writing():
            self._watchers.notify(TrialStarted(number, plan.parent_number))
            try:
                proposal = step.proposal or await self._propose(number, plan)
            except (ModelError, NothingToPropose) as error:
                self._give_up(step, error)
                return
        if proposal.x is not None and step.proposal is None:
            written.append(self._store.propose(number, proposal))
        await asyncio.gather(*self._calls.unwritten(number), *written)
        trial = self._opened(step, proposal)

        evaluation = None
        if step.evaluation is None:
            evaluation = await self._known(trial)
        if evaluation is not None:
            trial = replace(trial, evaluation=evaluation)
        elif self._is_draining:
            return
        else:
            trial = await self._scored(trial, step)
            if self._goes_on:
                trial = await self._judged(trial, plan.parent)

        trial = replace(trial, finished_at=time.time())
        written = [self._store.finish(self._shown(trial), self.state.place())]
        # The next candidate begins while this row is being written, since its rows come after it.
        # Nobody outside learns of a trial before it is on disk: no watcher, and no result.
        self.state.unwritten.add(number)
        with self._watchers.held(*self._learn(trial)):
            self._wake()
            await asyncio.gather(*self._calls.unwritten(number), *written)
            self.state.unwritten.remove(number)

    def _plan(self) -> Pending:
        """Return a new trial and what it builds on; the first trials are x0."""
        state = self.state
        number = state.new_number()
        if state.is_first(number):
            return Pending(number, Plan(parent=None), None)
        parents = [plan.parent_number for plan in state.in_flight.values()]
        pending = [parent for parent in parents if parent is not None]
        rng = state.rng("plan", number)
        plan = self._parts.search.ask(rng, pending)
        if plan.parent is None:
            plan = replace(plan, parent=state.open_x0())
        return Pending(number, with_hints(plan, state.control.hints), None)

    async def _propose(self, number: int, plan: Plan) -> Proposal:
        """Return the x of a trial, or why there is none.

        Raises ModelError where no model answers.
        """
        if self.state.is_first(number):
            x0 = self.state.settings.x0[number]
            if isinstance(self._parts.proposer, Gate):
                return Proposal(x0, "x0", decision={"who": "x0"})
            return Proposal(x0, "x0")
        ask = self._calls.of_trial(number)
        rng = self.state.rng("propose", number)
        begun_at = time.monotonic()
        try:
            return await self._parts.proposer.propose(plan, ask, rng)
        except ScriptExhausted as error:
            if self._parts.model is not None:
                raise
            return Proposal(None, "replay", problem=str(error))
        finally:
            self._slots.written(time.monotonic() - begun_at)

    def _opened(self, step: Pending, proposal: Proposal) -> Trial:
        """Return the trial of a proposal, which waits for its score or has it already."""
        parent = proposal.parent
        if parent is None:
            parent = step.plan.parent_number
        seed = self.state.scoring_seed(step.number)
        evaluation = step.evaluation or Evaluation.open()
        return Trial(step.number, proposal, evaluation, parent, seed)

    async def _known(self, trial: Trial) -> Evaluation | None:
        """Return the evaluation of a trial that f need not score; None where it must."""
        settled = self.state.settled(trial)
        version = self._run.func_version
        if settled is not None or version is None:
            return settled
        find = self._run.store.known_score
        known = await asyncio.to_thread(find, version, trial.key)
        if known is None:
            return None
        return replace(self._shown(known).evaluation, scorings=0)

    async def _scored(self, trial: Trial, step: Pending) -> Trial:
        """Return the trial with what f says of it, or said of it in an earlier session."""
        if step.evaluation is not None:
            return trial
        self._watchers.notify(TrialProposed(trial.number, trial.source))
        evaluation = await self._judge.score(trial, step.plan.parent)
        self._slots.scored(evaluation.seconds)
        return replace(trial, evaluation=evaluation)

    async def _judged(self, trial: Trial, parent: Trial | None) -> Trial:
        """Return a scored trial after further scorings and with its lesson; each is on disk."""
        await self._store.judge(self._shown(trial))
        async for again in self._promotion.before(trial):
            if again.number == trial.number:
                trial = again
                await self._store.judge(self._shown(trial))
            else:
                finished = len(self.state.trials)
                await self._store.score_again(self._shown(again), finished)
                self._watchers.notify(*self._learn(again))
        return await self._reflected(trial, parent)

    async def _reflected(self, trial: Trial, parent: Trial | None) -> Trial:
        """Return the trial with the lesson that the model draws from it, where there is one."""
        reflection = self._parts.reflection
        if reflection is None or not trial.source.startswith("model:"):
            return trial
        if not reflection.wants(trial, parent):
            return trial
        ask = self._calls.of_trial(trial.number, _LESSON_INDEX)
        lesson, usage = await reflection.lesson(trial, parent, ask)
        return trial.with_lesson(lesson, usage)

    def _give_up(self, step: Pending, error: ModelError | NothingToPropose) -> None:
        """Leave a trial without an x unfinished; the run ends where asking again is of no use."""
        self.state.abandon(step.number)
        if isinstance(error, BudgetSpent):
            return
        self.state.observe_silence(step.number, error)
        if self.state.error is None:
            self._left.append(step)
            _log.warning("trial %d is asked again: %s", step.number, error)
        else:
            _log.error("the run ends: %s", error)

    def _learn(self, trial: Trial) -> list[Event]:
        """Learn a trial; return what the watchers are notified of once it is on disk."""
        before = self.state.best
        is_new = trial.number not in self.state.trials
        self._observe(trial)
        best, shown = self.state.best, self.state.shown[trial.number]
        events: list[Event] = [ScoredAgain(shown)]
        if is_new:
            self.state.fail_fast.observe(trial, has_scores=best is not None)
            usage = self.state.counts.total_usage
            events = [TrialFinished(shown, best is shown, usage)]
        if best is not None and (before is None or best.number != before.number):
            events.append(ChampionFound(best, before))
        return [*events, BudgetUsed(self.state.caps())]

    def _observe(self, trial: Trial) -> None:
        """Let state, search, proposer and model observe a trial."""
        self.state.observe(trial)
        self._parts.search.observe(trial)
        self._parts.proposer.observe(trial)
        if isinstance(self._parts.model, Ensemble):
            self._parts.model.observe(trial)

    # The life of the run.

    async def run(self) -> Result:
        """Go on until the run is over, and return what it found.

        A store or sandbox that fails ends the run with its best so far. Raises CancelledError
        when the caller is cancelled; what is in flight may then go on for a few seconds.
        """
        try:
            await self.start()
            await self._score_anew()
            reason = await self._fill()
            await self._test()
        except (StoreError, SandboxError) as error:
            reason = f"error: {error}"
        except asyncio.CancelledError:
            # A second Ctrl-C, or a kill, may come at any moment from here on.
            with suppress(StoreError):
                await self._store.end(INTERRUPTED)
            await self._drain(DRAIN_SECS)
            await self.aclose()
            await self.end(INTERRUPTED)
            raise
        finally:
            await self.aclose()
        return await self.end(reason)

    async def start(self) -> None:
        """Write that the run goes on, and tell the watchers."""
        before = self._run.steers()
        hints = tuple(steer.text for steer in before if steer.kind == "hint")
        self.state.control = Control(hints=hints)
        if before:
            self._last_steer = before[-1].key
        await self._store.end(None)
        settings = self.state.settings
        self._watchers.notify(
            RunStarted(
                self._run.name,
                settings.task,
                self._run.store.url,
                settings.max_steps,
                settings.budget,
                self.state.by_number(),
                self.state.caps(),
                self.state.counts.total_usage,
                settings.direction,
            )
        )

    async def _score_anew(self) -> None:
        """Score the champion by a changed f, and then whichever is best."""
        old_scores = self.state.settings.old_scores
        if old_scores is None:
            return
        news = self._run.progress(Seen(-1, *old_scores))
        by_present_f = {trial.number for trial in news.finished}
        by_present_f |= {again.trial for again in news.again}
        self.state.distrust(set(self.state.trials) - by_present_f)
        async for again in self._promotion.anew():
            finished = len(self.state.trials)
            await self._store.score_again(self._shown(again), finished)
            self._watchers.notify(*self._learn(again))

    async def _fill(self) -> str:
        """Keep as many candidates alive as there is room for; return why the run is over."""
        while True:
            await self.look()
            while self.may_begin():
                living = len(self._tasks) - len(self.state.unwritten)
                if not self._slots.has_room(living):
                    break
                self.begin()
                await asyncio.sleep(0)  # it begins, and counts
            stop = self.state.why_stop()
            if stop is not None and stop.drain_secs < math.inf:
                await self._drain(stop.drain_secs)
                return stop.reason
            is_idle = not self._tasks and not self._ended
            if is_idle and not self.state.control.paused:
                if stop is not None:
                    return stop.reason
                return "nothing left to do"
            await self._wait()

    def may_begin(self) -> bool:
        """Whether another candidate may begin: no cap would be overrun."""
        return self.state.may_begin(waiting=bool(self._left))

    def begin(self) -> asyncio.Task[None]:
        """Begin the next candidate, first those that an earlier session left; return its task."""
        left = None
        if self._left:
            left = self._left.popleft()
        task = asyncio.create_task(self.live(left))
        self._tasks.add(task)
        task.add_done_callback(self._end_of)
        return task

    def _end_of(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.append(task)
        self._wake()

    def _wake(self) -> None:
        """Let the run look whether another candidate may begin."""
        if self._any_ended is not None and not self._any_ended.done():
            self._any_ended.set_result(None)

    async def _wait(self) -> None:
        """Wait until a candidate is done, or it is time to look at the clock or the store.

        Raises what ended a candidate that did not live to its end, such as a StoreError.
        """
        if not self._ended:
            # asyncio.wait and not wait_for: that one, in Python 3.11, loses a cancellation (Ctrl-C)
            # which comes in the same moment as what is waited for.
            self._any_ended = asyncio.get_running_loop().create_future()
            patience_secs = min(_POLL_SECS, self.state.seconds_left())
            await asyncio.wait([self._any_ended], timeout=patience_secs)
        ended, self._ended = self._ended, []
        for task in ended:
            task.result()

    async def look(self) -> None:
        """Read the control commands of watchers, at most every quarter of a second.

        Hints last for the whole run; a stop or a pause is of the session in which it was given.
        """
        if time.monotonic() - self._looked_at < _POLL_SECS:
            return
        steers = await asyncio.to_thread(self._run.steers, self._last_steer)
        control = self.state.control
        for steer in steers:
            self._last_steer = steer.key
            _log.info("control command: %s %s", steer.kind, steer.text)
            if steer.kind == "hint":
                control.hints = (*control.hints, steer.text)
            else:
                if steer.kind == "stop":
                    control.stopped = f"stopped by {steer.text or 'you'}"
                control.paused = steer.kind == "pause"
        self._looked_at = time.monotonic()

    async def _drain(self, seconds: float) -> None:
        """Begin nothing more, and give what is in flight so long to end."""
        self._is_draining = True
        if not self._tasks:
            return
        _log.info(
            "waiting up to %g s for %d trials in flight", seconds, len(self._tasks)
        )
        done, _ = await asyncio.wait(self._tasks, timeout=seconds)
        for task in done:
            if not task.cancelled() and task.exception() is not None:
                _log.error(
                    "a trial ended while the run was being stopped: %s",
                    task.exception(),
                )

    async def _test(self) -> None:
        """Score x0 and the champion on the test examples, which nobody has seen yet."""
        examples = self._parts.judging.examples
        if examples is None or examples.test is None:
            return
        for trial in self.state.untested(self._run.test_scores):
            tested = replace(trial, evaluation=await self._judge.test(trial))
            score = self._shown(tested).score
            if score is not None:
                scores = {**self._run.test_scores, trial.number: score}
                await self._store.test(scores)

    async def aclose(self) -> None:
        """End what is in flight, and the connections of the model."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        # Those that ended and were not looked at, too: an error of theirs must not be logged later.
        await asyncio.gather(*tasks, *self._ended, return_exceptions=True)
        await self._parts.aclose()

    async def end(self, reason: str) -> Result:
        """Write why the run is over, and return its result; a store that fails is logged."""
        try:
            await self._store.end(reason)
        except StoreError as error:
            _log.error("the end of the run was not written: %s", error)
        result = self.result(reason)
        self._watchers.notify(RunEnded(result, self.state.caps()))
        return result

    def result(self, reason: str) -> Result:
        """Return what was found so far and is on disk."""
        return result_of(self._run, self.state, reason)
