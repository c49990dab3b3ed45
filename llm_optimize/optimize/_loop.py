"""The state of one run and its steps: begin, propose, finish. The store has each step before anybody is told of it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from random import Random

from ..errors import BudgetSpent, ModelError, ModelUnavailable, ScriptExhausted, StoreError
from ..evaluate import Evaluation
from ..llm import Ensemble
from ..propose.gates import Gate
from ..records import (
    BudgetUsed,
    Cap,
    ChampionFound,
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
    Usage,
    X,
    rank,
)
from ..stop import Progress
from ..store import Pending, Run
from ..text import key_of
from ._answers import Answers, Conversation, Place
from ._found import Found
from ._parts import Parts
from ._silence import Silence
from ._spending import Spending
from ._steering import Steering
from ._watchers import Watchers

_log = logging.getLogger("llm_optimize")
STOPPED = "stopped by a watcher"  # why a run ended


class Loop:
    """One run: its trials so far, and how the next ones come about."""

    def __init__(
        self, run: Run, parts: Parts, watchers: Watchers, recorded: Mapping[Place, Reply] | None = None
    ) -> None:
        """Take the parts of a run, and learn again what its store holds; `recorded` are the replies of a replay."""
        self.settings = parts.settings
        self.error: ModelError | None = None  # what ended the run
        self.steering = Steering(run)
        self._run = run
        self._parts = parts
        self._watchers = watchers
        self._trials: dict[int, Trial] = {}  # finished ones, as known last
        self._champion: Trial | None = None
        self._seen: dict[bytes, int] = {}  # key of x -> the first trial with it
        self._flying: dict[int, Plan] = {}
        self._scorings = 0
        self._stale_steps = 0
        self._silence = Silence()
        self._begun_at = time.monotonic()
        for trial in run.history():
            self._learn(trial)
        self._left = deque(run.pending())
        self._next = max([*self._trials, *(pending.number for pending in self._left)], default=-1) + 1
        stored = _stored_replies(run, self._left)
        self._inherited = run.inherited()
        self._spending = Spending(parts.settings.budget, self._paid_before(stored), self._calls_before())
        self._answers = Answers(run, parts.model, self._spending, stored, recorded, watchers.tell, self._heard)

    def _paid_before(self, stored: Mapping[Place, Reply]) -> Usage:
        """Return what earlier sessions of this run used, without what a fork took over from its origin."""
        own = [trial.usage for trial in self._trials.values() if not self._is_inherited(trial)]
        return sum((reply.usage for reply in stored.values()), sum(own, Usage()))

    def _calls_before(self) -> int:
        return self._run.answered_calls() - self._inherited.calls if self._trials or self._left else 0

    def _is_inherited(self, trial: Trial) -> bool:
        return self._run.origin is not None and trial.number <= self._run.origin.trial

    @property
    def usage(self) -> Usage:
        """What all model calls used, those of a fork's origin included."""
        return self._inherited + self._spending.usage

    @property
    def champion(self) -> Trial | None:
        """The best trial so far."""
        return self._champion

    def start(self) -> None:
        """Tell the watchers that the run begins or goes on."""
        self._run.end(None)
        trials = tuple(self._trials[number] for number in sorted(self._trials))
        task, steps, budget = self.settings.task, self.settings.max_steps, self.settings.budget
        self._watchers.tell(RunStarted(self._run.name, task, self._run.store.url, steps, budget, trials))

    # What is next.

    def ready(self) -> bool:
        """Whether another trial may begin now: no cap would be overrun, and there is a score to build on."""
        flying = len(self._flying)
        full = any(
            cap.cap is not None and cap.used + (flying if cap.name in ("max_steps", "scorings") else 0) >= cap.cap
            for cap in self._caps()
        )
        first_scores_missing = self._next >= len(self.settings.x0) and len(self._trials) < len(self.settings.x0)
        begun = bool(self._left) or not first_scores_missing
        return begun and not full and not self.steering.paused and self.why_stop() is None

    def why_stop(self) -> str | None:
        """Return why the run is over; None while it is not."""
        return self.why_stop_now() or next(
            (
                cap.name if cap.name == "max_steps" else f"budget: {cap.name}"
                for cap in self._caps()
                if cap.cap is not None and cap.used >= cap.cap
            ),
            None,
        )

    def why_stop_now(self) -> str | None:
        """Return why nothing in flight is of use any more; None while it is."""
        if self.error is not None:
            return f"error: {self.error}"
        if self.steering.stopped:
            return STOPPED
        goal = self.settings.stop_score
        if goal is not None and self._champion is not None and rank(self._champion)[1] >= goal:
            return "stop_score"
        reason = self._parts.stop.why(self._progress()) if self._parts.stop else None
        return f"stop: {reason}" if reason else None

    def _progress(self) -> Progress:
        trials = tuple(self._trials.values())
        return Progress(trials, self._champion, self.usage, self._seconds(), self._scorings, self._stale_steps)

    def _caps(self) -> list[Cap]:
        """Return each cap, and what is used of it."""
        budget = self.settings.budget
        return [
            Cap("max_steps", len(self._trials), self.settings.max_steps + len(self.settings.x0)),
            Cap("scorings", self._scorings, budget.scorings),
            Cap("seconds", self._seconds(), budget.seconds),
            *(Cap(*cap) for cap in self._spending.caps()),
            Cap("stale_steps", self._stale_steps, budget.stale_steps),
        ]

    def _seconds(self) -> float:
        return time.monotonic() - self._begun_at

    def seconds_left(self) -> float | None:
        """Return how long the run may go on, in seconds; None without such a cap."""
        cap = self.settings.budget.seconds
        return None if cap is None else max(0.0, cap - self._seconds())

    # The steps of one trial.

    def begin(self) -> Pending:
        """Begin the next trial, first those that an earlier session left unfinished."""
        step = self._left.popleft() if self._left else self._plan()
        self._flying[step.number] = step.plan
        self._silence.begun(step.number, time.monotonic())
        self._watchers.tell(TrialStarted(step.number, step.plan.parent.number if step.plan.parent else None))
        return step

    def _plan(self) -> Pending:
        number = self._next
        self._next += 1
        if number < len(self.settings.x0):
            plan = Plan(parent=None)
        else:
            pending = [plan.parent.number for plan in self._flying.values() if plan.parent]
            plan = self._parts.search.ask(self._rng("plan", number), pending)
            hints = [plan.hint, *self.steering.hints]
            plan = replace(plan, hint="\n".join(filter(None, hints)))
        self._run.plan(number, plan)
        return Pending(number, plan, None)

    async def propose(self, step: Pending) -> Trial:
        """Return the trial with its x, to be scored; or finished already when there is nothing to score.

        Raises ModelError when the model did not answer; the trial then waits in the store for a resume.
        """
        trial = self._opened(step, step.proposal or await self._proposal(step))
        if trial.x is None:
            return self.finish(trial)
        first = self._seen.setdefault(_hash(trial.x), step.number)
        if first != step.number:
            return self.finish(self._duplicate(trial, first))
        known = self._known_elsewhere(trial.x)
        if known is not None:
            return self.scored(trial, replace(Evaluation.of_trial(known), scorings=0))
        self._watchers.tell(TrialProposed(step.number, trial.source))
        return trial

    async def _proposal(self, step: Pending) -> Proposal:
        if step.number < len(self.settings.x0):
            decision = {"who": "x0"} if isinstance(self._parts.proposer, Gate) else {}
            proposal = Proposal(self.settings.x0[step.number], "x0", decision=decision)
        else:
            rng = self._rng("propose", step.number)
            try:
                proposal = await self._parts.proposer.propose(step.plan, self.conversation(step.number).ask, rng)
            except ScriptExhausted as error:
                if self._parts.model is not None:
                    raise
                proposal = Proposal(None, "replay", problem=str(error))
        if proposal.x is not None:
            self._run.propose(step.number, proposal)
        return proposal

    def _opened(self, step: Pending, proposal: Proposal) -> Trial:
        planned = step.plan.parent.number if step.plan.parent else None
        return Trial(
            step.number,
            proposal.x,
            Status.INVALID if proposal.x is None else Status.PENDING,
            proposal.source,
            feedback=proposal.problem if proposal.x is None else proposal.note,
            parent=planned if proposal.parent is None else proposal.parent,
            usage=proposal.usage,
            seed=self.seed(step.number),
            scorings=0 if proposal.x is None else 1,
            decision=proposal.decision,
        )

    def _duplicate(self, trial: Trial, first: int) -> Trial:
        known = self._trials.get(first)
        said = f"the same x as trial {first}" + (f": {known.feedback}" if known else ", which is being scored")
        score = known.score if known else None
        return replace(trial, status=Status.DUPLICATE, score=score, feedback=said, scorings=0)

    def _known_elsewhere(self, x: X) -> Trial | None:
        """Return what the same version of f said of x in any run of this store; None when it never did."""
        version = self._run.func_version
        return None if version is None else self._run.store.known_score(version, key_of(x))

    def scored(self, trial: Trial, evaluation: Evaluation) -> Trial:
        """Finish a trial with what f said of its x."""
        return self.finish(with_verdict(trial, evaluation))

    def keep(self, trial: Trial) -> None:
        """Write what f said of x, while there is more to do before the trial is finished."""
        self._run.judge(trial)

    def finish(self, trial: Trial) -> Trial:
        """Write a finished trial, learn from it, tell the watchers."""
        trial = replace(trial, finished_at=time.time())
        self._run.finish(trial, order=len(self._trials) + 1)
        self._flying.pop(trial.number)
        self._silence.ended(trial.number)
        before = self._champion
        self._learn(trial)
        champion = self._champion is not before and self._champion is trial
        self._watchers.tell(TrialFinished(trial, champion, self.usage))
        if champion:
            self._watchers.tell(ChampionFound(trial, before))
        self._watchers.tell(BudgetUsed(tuple(self._caps())))
        return trial

    def scored_again(self, trial: Trial) -> None:
        """Write what further scorings of a finished trial came to, learn it, tell the watchers."""
        self._run.score_again(trial, after=len(self._trials))
        before = self._champion
        self._learn(trial)
        self._watchers.tell(ScoredAgain(trial))
        if before and self._champion and self._champion.number != before.number:
            self._watchers.tell(ChampionFound(self._champion, before))

    def _learn(self, trial: Trial) -> None:
        old = self._trials.get(trial.number)
        self._trials[trial.number] = trial
        self._scorings += trial.scorings - (old.scorings if old else 0)
        if old is None:
            self._stale_steps += trial.number >= len(self.settings.x0)
        if trial.x is not None:
            self._seen.setdefault(_hash(trial.x), trial.number)
        self._crown(trial)
        self._parts.search.tell(trial)
        self._parts.proposer.tell(trial)
        if isinstance(self._parts.model, Ensemble):
            self._parts.model.tell(trial)

    def _crown(self, trial: Trial) -> None:
        champion = self._champion
        if champion is not None and champion.number == trial.number:
            self._champion = max(self._trials.values(), key=rank)  # its score may have fallen below another's
        elif trial.scored and (champion is None or rank(trial) > rank(champion)):
            self._champion = trial
            self._stale_steps = 0

    def _heard(self) -> None:
        """Learn that the model answers: only silence without a break ends a run."""
        self._silence.broken()

    def abandon(self, step: Pending, error: ModelError) -> None:
        """Leave a trial that got no answer unfinished; the run ends when the model is out of reach for good."""
        self._flying.pop(step.number)
        if isinstance(error, BudgetSpent):
            return
        self._silence.failed(step.number, time.monotonic())
        if not isinstance(error, ModelUnavailable) or self._silence.lasting:
            self.error = self.error or error  # the first is the reason; calls in flight may fail after it
            _log.error("the run ends: %s", error)
        else:
            self._left.append(step)
            _log.warning("trial %d is asked again: %s", step.number, error)

    def end(self, stop_reason: str) -> Result:
        """Write why the run is over, and return what it found; a store that cannot be written is only logged."""
        try:
            self._run.end(stop_reason)
        except StoreError as error:
            _log.error("the end of the run was not written: %s", error)
        result = self.result(stop_reason)
        self._watchers.tell(RunEnded(result))
        return result

    def result(self, stop_reason: str) -> Found:
        """Return what was found so far."""
        trials = [self._trials[number] for number in sorted(self._trials)]
        tests, url = self._run.test_scores, self._run.store.url
        return Found(self._run.name, trials, self.usage, stop_reason, tests, store=url)

    def to_test(self) -> list[Trial]:
        """Return the trials whose test scores are asked for at the end: x0 and the best, once each."""
        first = next((trial for trial in self._trials.values() if trial.number == 0 and trial.scored), None)
        both = {trial.number: trial for trial in (first, self._champion) if trial is not None}
        return [trial for trial in both.values() if trial.number not in self._run.test_scores]

    def tested(self, scores: Mapping[int, float]) -> None:
        """Write test scores."""
        self._run.test({**self._run.test_scores, **scores})

    # The model and the dice.

    def conversation(self, number: int, first_index: int = 0) -> Conversation:
        """Return how a part of the run talks to the model for one trial; its calls are counted from `first_index`."""
        return Conversation(self._answers, number, first_index)

    def seed(self, number: int) -> int:
        """Return the seed of one scoring: the same for the same run seed and trial number."""
        return self._rng("score", number).getrandbits(32)

    def _rng(self, purpose: str, number: int) -> Random:
        """Return fresh dice that depend on nothing but their purpose, so that a resumed run throws the same."""
        return Random(f"{self.settings.seed}/{purpose}/{number}")


def _stored_replies(run: Run, left: deque[Pending]) -> dict[Place, Reply]:
    """Return the replies that had arrived for the trials that are left to be finished."""
    calls = [call for step in left for call in run.calls(step.number)]
    return {(call.trial, call.index): call.reply for call in reversed(calls) if call.reply}


def with_verdict(trial: Trial, evaluation: Evaluation) -> Trial:
    """Return a trial with what f said; its feedback begins with what was mended in the reply."""
    note = trial.feedback if trial.status is Status.PENDING else ""
    judged = evaluation.onto(trial)
    return replace(judged, feedback="\n".join(filter(None, [note, judged.feedback])))


def _hash(x: X) -> bytes:
    """Return 16 bytes that stand for x: thousands of long candidates need not be kept twice."""
    return hashlib.blake2b(key_of(x).encode("utf-8", "surrogatepass"), digest_size=16).digest()
