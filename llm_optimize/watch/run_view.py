"""View of a run: what a reader knows of it, made from its events or from its stored rows.

All watchers draw the same `RunView`, so that they show the same numbers. Nothing here steers a run.
"""

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
    Direction,
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
    seconds_left,
    usage_of,
)
from ..store import Run

_KEPT = 200  # trials, of which a screen shows the last

Row = tuple[Trial, float | None]  # a trial, and its change to the best one before


@dataclass
class RunView:
    """One run, as far as its events or its rows are known.

    Its size is bounded, apart from the texts of the trials. `update` learns from an event,
    `stored_view` makes a view from rows.
    """

    clock: Callable[[], float] = time.monotonic
    name: str = ""
    store: str = ""
    description: str = ""
    direction: Direction = Direction.MAXIMIZE
    begun_at: float = 0.0
    finished_at: float = 0.0  # when the last trial was
    ended_at: float | None = None
    stop_reason: str | None = None  # None: it goes on, or was killed
    champion: Trial | None = None
    champion_at: float = 0.0
    # What the champion is compared with: its parent, or else the champion before it.
    base: Trial | None = None
    best_scores: list[float] = field(default_factory=list)  # each `stride`-th, the last
    stride: int = 1
    last: deque[Row] = field(default_factory=lambda: deque(maxlen=_KEPT))
    in_flight: dict[int, str] = field(default_factory=dict)  # number -> waits for what
    finished: int = 0
    failures: int = 0  # of the finished ones, those without a score
    usage: Usage = field(default_factory=Usage)
    failed_calls: int = 0
    failure: CallFailed | None = None  # the last one
    result: Result | None = None
    known_caps: tuple[Cap, ...] = ()  # of the last event that had them
    # What earlier sessions used of each cap.
    before: dict[str, float] = field(default_factory=dict)

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
                self._finish(event)
            case ScoredAgain():
                self.learn(event.trial, False, self.champion)
            case ChampionFound():
                self._promote(event.trial)
            case CallFailed():
                self.failed_calls += 1
                self.failure = event
            case BudgetUsed():
                self.known_caps = event.caps
            case RunEnded():
                self._end(event)

    def _start(self, event: RunStarted) -> None:
        self.name = event.name
        self.store = event.store
        self.description = event.task.description
        self.direction = event.direction
        self._take_over(event.trials)
        self.usage = event.usage
        if not event.caps:
            _, self.usage = usage_of(event.trials)
        self.known_caps = event.caps
        self.before = {cap.name: cap.used for cap in event.caps}

    def _take_over(self, trials: Iterable[Trial]) -> None:
        """Learn the trials of earlier sessions."""
        self.begun_at = self.champion_at = self.finished_at = self.clock()
        counts = Counts(0, self.direction)  # only its champion is used
        for trial in trials:
            counts.observe(trial)
            self.learn(trial, True, counts.champion)

    def _finish(self, event: TrialFinished) -> None:
        self.in_flight.pop(event.trial.number, None)
        self.usage = event.usage
        champion = event.trial if event.champion else self.champion
        self.learn(event.trial, True, champion)
        self.finished_at = self.clock()

    def _end(self, event: RunEnded) -> None:
        self.result = event.result
        if not self.name:  # nothing was left to do: it did not start
            self.name = event.result.name
            self.store = event.result.store
            self.direction = event.result.direction
            self.usage = event.result.usage
            self._take_over(event.result.trials)
        self.stop_reason = event.result.stop_reason
        self.ended_at = self.clock()
        self.in_flight.clear()
        self.known_caps = event.caps or self.known_caps

    def learn(
        self,
        trial: Trial,
        is_new: bool,
        champion: Trial | None,
    ) -> None:
        """Learn a finished trial, and which one is the champion now.

        A trial that is not new was scored again, and replaces what was known of it.
        """
        if is_new:
            self.last.append((trial, self._change(trial)))
            self.finished += 1
            self.failures += not trial.scored
        else:
            self._replace(trial)
        if champion is not None:
            same = champion.number == trial.number
            self._promote(trial if same else champion)
        if is_new:
            self._draw()

    def _replace(self, trial: Trial) -> None:
        rows: list[Row] = []
        for known, change in self.last:
            is_same = known.number == trial.number
            rows.append((trial if is_same else known, change))
        self.last = deque(rows, maxlen=_KEPT)

    def _change(self, trial: Trial) -> float | None:
        """Return the difference of a trial's score to the best one before it.

        It is in the user's numbers: what is better where f is minimized is below 0.
        """
        best = self.champion.score if self.champion else None
        if trial.score is None or best is None:
            return None
        return trial.score - best

    def _promote(self, trial: Trial) -> None:
        """Make a trial the champion; one that is the champion already was only scored again."""
        if self.champion is None or self.champion.number != trial.number:
            known = {one.number: one for one, _ in self.last}
            self.base = self.champion
            if trial.parent in known:
                self.base = known[trial.parent]
            self.champion_at = self.clock()
        self.champion = trial

    def _draw(self) -> None:
        """Add a point to the line of best scores, and halve the line when it grows long."""
        if self.champion is None or self.champion.score is None:
            return
        if self.finished % self.stride and self.best_scores:
            self.best_scores[-1] = self.champion.score
            return
        self.best_scores.append(self.champion.score)
        if len(self.best_scores) > 2 * _KEPT:
            self.best_scores = self.best_scores[1::2]
            self.stride *= 2

    def is_gain(self, change: float) -> bool:
        """Return whether a score that differs by so much from the best one is better."""
        return self.direction.is_better(change, than=0.0)

    @property
    def seconds(self) -> float:
        """How long this session of the run has lasted, in seconds."""
        until = self.clock() if self.ended_at is None else self.ended_at
        return until - self.begun_at

    def caps(self) -> list[Cap]:
        """Return what is used of each cap; for the time that is now."""
        caps = []
        for cap in self.known_caps:
            is_time = cap.name == "seconds"
            caps.append(replace(cap, used=self.seconds) if is_time else cap)
        return caps

    def seconds_left(self) -> float | None:
        """Estimate when the first cap is reached, at the pace of this session.

        None while there is no pace.
        """
        worked = self.finished_at - self.begun_at
        since = self.seconds - worked  # the last finished trial
        return seconds_left(self.caps(), self.before, worked, since)


