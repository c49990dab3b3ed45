"""What a reader knows of a run: made from its events, or from its rows in a store, and shown alike."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from ..records import (
    Budget,
    BudgetUsed,
    CallFailed,
    Cap,
    ChampionFound,
    Counts,
    Event,
    Result,
    RunEnded,
    RunStarted,
    ScoredAgain,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
    usage_of,
)
from ..store import Run

_KEPT = 200  # trials, of which a screen shows the last
_UNSTEADY = (
    "seconds",
    "stale_steps",
)  # caps that are not reached at the pace of the trials


@dataclass
class RunView:
    """One run, as far as its events or its rows tell; of bounded size but for what they hold themselves.

    `update` learns from an event, `stored_view` makes one from rows. Watchers only draw it.
    """

    clock: Callable[[], float] = time.monotonic
    name: str = ""
    store: str = ""
    description: str = ""
    begun_at: float = 0.0
    finished_at: float = 0.0  # when the last trial was
    ended_at: float | None = None
    stop_reason: str | None = None  # None: it goes on, or was killed
    champion: Trial | None = None
    champion_at: float = 0.0
    base: Trial | None = (
        None  # what the champion is compared with: its parent, or the champion before it
    )
    best_scores: list[float] = field(
        default_factory=list
    )  # every `stride`-th, and the last
    stride: int = 1
    last: deque[tuple[Trial, float | None]] = field(
        default_factory=lambda: deque(maxlen=_KEPT)
    )
    in_flight: dict[int, str] = field(
        default_factory=dict
    )  # number -> what it waits for
    finished: int = 0
    failures: int = 0  # of the finished ones, those without a score
    usage: Usage = field(default_factory=Usage)
    failed_calls: int = 0
    failure: CallFailed | None = None  # the last one
    result: Result | None = None
    known_caps: tuple[Cap, ...] = ()  # as they were told last
    before: dict[str, float] = field(
        default_factory=dict
    )  # used of each cap when this session began

    def update(self, event: Event) -> None:
        """Learn from an event."""
        match event:
            case RunStarted():
                self._start(event)
            case TrialStarted():
                self.in_flight[event.number] = waits_for("")
            case TrialProposed():
                self.in_flight[event.number] = waits_for(event.source)
            case TrialFinished():
                self.in_flight.pop(event.trial.number, None)
                self.usage = event.usage
                self.learn(
                    event.trial, True, event.trial if event.champion else self.champion
                )
                self.finished_at = self.clock()
            case ScoredAgain():
                self.learn(event.trial, False, self.champion)
            case ChampionFound():
                self._promote(event.trial)
            case CallFailed():
                self.failed_calls, self.failure = self.failed_calls + 1, event
            case BudgetUsed():
                self.known_caps = event.caps
            case RunEnded():
                self._end(event)

    def _start(self, event: RunStarted) -> None:
        self.name, self.store, self.description = (
            event.name,
            event.store,
            event.task.description,
        )
        self.begun_at = self.champion_at = self.finished_at = self.clock()
        counts = Counts(first_trials=0)  # of which the champion counts here
        for trial in event.trials:
            counts.observe(trial)
            self.learn(trial, True, counts.champion)
        self.usage = event.usage if event.caps else usage_of(event.trials)[1]
        self.known_caps = event.caps
        self.before = {cap.name: cap.used for cap in event.caps}

    def _end(self, event: RunEnded) -> None:
        self.result, self.stop_reason = event.result, event.result.stop_reason
        self.ended_at = self.clock()
        self.in_flight.clear()
        self.known_caps = event.caps or self.known_caps

    def learn(self, trial: Trial, is_new: bool, champion: Trial | None) -> None:
        """Learn a trial that was finished, or else scored again, and which one is the best now."""
        if is_new:
            self.last.append((trial, self._change(trial)))
            self.finished += 1
            self.failures += not trial.scored
        else:
            same = [
                (trial if known.number == trial.number else known, change)
                for known, change in self.last
            ]
            self.last = deque(same, maxlen=_KEPT)
        if champion is not None:
            self._promote(trial if champion.number == trial.number else champion)
        if is_new:
            self._draw()

    def _change(self, trial: Trial) -> float | None:
        """Return how far a trial is from the best one before it."""
        best = self.champion.score if self.champion else None
        return None if trial.score is None or best is None else trial.score - best

    def _promote(self, trial: Trial) -> None:
        """Make a trial the champion; one that is it already was only scored again."""
        if self.champion is None or self.champion.number != trial.number:
            parent = next(
                (known for known, _ in self.last if known.number == trial.parent), None
            )
            self.base = parent or self.champion
            self.champion_at = self.clock()
        self.champion = trial

    def _draw(self) -> None:
        """Add a point to the line of best scores, and thin it out evenly when it grows long."""
        if self.champion is None or self.champion.score is None:
            return
        if self.finished % self.stride and self.best_scores:
            self.best_scores[-1] = self.champion.score
            return
        self.best_scores.append(self.champion.score)
        if len(self.best_scores) > 2 * _KEPT:
            self.best_scores, self.stride = self.best_scores[1::2], 2 * self.stride

    @property
    def seconds(self) -> float:
        """How long this session of the run has been going, in seconds."""
        return (
            self.clock() if self.ended_at is None else self.ended_at
        ) - self.begun_at

    def caps(self) -> list[Cap]:
        """Return what is used of each cap, as the run counts it; the time as it is now."""
        return [
            replace(cap, used=self.seconds) if cap.name == "seconds" else cap
            for cap in self.known_caps
        ]

    def seconds_left(self) -> float | None:
        """Estimate when the first cap is reached, at the pace of this session; None while there is no pace."""
        guesses = []
        worked = self.finished_at - self.begun_at
        for cap in self.caps():
            if cap.cap is None:
                continue
            used = cap.used - self.before.get(cap.name, 0.0)
            if cap.name == "seconds":
                guesses.append(cap.cap - cap.used)
            elif cap.name not in _UNSTEADY and used > 0 and worked > 0:
                guesses.append(
                    worked * (cap.cap - cap.used) / used - (self.seconds - worked)
                )
        return max(0.0, min(guesses)) if guesses else None


def waits_for(source: str) -> str:
    """Return what a trial in flight waits for; nobody has written its x where `source` is empty."""
    return f"scoring ({source})" if source else "asking"


class RowCounts:
    """Counts a run by its rows, as `Counts` counts it while it goes on; what is new may be added at any time."""

    def __init__(self, run: Run) -> None:
        """Take a run, of which nothing was observed yet."""
        settings = run.settings
        self._run = run
        self._counts = Counts(len(settings.get("x0") or ()))
        self._max_steps = int(settings.get("max_steps", 0))
        self._budget = Budget(**(settings.get("budget") or {}))
        self._inherited = self._used = Usage()  # of the finished trials
        self._above = -1  # the calls for trials up to this number are counted
        self._answered = 0

    @property
    def champion(self) -> Trial | None:
        """The best of the trials observed so far."""
        return self._counts.champion

    @property
    def usage(self) -> Usage:
        """What all model calls used, by the last look at the caps."""
        return self._counts.total_usage

    def observe(
        self, trial: Trial, before: Trial | None = None, trials: Iterable[Trial] = ()
    ) -> None:
        """Learn a finished trial; see `Counts.observe`."""
        self._counts.observe(trial, before, trials)
        if before is None and trial.number <= self._run.last_inherited:
            self._inherited += trial.usage
        elif before is None:
            self._used += trial.usage

    def caps(self, above: int = -1) -> tuple[Cap, ...]:
        """Return what is used of each cap but the time, since no row says how long a session lasted.

        All trials up to the number `above` are finished and were observed: their calls are counted only once.
        """
        if above > self._above:
            self._answered += self._run.answered_calls(self._above, above)
            self._above = above
        answered = self._answered + self._run.answered_calls(self._above)
        replies = self._run.unused_replies(self._above).values()
        used = sum((reply.usage for reply in replies), self._used)
        self._counts.take_over(self._inherited, used, answered)
        counted = self._counts.caps(self._max_steps, self._budget, 0.0)
        return tuple(cap for cap in counted if cap.name != "seconds")


def stored_view(
    run: Run, stop_reason: str | None = None
) -> tuple[RunView, list[Trial]]:
    """Return what the rows of a run say, and its finished trials as they are known last, in the order of finishing.

    It is what its events would have said, but for failed calls and the time left.
    """
    task = run.settings.get("task") or {}
    view = RunView(time.time, run.name, run.store.url, str(task.get("description", "")))
    view.stop_reason = stop_reason
    counts = RowCounts(run)
    known: dict[int, Trial] = {}
    for trial in run.history():
        before = known.get(trial.number)
        known[trial.number] = trial
        counts.observe(trial, before, known.values())
        view.learn(trial, before is None, counts.champion)
    for step in run.pending():
        view.in_flight[step.number] = waits_for(
            step.proposal.source if step.proposal else ""
        )
    view.known_caps = counts.caps()
    view.usage = counts.usage
    return view, list(known.values())
