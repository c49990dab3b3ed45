"""The state of one run and its steps: begin, propose, finish. The store has each step before anybody is told of it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from random import Random

from ..errors import BudgetSpent, ModelError, ModelUnavailable
from ..evaluate import Evaluation
from ..propose.gates import Gate
from ..records import (
    Event,
    Message,
    Plan,
    Proposal,
    Reply,
    Result,
    RunEnded,
    RunStarted,
    Status,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
    Watcher,
    X,
    rank,
)
from ..store import Pending, Run
from ..text import key_of
from ._parts import Parts

_log = logging.getLogger("llm_optimize")
_SILENT_CALLS = 3  # calls in a row without an answer, after which the run ends


class Loop:
    """One run: its trials so far, and how the next ones come about."""

    def __init__(self, run: Run, parts: Parts, watchers: Sequence[Watcher] = ()) -> None:
        """Take the parts of a run, and learn again what its store holds."""
        self.settings = parts.settings
        self.usage = Usage()
        self.error: ModelError | None = None  # what ended the run
        self._run = run
        self._search = parts.search
        self._proposer = parts.proposer
        self._model = parts.model
        self._watchers = list(watchers)
        self._trials: dict[int, Trial] = {}  # finished ones
        self._champion: Trial | None = None
        self._seen: dict[bytes, int] = {}  # key of x -> the first trial with it
        self._flying: dict[int, Plan] = {}
        self._scorings = 0
        self._stale_steps = 0
        self._silent_calls = 0
        self._begun_at = time.monotonic()
        for trial in run.trials():
            self.usage += trial.usage
            self._learn(trial)
        self._left = deque(run.pending())
        self._next = max([*self._trials, *(pending.number for pending in self._left)], default=-1) + 1
        self._answered_before = {pending.number for pending in self._left}
        self._calls = run.answered_calls() if self._trials else 0

    def start(self) -> None:
        """Tell the watchers that the run begins or goes on."""
        self._run.end(None)
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        settings = self.settings
        self._announce(
            RunStarted(self._run.name, settings.task, self._run.store.url, settings.max_steps, settings.budget, trials)
        )

    # What is next.

    def ready(self) -> bool:
        """Whether another trial may begin now: no cap would be overrun, and there is a score to build on."""
        full = any(cap is not None and used + flying >= cap for _, cap, used, flying in self._caps())
        first_scores_missing = self._next >= len(self.settings.x0) and len(self._trials) < len(self.settings.x0)
        return self.why_stop() is None and not full and (bool(self._left) or not first_scores_missing)

    def why_stop(self) -> str | None:
        """Return why the run is over; None while it is not."""
        if self.error is not None:
            return f"error: {self.error}"
        goal = self.settings.stop_score
        if goal is not None and self._champion is not None and rank(self._champion)[1] >= goal:
            return "stop_score"
        return next((name for name, cap, used, _ in self._caps() if cap is not None and used >= cap), None)

    def _caps(self) -> list[tuple[str, float | None, float, int]]:
        """Return each cap: its name, its value, what is used of it, and what the trials in flight may add."""
        budget, flying = self.settings.budget, len(self._flying)
        return [
            ("max_steps", self.settings.max_steps + len(self.settings.x0), len(self._trials), flying),
            ("budget: scorings", budget.scorings, self._scorings, flying),
            ("budget: seconds", budget.seconds, time.monotonic() - self._begun_at, 0),
            ("budget: calls", budget.calls, self._calls, 0),
            ("budget: tokens", budget.tokens, self.usage.tokens, 0),
            ("budget: stale_steps", budget.stale_steps, self._stale_steps, 0),
        ]

    def seconds_left(self) -> float | None:
        """Return how long the run may go on, in seconds; None without such a cap."""
        cap = self.settings.budget.seconds
        return None if cap is None else max(0.0, cap - (time.monotonic() - self._begun_at))

    # The steps of one trial.

    def begin(self) -> Pending:
        """Begin the next trial, first those that an earlier session left unfinished."""
        step = self._left.popleft() if self._left else self._plan()
        self._flying[step.number] = step.plan
        self._announce(TrialStarted(step.number, step.plan.parent.number if step.plan.parent else None))
        return step

    def _plan(self) -> Pending:
        number = self._next
        self._next += 1
        if number < len(self.settings.x0):
            plan = Plan(parent=None)
        else:
            pending = [plan.parent.number for plan in self._flying.values() if plan.parent]
            plan = self._search.ask(self._rng("plan", number), pending)
        self._run.plan(number, plan)
        return Pending(number, plan, None)

    async def propose(self, step: Pending) -> Trial:
        """Return the trial with its x, to be scored; or finished already when there is nothing to score.

        Raises ModelError when the model did not answer; the trial then waits in the store for a resume.
        """
        if step.proposal is not None:
            self.usage += step.proposal.usage
        proposal = step.proposal or await self._proposal(step)
        trial = self._opened(step, proposal)
        if proposal.x is None:
            return self.finish(replace(trial, status=Status.INVALID, feedback=proposal.problem))
        first = self._seen.setdefault(_hash(proposal.x), step.number)
        if first != step.number:
            return self.finish(self._duplicate(trial, first))
        self._announce(TrialProposed(step.number, proposal.source))
        return trial

    def _opened(self, step: Pending, proposal: Proposal) -> Trial:
        planned = step.plan.parent.number if step.plan.parent else None
        return Trial(
            step.number,
            proposal.x,
            Status.PENDING,
            proposal.source,
            feedback=proposal.note,
            parent=planned if proposal.parent is None else proposal.parent,
            usage=proposal.usage,
            seed=self.seed(step.number),
            decision=proposal.decision,
        )

    async def _proposal(self, step: Pending) -> Proposal:
        if step.number < len(self.settings.x0):
            decision = {"who": "x0"} if isinstance(self._proposer, Gate) else {}
            proposal = Proposal(self.settings.x0[step.number], "x0", decision=decision)
        else:
            rng = self._rng("propose", step.number)
            proposal = await self._proposer.propose(step.plan, _Conversation(self, step.number).ask, rng)
        if proposal.x is not None:
            self._run.propose(step.number, proposal)
        return proposal

    def _duplicate(self, trial: Trial, first: int) -> Trial:
        known = self._trials.get(first)
        said = f"the same x as trial {first}" + (f": {known.feedback}" if known else ", which is being scored")
        score = known.score if known else None
        return replace(trial, status=Status.DUPLICATE, score=score, feedback=said)

    def scored(self, trial: Trial, evaluation: Evaluation) -> Trial:
        """Finish a trial with what f said of its x."""
        return self.finish(
            replace(
                trial,
                status=evaluation.status,
                score=evaluation.score,
                feedback="\n".join(filter(None, [trial.feedback, evaluation.feedback])),
                metrics=evaluation.metrics,
                instances=evaluation.instances,
                output=evaluation.output,
                seconds=evaluation.seconds,
            )
        )

    def finish(self, trial: Trial) -> Trial:
        """Write a finished trial, learn from it, tell the watchers."""
        self._run.finish(trial, order=len(self._trials) + 1)
        self._flying.pop(trial.number)
        self._learn(trial)
        self._announce(TrialFinished(trial, trial is self._champion, self.usage))
        return trial

    def _learn(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._scorings += trial.x is not None and trial.status is not Status.DUPLICATE
        self._stale_steps += trial.number >= len(self.settings.x0)
        if trial.x is not None:
            self._seen.setdefault(_hash(trial.x), trial.number)
        if trial.scored and (self._champion is None or rank(trial) > rank(self._champion)):
            self._champion = trial
            self._stale_steps = 0
        self._search.tell(trial)
        self._proposer.tell(trial)

    def abandon(self, step: Pending, error: ModelError) -> None:
        """Leave a trial that got no answer unfinished; the run ends when the model is out of reach for good."""
        self._flying.pop(step.number)
        if isinstance(error, BudgetSpent):
            return
        self._silent_calls += 1
        if not isinstance(error, ModelUnavailable) or self._silent_calls >= _SILENT_CALLS:
            self.error = self.error or error  # the first is the reason; calls in flight may fail after it
            _log.error("the run ends: %s", error)
        else:
            self._left.append(step)
            _log.warning("trial %d is asked again: %s", step.number, error)

    def end(self, stop_reason: str) -> Result:
        """Write why the run is over, and return what it found."""
        self._run.end(stop_reason)
        result = self.result(stop_reason)
        self._announce(RunEnded(result))
        return result

    def result(self, stop_reason: str) -> Result:
        """Return what was found so far."""
        trials = [self._trials[number] for number in sorted(self._trials)]
        return Result(self._run.name, trials, self.usage, stop_reason)

    # The model, the dice, the watchers.

    async def answer(self, number: int, index: int, messages: Sequence[Message]) -> Reply:
        """Return the model's reply to call `index` of a trial: a stored one, or a new one that is stored first.

        Raises BudgetSpent when no call may be made, and the ModelError of the model.
        """
        reply = self._stored_answer(number, index) or await self._new_answer(number, index, messages)
        self.usage += reply.usage
        self._silent_calls = 0
        return reply

    def _stored_answer(self, number: int, index: int) -> Reply | None:
        if number not in self._answered_before:
            return None
        return next((call.reply for call in self._run.calls(number) if call.index == index and call.reply), None)

    async def _new_answer(self, number: int, index: int, messages: Sequence[Message]) -> Reply:
        if self._model is None:
            raise ModelError("this run has no model: pass model=..., or resume it with the model that it began with")
        cap = self.settings.budget.calls
        if cap is not None and self._calls >= cap:
            raise BudgetSpent(f"all {cap} model calls of the budget are spent")
        self._calls += 1
        key = self._run.sent(number, index, self._model.name, messages)
        try:
            reply = await self._model.reply(messages)
        except ModelError as error:
            self._run.call_failed(key, str(error))
            raise
        self._run.received(key, reply)
        return reply

    def seed(self, number: int) -> int:
        """Return the seed of one scoring: the same for the same run seed and trial number."""
        return self._rng("score", number).getrandbits(32)

    def _rng(self, purpose: str, number: int) -> Random:
        """Return fresh dice that depend on nothing but their purpose, so that a resumed run throws the same."""
        return Random(f"{self.settings.seed}/{purpose}/{number}")

    def _announce(self, event: Event) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(event)
            except Exception:  # a watcher never breaks a run
                name = getattr(watcher, "__qualname__", type(watcher).__qualname__)
                _log.exception("the callback %s failed at %s and is switched off", name, type(event).__name__)
                self._watchers.remove(watcher)


class _Conversation:
    """The calls of one trial, counted from 0."""

    def __init__(self, loop: Loop, number: int) -> None:
        self._loop = loop
        self._number = number
        self._index = -1

    async def ask(self, messages: Sequence[Message]) -> Reply:
        self._index += 1
        return await self._loop.answer(self._number, self._index, messages)


def _hash(x: X) -> bytes:
    """Return 16 bytes that stand for x: thousands of long candidates need not be kept twice."""
    return hashlib.blake2b(key_of(x).encode("utf-8", "surrogatepass"), digest_size=16).digest()
