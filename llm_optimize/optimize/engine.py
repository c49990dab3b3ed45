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
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial

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
from ..propose.language.protected import check_change
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
    Status,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Watcher,
    usage_of,
)
from ..store import Pending, Run
from ..watch import report, screen
from .build import Judge, Parts
from .calls import ModelCalls, Place
from .state import DRAIN_SECS, RunState, Slots, Wishes, with_hints

_log = logging.getLogger("llm_optimize")
INTERRUPTED = "interrupted"  # why a run ended
_LESSON_INDEX = (
    1000  # of the call for a lesson: after all that a proposer makes for a trial
)
_POLL_SECS = 0.25  # between two looks at the store for what watchers want


class Watchers:
    """Those who are told of a run."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        """Take any callables."""
        self._watchers = list(watchers)

    def notify(self, event: Event) -> None:
        """Tell all of them."""
        for watcher in list(self._watchers):
            try:
                watcher(event)
            except Exception:  # a watcher never breaks a run
                name = getattr(watcher, "__qualname__", type(watcher).__qualname__)
                _log.exception(
                    "the callback %s failed at %s and is switched off",
                    name,
                    type(event).__name__,
                )
                self._watchers.remove(watcher)


@contextmanager
def watching(verbose: bool, callbacks: Sequence[Watcher]) -> Iterator[Watchers]:
    """Yield the watchers of a run; the terminal is left as it was, whatever happens."""
    if not verbose:
        yield Watchers(callbacks)
        return
    with closing(screen()) as shown:
        yield Watchers([shown, *callbacks])


class Engine:
    """One run: what is known of it, and how its candidates live.

    Args:
        run: held for writing.
        parts: search, proposer, model and the rest.
        judge: scores trials.
        notify: tells the watchers an event.
        recorded: the replies of the run that is replayed; None where none is.
    """

    def __init__(
        self,
        run: Run,
        parts: Parts,
        judge: Judge,
        notify: Callable[[Event], None],
        recorded: Mapping[Place, Reply] | None = None,
    ) -> None:
        self.state = RunState(parts.settings, parts.stop)
        self._run = run
        self._parts = parts
        self._judge = judge
        self._notify = notify
        self._slots = Slots(parts.settings.workers, parts.settings.model_slots)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended: list[asyncio.Task[None]] = []  # and not looked at yet
        self._any_ended: asyncio.Future[None] | None = (
            None  # while somebody waits for it
        )
        self._promotion = asyncio.Lock()  # one challenger at a time
        self._is_draining = False
        self._goes_on = parts.goes_on_after_scoring
        for trial in run.history():
            self._observe(trial)
        self._left = deque(run.pending())
        stored = self._take_over()
        self._last_steer = 0
        self._looked_at = -math.inf
        self._store = run.writer()
        self._calls = ModelCalls(
            parts.model, self.state, self._store, notify, stored, recorded
        )

    def _take_over(self) -> dict[Place, Reply]:
        """Count what earlier sessions used; return their replies to trials that are not finished."""
        if not self.state.trials and not self._left:
            return {}
        stored = self._run.unused_replies()
        inherited, used = usage_of(self.state.trials.values(), self._run.last_inherited)
        used = sum((reply.usage for reply in stored.values()), used)
        self.state.counts.take_over(inherited, used, self._run.answered_calls())
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
        # Rows are written in the order of these calls. Nothing is paid for a plan, so nobody waits
        # for its row alone: the request, which is awaited before it is sent, comes after it.
        written = [] if left else [self._store.plan(number, plan)]
        with self._slots.writing():
            self._notify(
                TrialStarted(number, plan.parent.number if plan.parent else None)
            )
            try:
                proposal = step.proposal or await self._propose(number, plan)
            except (ModelError, NothingToPropose) as error:
                return self._give_up(step, error)
        if proposal.x is not None and step.proposal is None:
            written.append(self._store.propose(number, proposal))
        await asyncio.gather(*self._calls.unwritten(number), *written)
        trial = self._opened(step, proposal)

        evaluation = None if step.evaluation else await self._known(trial)
        if evaluation is not None:
            trial = replace(trial, evaluation=evaluation)
        elif self._is_draining:
            return None
        else:
            trial = await self._scored(trial, step)
            if self._goes_on:
                await self._store.judge(trial)
            async for again in self._scored_again(trial):
                if again.number == number:
                    trial = again
                    await self._store.judge(trial)
                else:
                    await self._store.score_again(again, len(self.state.trials))
                    self._learn(again)
            trial = await self._reflected(trial, plan.parent)

        trial = replace(trial, finished_at=time.time())
        finished = self._store.finish(trial, self.state.place())
        await asyncio.gather(*self._calls.unwritten(number), finished)
        return self._learn(trial)

    def _plan(self) -> Pending:
        """Return a new trial and what it builds on; the first trials are x0."""
        state = self.state
        number = state.new_number()
        if state.is_first(number):
            return Pending(number, Plan(parent=None), None)
        pending = [
            plan.parent.number for plan in state.in_flight.values() if plan.parent
        ]
        plan = self._parts.search.ask(state.rng("plan", number), pending)
        return Pending(number, with_hints(plan, state.wishes.hints), None)

    async def _propose(self, number: int, plan: Plan) -> Proposal:
        """Return the x of a trial, or why there is none. Raises ModelError where no model answers."""
        if self.state.is_first(number):
            decision = {"who": "x0"} if isinstance(self._parts.proposer, Gate) else {}
            return Proposal(self.state.settings.x0[number], "x0", decision=decision)
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
        if parent is None and step.plan.parent is not None:
            parent = step.plan.parent.number
        seed = self.state.scoring_seed(step.number)
        return Trial(
            step.number, proposal, step.evaluation or Evaluation.open(), parent, seed
        )

    async def _known(self, trial: Trial) -> Evaluation | None:
        """Return the evaluation of a trial that f need not score; None where it must."""
        if trial.x is None:
            return Evaluation(Status.INVALID, None, "", scorings=0)
        problem = self._change_outside(trial)
        if problem is not None:
            return Evaluation(Status.INVALID, None, problem, scorings=0)
        first = self.state.same_as(trial)
        if first is not None:
            return self.state.duplicate(first)
        version = self._run.func_version
        if version is None:
            return None
        known = await asyncio.to_thread(self._run.store.known_score, version, trial.key)
        return None if known is None else replace(known.evaluation, scorings=0)

    def _change_outside(self, trial: Trial) -> str | None:
        """Return what an x changed outside of its EVOLVE-BLOCK regions, whoever wrote it.

        It is held against the trial it was built on; without one, against the x0 it is nearest to.
        """
        if trial.x is None or self.state.is_first(trial.number):
            return None
        parent = None if trial.parent is None else self.state.trials.get(trial.parent)
        if parent is not None and parent.x is not None:
            return check_change(parent.x, trial.x)
        problems = [check_change(x, trial.x) for x in self.state.settings.x0] or [None]
        return None if None in problems else problems[0]

    async def _scored(self, trial: Trial, step: Pending) -> Trial:
        """Return the trial with what f says of it, or said of it in an earlier session."""
        if step.evaluation is not None:
            return trial
        self._notify(TrialProposed(trial.number, trial.source))
        evaluation = await self._judge.score(trial, step.plan.parent)
        self._slots.scored(evaluation.seconds)
        return replace(trial, evaluation=evaluation)

    async def _scored_again(self, trial: Trial) -> AsyncIterator[Trial]:
        """Yield each trial that a noisy f scores again before this one may become champion.

        First the challenger, then the champion it would beat; then whoever is best while that one
        lacks scorings. The caller writes and learns each before the next is looked for.
        """
        repeats = self._parts.judging.repeats
        if repeats is None or not repeats.champion:
            return
        async with self._promotion:
            champion = self.state.champion
            if champion is None or not self.state.beats_champion(trial):
                return
            trial, again = await asyncio.gather(self._full(trial), self._full(champion))
            yield trial
            if again is not champion:
                yield again
            while (best := self.state.champion) is not None:
                again = await self._full(best)
                if again is best:
                    return
                yield again

    async def _full(self, trial: Trial) -> Trial:
        """Return a trial after as many scorings as a champion needs; the same where it had them."""
        repeats = self._parts.judging.repeats
        if repeats is None or trial.x is None:
            return trial
        seeds = repeats.seeds(self.state.scoring_seed(trial.number), trial.evaluation)
        if not seeds:
            return trial
        return replace(trial, evaluation=await self._judge.more(trial, seeds))

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

    def _learn(self, trial: Trial) -> None:
        """Learn a trial that is on disk, and tell the watchers."""
        before = self.state.champion
        is_new = trial.number not in self.state.trials
        self._observe(trial)
        champion = self.state.champion
        if is_new:
            self._notify(
                TrialFinished(trial, champion is trial, self.state.counts.total_usage)
            )
        else:
            self._notify(ScoredAgain(trial))
        if champion is not None and (
            before is None or champion.number != before.number
        ):
            self._notify(ChampionFound(champion, before))
        self._notify(BudgetUsed(self.state.caps()))

    def _observe(self, trial: Trial) -> None:
        """Let all who learn from trials learn from this one; on resume from each stored one, in order."""
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
            reason = await self._fill()
            await self._test()
        except (StoreError, SandboxError) as error:
            reason = f"error: {error}"
        except asyncio.CancelledError:
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
        hints = [steer.text for steer in before if steer.kind == "hint"]
        self.state.wishes = Wishes(hints=tuple(hints))
        self._last_steer = before[-1].key if before else 0
        await self._store.end(None)
        settings = self.state.settings
        self._notify(
            RunStarted(
                self._run.name,
                settings.task,
                self._run.store.url,
                settings.max_steps,
                settings.budget,
                self.state.by_number(),
                self.state.caps(),
                self.state.counts.total_usage,
            )
        )

    async def _fill(self) -> str:
        """Keep as many candidates alive as there is room for; return why the run is over."""
        while True:
            await self.look()
            while self._slots.has_room(len(self._tasks)) and self.may_begin():
                self.begin()
                await asyncio.sleep(0)  # it begins, and counts
            stop = self.state.why_stop()
            if stop is not None and stop.drain_secs < math.inf:
                await self._drain(stop.drain_secs)
                return stop.reason
            if not self._tasks and not self._ended and not self.state.wishes.paused:
                return stop.reason if stop else "nothing left to do"
            await self._wait()

    def may_begin(self) -> bool:
        """Whether another candidate may begin."""
        return self.state.may_begin(waiting=bool(self._left))

    def begin(self) -> asyncio.Task[None]:
        """Begin the next candidate, first those that an earlier session left; return its task."""
        left = self._left.popleft() if self._left else None
        task = asyncio.create_task(self.live(left))
        self._tasks.add(task)
        task.add_done_callback(self._end_of)
        return task

    def _end_of(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._ended.append(task)
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
        """Read what watchers want, not more often than every quarter of a second.

        Hints last for the whole run; a stop or a pause is of the session in which it was given.
        """
        if time.monotonic() - self._looked_at < _POLL_SECS:
            return
        steers = await asyncio.to_thread(self._run.steers, self._last_steer)
        wishes = self.state.wishes
        for steer in steers:
            self._last_steer = steer.key
            _log.info("a watcher wants: %s %s", steer.kind, steer.text)
            if steer.kind == "hint":
                wishes.hints = (*wishes.hints, steer.text)
            else:
                wishes.stopped = wishes.stopped or steer.kind == "stop"
                wishes.paused = steer.kind == "pause"
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
            evaluation = await self._judge.test(trial)
            if evaluation.score is not None:
                scores = {**self._run.test_scores, trial.number: evaluation.score}
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
        """Write why the run is over, and return what it found; a store that fails is only logged."""
        try:
            await self._store.end(reason)
        except StoreError as error:
            _log.error("the end of the run was not written: %s", error)
        result = self.result(reason)
        self._notify(RunEnded(result, self.state.caps()))
        return result

    def result(self, reason: str) -> Result:
        """Return what was found so far."""
        return Result(
            self._run.name,
            self.state.by_number(),
            self.state.counts.total_usage,
            reason,
            self._run.test_scores,
            store=self._run.store.url,
            write_report=partial(
                report.write_stored, self._run.store.url, self._run.name
            ),
        )
