"""What is known of a run, and why it is over: pure and synchronous, without store, model or watchers.

The stored trials are the only state of a run. `RunState` is what they say together: it is filled
by observing them in their order, in a resumed run exactly as in the run that wrote them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random

from ..errors import ModelError, ModelUnavailable, NothingToPropose
from ..records import Cap, Counts, Evaluation, Plan, Status, Trial, rank
from ..settings import RunSettings
from ..stop import Progress, Rule

_MAX_SILENCES = (
    3  # one after the other without a reply, after which the model is taken to be gone
)
STOPPED = "stopped by a watcher"  # why a run ended
DRAIN_SECS = 5.0  # how long what is in flight may go on once a run is to end
_MAX_AHEAD = 4  # model slots a worker, at the most
_PAST_WEIGHT = 0.8  # of the mean times so far; the newest one has the rest


@dataclass(frozen=True)
class Stop:
    """Why a run is over."""

    reason: str
    drain_secs: (
        float  # how long what is in flight may go on; infinity: until it is done
    )


@dataclass
class Wishes:
    """What people who watch the run have asked for."""

    stopped: bool = False
    paused: bool = False
    hints: tuple[str, ...] = ()  # for the model, in the order in which they were given


class Silence:
    """Counts how often in a row a model fell silent.

    An endpoint that hangs once fails all the calls that are in flight, each at its own deadline. They are one event:
    a failed call opens a new silence only when it was begun after the last one was noticed. A call that was in flight
    by then tells nothing new. Any reply ends the row. Times are a monotonic clock's.
    """

    def __init__(self, most: int = _MAX_SILENCES) -> None:
        """Take how many silences in a row mean that the model is gone."""
        self._most = most
        self._count = 0
        self._noticed_at = float("-inf")
        self._in_flight: dict[Hashable, float] = {}

    @property
    def lasting(self) -> bool:
        """Whether the model is taken to be gone."""
        return self._count >= self._most

    def begun(self, call: Hashable, now: float) -> None:
        """Note that a call, or a row of calls for one thing, begins."""
        self._in_flight[call] = now

    def failed(self, call: Hashable, now: float) -> None:
        """Note that it ended without a reply."""
        if self._in_flight.pop(call, now) >= self._noticed_at:
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
        self.trials: dict[
            int, Trial
        ] = {}  # finished ones by number, as they are known last
        self.counts = Counts(len(settings.x0))
        self.error: ModelError | NothingToPropose | None = None  # that ends the run
        self.wishes = Wishes()
        self.in_flight: dict[int, Plan] = {}
        self._rule = rule
        self._clock = clock
        self._begun_at = clock()
        self._next_number = 0
        self._finishing = (
            0  # trials that were given their place in the order of finishing
        )
        self._silence = Silence()
        self._first_with: dict[str, int] = {}  # key of x -> the first trial that has it

    # Trials.

    @property
    def champion(self) -> Trial | None:
        """The best trial so far."""
        return self.counts.champion

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

    def same_as(self, trial: Trial) -> int | None:
        """Return which earlier trial has the same x; None where it is new, and from now on known."""
        first = self._first_with.setdefault(trial.key, trial.number)
        return None if first == trial.number else first

    def place(self) -> int:
        """Return the next place in the order of finishing, from 1."""
        self._finishing += 1
        return self._finishing

    def observe(self, trial: Trial) -> None:
        """Learn a finished trial; one that is known already was scored again, and is replaced."""
        known = self.trials.get(trial.number)
        self.trials[trial.number] = trial
        self.in_flight.pop(trial.number, None)
        self._silence.ended(trial.number)
        self._next_number = max(self._next_number, trial.number + 1)
        self._finishing = max(self._finishing, len(self.trials))
        self.counts.observe(trial, known, self.trials.values())
        if trial.x is not None:
            self._first_with.setdefault(trial.key, trial.number)

    def beats_champion(self, trial: Trial) -> bool:
        """Whether a trial that is not finished yet has a higher score than the champion."""
        if trial.score is None or self.champion is None or self.champion.score is None:
            return False
        return trial.score > self.champion.score

    def rng(self, purpose: str, number: int) -> Random:
        """Return a random generator for one purpose in one trial.

        It depends on nothing else, so that a resumed run draws the same numbers.
        """
        return Random(f"{self.settings.seed}/{purpose}/{number}")

    def scoring_seed(self, number: int) -> int:
        """Return the seed of a trial's scoring: the same for the same run seed and trial."""
        return self.rng("score", number).getrandbits(32)

    def duplicate(self, first: int) -> Evaluation:
        """Return the evaluation of an x that trial `first` has, too."""
        known = self.trials.get(first)
        if known is None:
            said, score = f"the same x as trial {first}, which is being scored", None
        else:
            said, score = f"the same x as trial {first}: {known.feedback}", known.score
        return Evaluation(Status.DUPLICATE, score, said, scorings=0)

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
        """Return the finished trials in the order of their numbers."""
        return tuple(self.trials[number] for number in sorted(self.trials))

    # Replies.

    def observe_reply(self) -> None:
        """Learn that the model answers."""
        self._silence.broken()

    def observe_silence(
        self, number: int, error: ModelError | NothingToPropose
    ) -> None:
        """Learn that a trial got no x; the run ends at once, or after too many silences in a row."""
        self._silence.failed(number, self._clock())
        is_passing = isinstance(error, ModelUnavailable) and not self._silence.lasting
        if self.error is None and not is_passing:
            self.error = (
                error  # the first is the reason; calls in flight may fail after it
            )

    # The end.

    def seconds(self) -> float:
        """Return how long this session has lasted."""
        return self._clock() - self._begun_at

    def seconds_left(self) -> float:
        """Return how long the run may go on; infinity without such a cap."""
        cap = self.settings.budget.seconds
        return math.inf if cap is None else max(0.0, cap - self.seconds())

    def caps(self) -> tuple[Cap, ...]:
        """Return each cap of the run and what is used of it; steps are the trials beyond x0."""
        return self.counts.caps(
            self.settings.max_steps, self.settings.budget, self.seconds()
        )

    def why_stop(self) -> Stop | None:
        """Return why the run is over; None while it is not."""
        if isinstance(self.error, NothingToPropose):
            return Stop(f"nothing left to propose: {self.error}", DRAIN_SECS)
        if self.error is not None:
            return Stop(f"error: {self.error}", DRAIN_SECS)
        if self.wishes.stopped:
            return Stop(STOPPED, DRAIN_SECS)
        goal = self.settings.stop_score
        if (
            goal is not None
            and self.champion is not None
            and rank(self.champion)[1] >= goal
        ):
            return Stop("stop_score", DRAIN_SECS)
        reason = self._rule.why(self._progress()) if self._rule else None
        if reason is not None:
            return Stop(f"stop: {reason}", DRAIN_SECS)
        if self.seconds_left() == 0.0:
            return Stop("budget: seconds", 0.0)
        for cap in self.caps():
            if (
                cap.cap is not None
                and cap.used >= cap.cap
                and not self._is_too_early(cap)
            ):
                name = cap.name if cap.name == "max_steps" else f"budget: {cap.name}"
                return Stop(name, math.inf)
        return None

    def _is_too_early(self, cap: Cap) -> bool:
        """Whether a cap on steps does not count yet: x0 is scored first, also with max_steps=0."""
        return cap.name == "max_steps" and len(self.trials) < len(self.settings.x0)

    def _progress(self) -> Progress:
        return Progress(
            tuple(self.trials.values()),
            self.champion,
            self.counts.total_usage,
            self.seconds(),
            self.counts.scorings,
            self.counts.stale_steps,
        )

    def may_begin(self, waiting: bool = False) -> bool:
        """Whether another trial may begin: with those in flight no cap would be overrun.

        `waiting` says that an earlier session left trials unfinished; these go first. A new trial
        that is not one of x0 begins only when every x0 has been scored.
        """
        if self.wishes.paused or self.why_stop() is not None:
            return False
        if waiting or self.is_first(self._next_number):
            return not self._is_full("scorings")
        if len(self.trials) < len(self.settings.x0):
            return False
        return not self._is_full("scorings", "max_steps")

    def _is_full(self, *names: str) -> bool:
        """Whether a cap would be reached by what is in flight."""
        flying = {
            "max_steps": sum(not self.is_first(number) for number in self.in_flight),
            "scorings": len(self.in_flight),
        }
        return any(
            cap.cap is not None and cap.used + flying[cap.name] >= cap.cap
            for cap in self.caps()
            if cap.name in names
        )


