"""Overview of the runs of a store: state, progress of each cap, and the time left, in words too.

The command line, the page and the agents' tools list runs by it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from ..records import Budget, Cap, Counts, seconds_left
from ..store import RunInfo, State, Store
from ..text import one_line
from .amounts import LABELS, used_of
from .run_view import RowCounts

# Caps whose use is known from how many trials and scorings a run has; the others are counted from
# its trials.
_COUNTED = {"max_steps", "scorings", "seconds"}
_ENDS = {
    "max_steps": "all steps done",
    "stop_score": "stop score reached",
    "budget: seconds": "time is up",
    "forked": "forked, not resumed yet",
    "stopped by a watcher": "stopped by you",  # as it was stored until 1.0
}


# What a count depends on, and what was counted.
_Counted: TypeAlias = tuple[Any, tuple[Cap, ...]]


@dataclass(frozen=True)
class Listed:
    """A run as a list shows it."""

    info: RunInfo
    caps: tuple[Cap, ...]  # with what is used of each
    seconds_left: (
        float | None
    )  # until the first cap is reached; None where nobody knows

    @property
    def progress(self) -> str:
        """How far it is, by the cap of which most is used: "15 of 200 steps"."""
        shown = None
        for cap in self.caps:
            if cap.name == "stale_steps" or cap.cap is None:
                continue
            if shown is None or _share(cap) > _share(shown):
                shown = cap
        if shown is None:
            return ""
        used = used_of(shown).replace("/", " of ")
        if shown.name in ("usd", "seconds"):
            return used
        return f"{used} {LABELS[shown.name]}"

    @property
    def left(self) -> str:
        """The time left, in words; empty where nobody knows."""
        if self.seconds_left is None:
            return ""
        return about(self.seconds_left)

    def facts(self) -> dict[str, Any]:
        """Return all that is known of it, for programs."""
        caps = {}
        for cap in self.caps:
            if cap.cap is not None:
                caps[cap.name] = {"used": cap.used, "cap": cap.cap}
        return {
            **vars(self.info),
            "caps": caps,
            "seconds_left": self.seconds_left,
            "state_words": state_words(self.info.state),
            "progress": self.progress,
            "left": self.left,
        }


def _share(cap: Cap) -> float:
    if not cap.cap:
        return 0.0
    return cap.used / cap.cap


class Overview:
    """Lists the runs of a store; what was counted for one list is kept for the next.

    Args:
        store: stays the caller's to close.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: dict[str, _Counted] = {}

    def runs(self) -> list[Listed]:
        """Return all runs, oldest first."""
        infos = self._store.runs()
        names = {info.name for info in infos}
        for gone in set(self._counted) - names:
            del self._counted[gone]
        return [self._listed(info) for info in infos]

    def run(self, name: str) -> Listed:
        """Return one run. Raises RunNotFound with the nearest names."""
        return self._listed(self._store.info(name))

    def _listed(self, info: RunInfo) -> Listed:
        caps = self._caps(info)
        if info.state.word != "running" or not info.session_trials:
            return Listed(info, caps, None)
        # What earlier sessions used is taken from how many trials are of this one.
        share = 1 - info.session_trials / info.trials
        before = {}
        for cap in caps:
            before[cap.name] = cap.used * share
        last_at = info.finished_at or 0.0
        worked = last_at - (info.session_at or 0.0)
        since = time.time() - last_at
        left = seconds_left(caps, before, worked, since)
        return Listed(info, caps, left)

    def _caps(self, info: RunInfo) -> tuple[Cap, ...]:
        settings = info.settings
        first_trials = len(settings.get("x0") or ())
        counts = Counts(first_trials, info.direction)
        counts.steps = max(0, info.trials - first_trials)
        counts.scorings = info.scorings
        max_steps = settings.get("max_steps")
        seconds = _seconds(info)
        budget = Budget(**(settings.get("budget") or {}))
        caps = counts.caps(int(max_steps or 0), budget, seconds)
        if max_steps is None:
            caps = caps[1:]
        counted = set()
        for cap in caps:
            if cap.cap is not None:
                counted.add(cap.name)
        if info.rescored or counted - _COUNTED:
            seconds_cap = [cap for cap in caps if cap.name == "seconds"]
            return (*self._counted_once(info), *seconds_cap)
        return tuple(cap for cap in caps if cap.name in _COUNTED)

    def _counted_once(self, info: RunInfo) -> tuple[Cap, ...]:
        """Return the caps that are counted from the trials; counted anew where there are more."""
        key = (info.created_at, info.trials, info.finished_at)
        known = self._counted.get(info.name)
        if known is None or known[0] != key:
            known = (key, self._counted_caps(info))
            self._counted[info.name] = known
        return known[1]

    def _counted_caps(self, info: RunInfo) -> tuple[Cap, ...]:
        run = self._store.run(info.name)
        counts = RowCounts(run)
        known: dict[int, Any] = {}
        for trial in run.history(brief=True):
            before = known.get(trial.number)
            known[trial.number] = trial
            counts.observe(trial, before, known.values())
        return counts.caps()


def _seconds(info: RunInfo) -> float:
    """Return how long the last session of a run lasted, as far as its rows tell."""
    if info.session_at is None:
        return 0.0
    until = info.finished_at or info.session_at
    if info.state.goes_on:
        until = time.time()
    return max(0.0, until - info.session_at)


# Words.


def state_words(state: State) -> str:
    """Return a state for reading.

    >>> state_words(State("finished", "max_steps")), state_words(State("dead"))
    ('finished (all steps done)', 'dead')
    >>> state_words(State("finished", "budget: calls"))
    'finished (budget of model calls used)'
    """
    why = state.why
    if not why:
        return state.word
    shown = _ENDS.get(why)
    kind, _, rest = why.partition(": ")
    if shown is None:
        shown = one_line(why, 300)
        if kind == "budget" and rest in LABELS:
            shown = f"budget of {LABELS[rest]} used"
    return f"{state.word} ({shown})"


def about(seconds: float) -> str:
    """Return the time left for reading, as rough as it is known.

    >>> about(3), about(41), about(250), about(7500), about(200_000)
    ('about 5 s left', 'about 40 s left', 'about 4 min left', 'about 2 h left', 'about 2 days left')
    """
    if seconds < 53:
        fives = max(1, round(seconds / 5))
        return f"about {5 * fives} s left"
    unit, name = 60, "min"
    if seconds > 5400:
        unit, name = 3600, "h"
    if seconds > 129_600:
        unit, name = 86_400, "days"
    return f"about {round(seconds / unit)} {name} left"


def tagged(runs: Iterable[Listed], tags: Iterable[str]) -> list[Listed]:
    """Return the runs that have all of the tags."""
    wanted = set(tags)
    return [run for run in runs if wanted <= set(run.info.tags)]