def waits_for(source: str) -> str:
    """Return what a trial in flight waits for; without a source its x is not written yet."""
    return f"scoring ({source})" if source else "asking"


class RowCounts:
    """Counts a run by its stored rows, as `Counts` counts a live one; new rows may be added.

    Args:
        run: of which nothing was observed yet.
    """

    def __init__(self, run: Run) -> None:
        settings = run.settings
        self._run = run
        first_trials = len(settings.get("x0") or ())
        self._counts = Counts(first_trials, run.direction)
        self._max_steps = int(settings.get("max_steps", 0))
        self._budget = Budget(**(settings.get("budget") or {}))
        self._inherited = Usage()  # of the trials of a fork's origin
        self._used = Usage()  # of the other finished trials
        self._above = -1  # the calls for trials up to this number are counted
        self._answered = 0

    @property
    def champion(self) -> Trial | None:
        """The best of the trials observed so far."""
        return self._counts.champion

    @property
    def usage(self) -> Usage:
        """What all model calls used, as of the last call of `caps`."""
        return self._counts.total_usage

    def observe(
        self,
        trial: Trial,
        before: Trial | None = None,
        trials: Iterable[Trial] = (),
    ) -> None:
        """Learn a finished trial; see `Counts.observe`."""
        self._counts.observe(trial, before, trials)
        if before is not None:
            return
        if trial.number <= self._run.last_inherited:
            self._inherited += trial.usage
        else:
            self._used += trial.usage

    def caps(self, above: int = -1) -> tuple[Cap, ...]:
        """Return what is used of each cap but the time: no row says how long a session lasted.

        All trials up to the number `above` are finished and were observed: their calls are
        counted only once.
        """
        if above > self._above:
            self._answered += self._run.answered_calls(self._above, above)
            self._above = above
        answered = self._answered + self._run.answered_calls(self._above)
        used = self._used
        for reply in self._run.unused_replies(self._above).values():
            used += reply.usage
        self._counts.take_over(self._inherited, used, answered)
        counted = self._counts.caps(self._max_steps, self._budget, 0.0)
        return tuple(cap for cap in counted if cap.name != "seconds")


def stored_view(
    run: Run, stop_reason: str | None = None
) -> tuple[RunView, list[Trial]]:
    """Return a view made from the rows of a run, and its finished trials as they are known now.

    The trials are in the order of finishing. The view is that which the events of the run make,
    but for failed calls and the time left.
    """
    task = run.settings.get("task") or {}
    description = str(task.get("description", ""))
    view = RunView(time.time, run.name, run.store.url, description)
    view.stop_reason = stop_reason
    view.direction = run.direction
    counts = RowCounts(run)
    known: dict[int, Trial] = {}
    for trial in run.history():
        before = known.get(trial.number)
        known[trial.number] = trial
        counts.observe(trial, before, known.values())
        view.learn(trial, before is None, counts.champion)
    for step in run.pending():
        source = step.proposal.source if step.proposal else ""
        view.in_flight[step.number] = waits_for(source)
    view.known_caps = counts.caps()
    view.usage = counts.usage
    return view, list(known.values())
