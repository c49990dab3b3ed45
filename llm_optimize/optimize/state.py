"""The state of a run: pure and synchronous, without store, model or watchers.

The stored trials are the only state of a run. `RunState` is what they say together: it is filled
by observing them in their order, in a resumed run exactly as in the run that wrote them.
"""

from __future__ import annotations

import math
import time
from collections.abc import (
    Callable,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

from ..errors import ModelError, ModelUnavailable, NothingToPropose
from ..propose.language.protected import check_change
from ..records import Cap, Counts, Evaluation, Plan, Proposal, Status, Trial, X, rank
from ..settings import RunSettings
from ..stop import Progress, Rule
from .fail_fast import FailFast

_MAX_SILENCES = 3  # consecutive ones, after which the model is taken to be gone
_MAX_AHEAD = 4  # model slots a worker, at the most
_PAST_WEIGHT = 0.8  # of the mean times so far; the newest one has the rest
DRAIN_SECS = 5.0  # how long what is in flight may go on once a run is to end


@dataclass(frozen=True)
class Stop:
    """Why a run is over."""

    reason: str
    drain_secs: float  # for what is in flight; infinity: until it is done


@dataclass
class Control:
    """The commands that watchers of the run have given."""

    stopped: str = ""  # why the run ends, where it does
    paused: bool = False
    hints: tuple[str, ...] = ()  # for the model, in the order in which they were given


class Silence:
    """Consecutive failures of a model to answer.

    An endpoint that hangs once fails all the calls that are in flight, each at its own deadline.
    They are one event: a failed call counts only when it began after the last failure was noticed;
    a call that was in flight by then says nothing new. Any reply resets the count. Times are those
    of a monotonic clock.

    Args:
        most: consecutive silences after which the model is taken to be gone.
    """

    def __init__(self, most: int = _MAX_SILENCES) -> None:
        self._most = most
        self._count = 0
        self._noticed_at = float("-inf")
        self._in_flight: dict[Hashable, float] = {}

    @property
    def lasting(self) -> bool:
        """Whether the model is taken to be gone."""
        return self._count >= self._most

    def begun(self, call: Hashable, now: float) -> None:
        """Note that a call, or a series of calls for one trial, begins."""
        self._in_flight[call] = now

    def failed(self, call: Hashable, now: float) -> None:
        """Note that it ended without a reply."""
        begun_at = self._in_flight.pop(call, now)
        if begun_at >= self._noticed_at:
            self._count += 1
            self._noticed_at = now

    def ended(self, call: Hashable) -> None:
        """Note that it ended otherwise."""
        self._in_flight.pop(call, None)

    def broken(self) -> None:
        """Note a reply."""
        self._count = 0


class RunState:
    """The trials of a run, its champion, what was used of each cap, and what is in flight.

    Args:
        settings: of the run.
        rule: a further rule that ends the run; None: there is none.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        settings: RunSettings,
        rule: Rule | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.trials: dict[int, Trial] = {}  # finished ones, as they are known last
        self.shown: dict[int, Trial] = {}  # the same, as the user sees them
        self.counts = Counts(len(settings.x0))
        self.error: ModelError | NothingToPropose | None = None  # that ends the run
        self._error_drain_secs = DRAIN_SECS
        self.control = Control()
        self.in_flight: dict[int, Plan] = {}
        self.unwritten: set[int] = set()  # finished trials whose row is being written
        # Whether trials begin before x0 is scored, which they are then built on.
        self.is_eager = False
        self.former: set[int] = set()  # trials whose score is of an f before it changed
        self._rule = rule
        self._clock = clock
        self._begun_at = clock()
        self._next_number = 0
        self._finishing = 0  # trials that have a place in the order of finishing
        self.fail_fast = FailFast(settings.catch)
        self._silence = Silence()
        self._first_with: dict[str, int] = {}  # key of x -> the first trial that has it

    # Trials.

    @property
    def champion(self) -> Trial | None:
        """The best trial so far."""
        return self.counts.champion

    @property
    def best(self) -> Trial | None:
        """The best trial so far, as the user sees it."""
        if self.champion is None:
            return None
        return self.shown[self.champion.number]

    def new_number(self) -> int:
        """Return the number of the next trial."""
        self._next_number += 1
        return self._next_number - 1

    def begin(self, number: int, plan: Plan) -> None:
        """Count a trial among those in flight."""
        self.in_flight[number] = plan
        self._silence.begun(number, self._clock())
        self._next_number = max(self._next_number, number + 1)

    def abandon(self, number: int) -> None:
        """Forget that a trial is in flight; it waits in the store for another try."""
        del self.in_flight[number]

    def is_first(self, number: int) -> bool:
        """Whether the trial of this number is one of x0."""
        return self.counts.is_first(number)

    def open_x0(self) -> Trial | None:
        """Return the first x0 whose score is not known yet; None where all are."""
        for number, x in enumerate(self.settings.x0):
            if number not in self.trials:
                return Trial(number, Proposal(x, "x0"), Evaluation.open())
        return None

    def place(self) -> int:
        """Return the next place in the order of finishing, from 1."""
        self._finishing += 1
        return self._finishing

    def observe(self, trial: Trial) -> None:
        """Learn a finished trial; one that is known already was scored again, and is replaced."""
        known = self.trials.get(trial.number)
        self.trials[trial.number] = trial
        self.shown[trial.number] = self.settings.direction.trial(trial)
        self.former.discard(trial.number)
        self.in_flight.pop(trial.number, None)
        self._silence.ended(trial.number)
        self._next_number = max(self._next_number, trial.number + 1)
        self._finishing = max(self._finishing, len(self.trials))
        self.counts.observe(trial, known, self.trials.values())
        if trial.x is not None:
            self._first_with.setdefault(trial.key, trial.number)

    def distrust(self, numbers: Iterable[int]) -> None:
        """Learn that the scores of some trials are of a former f: their x may be scored again."""
        self.former = set(numbers)
        self._first_with = {}
        for number, trial in self.trials.items():
            if trial.x is not None and number not in self.former:
                self._first_with.setdefault(trial.key, number)

    def beats_champion(self, trial: Trial) -> bool:
        """Whether a trial that is not finished yet has a higher score than the champion."""
        champion = self.champion
        if champion is None or champion.score is None or trial.score is None:
            return False
        return trial.score > champion.score

    def rng(self, purpose: str, number: int) -> Random:
        """Return a random generator for one purpose in one trial.

        It depends on nothing else, so that a resumed run draws the same numbers.
        """
        return Random(f"{self.settings.seed}/{purpose}/{number}")

    def scoring_seed(self, number: int) -> int:
        """Return the seed of a trial's scoring: the same for the same run seed and trial."""
        return self.rng("score", number).getrandbits(32)

    def settled(self, trial: Trial) -> Evaluation | None:
        """Return the evaluation of a trial that f need not score; None where it must.

        A trial without an x is invalid, and so is a change outside of the EVOLVE-BLOCK regions,
        by any author. The x of an earlier trial has the score of that one.
        """
        if trial.x is None:
            return Evaluation(Status.INVALID, None, "", scorings=0)
        problem = self._change_outside(trial, trial.x)
        if problem is not None:
            return Evaluation(Status.INVALID, None, problem, scorings=0)
        first = self._first_with.setdefault(trial.key, trial.number)
        if first == trial.number:
            return None
        known = self.trials.get(first)
        feedback = f"the same x as trial {first}, which is being scored"
        if known is None:
            return Evaluation(Status.DUPLICATE, None, feedback, scorings=0)
        feedback = f"the same x as trial {first}: {known.feedback}"
        return Evaluation(Status.DUPLICATE, known.score, feedback, scorings=0)

    def _change_outside(self, trial: Trial, x: X) -> str | None:
        """Return what an x changed outside of its EVOLVE-BLOCK regions; None where nothing.

        It is compared with the trial that it was built on; without one, with the nearest x0.
        """
        if self.is_first(trial.number):
            return None
        if trial.parent is not None:
            parent = self.trials.get(trial.parent)
            if parent is not None and parent.x is not None:
                return check_change(parent.x, x)
        problem = None
        for x0 in self.settings.x0:
            outside = check_change(x0, x)
            if outside is None:
                return None
            problem = problem or outside
        return problem

    def untested(self, tested: Mapping[int, float]) -> list[Trial]:
        """Return the trials whose test scores are asked for at the end: x0 and the champion."""
        found: dict[int, Trial] = {}
        first = self.trials.get(0)
        if first is not None and first.scored:
            found[0] = first
        if self.champion is not None:
            found[self.champion.number] = self.champion
        return [trial for trial in found.values() if trial.number not in tested]

    def by_number(self) -> tuple[Trial, ...]:
        """Return the trials on disk in the order of their numbers, as the user sees them."""
        numbers = sorted(self.shown.keys() - self.unwritten)
        return tuple(self.shown[number] for number in numbers)

    # Replies.

    def observe_reply(self) -> None:
        """Learn that the model answers."""
        self._silence.broken()

    def observe_silence(
        self, number: int, error: ModelError | NothingToPropose
    ) -> None:
        """Learn that a trial got no x: consecutive silences end the run, other errors at once.

        The first error is the reason; calls in flight may fail after it.
        """
        self._silence.failed(number, self._clock())
        if isinstance(error, ModelUnavailable) and not self._silence.lasting:
            return
        if self.error is None:
            self.error = error

    def refuse(self, error: ModelError) -> None:
        """Learn that no model call can succeed: nothing in flight can be of use any more."""
        if self.error is None:
            self.error = error
            self._error_drain_secs = 0.0

    # The end.

    def seconds(self) -> float:
        """Return how long this session has lasted."""
        return self._clock() - self._begun_at

    def seconds_left(self) -> float:
        """Return how long the run may go on; infinity without such a cap."""
        cap = self.settings.budget.seconds
        if cap is None:
            return math.inf
        return max(0.0, cap - self.seconds())

    def caps(self) -> tuple[Cap, ...]:
        """Return each cap of the run and what is used of it; steps are the trials beyond x0."""
        settings = self.settings
        return self.counts.caps(settings.max_steps, settings.budget, self.seconds())

    def why_stop(self) -> Stop | None:
        """Return why the run is over; None while it is not."""
        if isinstance(self.error, NothingToPropose):
            return Stop(f"nothing left to propose: {self.error}", DRAIN_SECS)
        if self.error is not None:
            return Stop(f"error: {self.error}", self._error_drain_secs)
        if self.control.stopped:
            return Stop(self.control.stopped, DRAIN_SECS)
        if self.fail_fast.reason:
            return Stop(self.fail_fast.reason, DRAIN_SECS)
        if self._is_goal_reached():
            return Stop("stop_score", DRAIN_SECS)
        if self._rule is not None:
            reason = self._rule.why(self._progress())
            if reason is not None:
                return Stop(f"stop: {reason}", DRAIN_SECS)
        if self.seconds_left() == 0.0:
            return Stop("budget: seconds", 0.0)
        has_x0 = self._has_x0()
        for cap in self.caps():
            # x0 is scored first, also with max_steps=0.
            if cap.is_reached() and (has_x0 or cap.name != "max_steps"):
                return Stop(cap.stop_reason, math.inf)
        return None

    def _has_x0(self) -> bool:
        """Whether each x0 is finished."""
        return all(number in self.trials for number in range(len(self.settings.x0)))

    def _is_goal_reached(self) -> bool:
        goal = self.settings.stop_score
        if goal is None or self.champion is None:
            return False
        return rank(self.champion)[1] >= self.settings.direction.turned(goal)

    def _progress(self) -> Progress:
        return Progress(
            tuple(self.shown.values()),
            self.best,
            self.counts.total_usage,
            self.seconds(),
            self.counts.scorings,
            self.counts.stale_steps,
            self.settings.direction,
        )

    def may_begin(self, waiting: bool = False) -> bool:
        """Whether another trial may begin: with those in flight no cap would be overrun.

        `waiting` says that an earlier session left trials unfinished; these go first. A new trial
        that is not one of x0 begins only when every x0 has been scored.
        """
        if self.control.paused or self.why_stop() is not None:
            return False
        if waiting or self.is_first(self._next_number):
            return not self._is_full("scorings")
        if not self.is_eager and not self._has_x0():
            return False
        return not self._is_full("scorings", "max_steps")

    def _is_full(self, *names: str) -> bool:
        """Whether a cap would be reached by what is in flight."""
        steps = [number for number in self.in_flight if not self.is_first(number)]
        in_flight = {"max_steps": len(steps), "scorings": len(self.in_flight)}
        for cap in self.caps():
            if cap.name in names and cap.is_reached(in_flight[cap.name]):
                return True
        return False


def with_hints(plan: Plan, hints: Sequence[str]) -> Plan:
    """Return the plan with further hints for the model, each in a line."""
    lines = [plan.hint, *hints]
    return replace(plan, hint="\n".join(line for line in lines if line))


class Slots:
    """The number of candidates that may live concurrently.

    It adapts to how long writing and scoring take. With one worker and no `model_slots`, nothing is
    asked before the last score is known, so that a run with a seed repeats exactly.

    Args:
        workers: concurrent scorings.
        model_slots: candidates that are written concurrently; None adapts.
    """

    def __init__(self, workers: int, model_slots: int | None) -> None:
        self._workers = workers
        self._model_slots = model_slots
        self._writing = 0
        self._reply_secs = 0.0  # means; 0 before the first
        self._scoring_secs = 0.0

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Count a candidate among those that are being written."""
        self._writing += 1
        try:
            yield
        finally:
            self._writing -= 1

    def written(self, seconds: float) -> None:
        """Learn how long it took to write a candidate."""
        self._reply_secs = _running_mean(self._reply_secs, seconds)

    def scored(self, seconds: float) -> None:
        """Learn how long a scoring took."""
        self._scoring_secs = _running_mean(self._scoring_secs, seconds)

    def has_room(self, living: int) -> bool:
        """Whether another candidate may begin beside those that live already."""
        slots, ahead = self._limits()
        if self._writing >= slots:
            return False
        return living < self._workers + ahead

    def _limits(self) -> tuple[int, int]:
        """Return how many may be written concurrently, and live beside those in scoring."""
        workers = self._workers
        if self._model_slots is not None:
            if self._model_slots == workers == 1:
                return 1, 0
            return self._model_slots, self._model_slots
        if workers == 1:
            return 1, 0
        most = _MAX_AHEAD * workers
        ratio = 1.0  # of a reply's time to a scoring's, until both are known
        if self._reply_secs and self._scoring_secs:
            ratio = self._reply_secs / self._scoring_secs
        needed = math.ceil(workers * ratio)
        slots = needed
        if needed > workers:
            slots = max(needed, workers + 2)
        slots = max(slots, workers)
        return min(slots, most), min(needed, most)


def _running_mean(old: float, new: float) -> float:
    """Return the exponentially weighted mean; the first value where there is none yet."""
    if not old:
        return new
    return _PAST_WEIGHT * old + (1 - _PAST_WEIGHT) * new