def with_hints(plan: Plan, hints: Sequence[str]) -> Plan:
    """Return the plan with further hints for the model, each in a line."""
    lines = [plan.hint, *hints]
    return replace(plan, hint="\n".join(line for line in lines if line))


class Slots:
    """Counts the candidates that are being written, and adapts to how long writing and scoring take.

    With one worker and no `model_slots`, nothing is asked before the last score is known, so that
    a run with a seed repeats exactly.

    Args:
        workers: scorings at a time.
        model_slots: candidates that are being written at a time; None adapts.
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
        self._reply_secs = _mean(self._reply_secs, seconds)

    def scored(self, seconds: float) -> None:
        """Learn how long a scoring took."""
        self._scoring_secs = _mean(self._scoring_secs, seconds)

    def has_room(self, living: int) -> bool:
        """Whether another candidate may begin beside those that live already."""
        slots, ahead = self._limits()
        return self._writing < slots and living < self._workers + ahead

    def _limits(self) -> tuple[int, int]:
        """Return how many may be written at a time, and how many may live besides those in scoring."""
        if self._model_slots is not None:
            alone = max(self._model_slots, self._workers) == 1
            return self._model_slots, 0 if alone else self._model_slots
        if self._workers == 1:
            return 1, 0
        most = _MAX_AHEAD * self._workers
        needed = math.ceil(self._workers * self._ratio())
        slots = needed
        if needed > self._workers:
            slots = max(needed, self._workers + 2)
        return min(max(slots, self._workers), most), min(needed, most)

    def _ratio(self) -> float:
        """Return how many times longer a reply takes than a scoring; 1 while that is unknown."""
        if not self._reply_secs or not self._scoring_secs:
            return 1.0
        return self._reply_secs / self._scoring_secs


def _mean(old: float, new: float) -> float:
    return _PAST_WEIGHT * old + (1 - _PAST_WEIGHT) * new if old else new
