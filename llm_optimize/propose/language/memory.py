"""Memory: what a model is reminded of beyond a plan.

Learned from finished trials, in their order, and from nothing else, so that it is the same after a
resume. Its size is bounded, however long the run is.
"""

from __future__ import annotations

from ...identity import key_of
from ...records import Status, Trial, X, rank
from .lines import what_changed
from .trial_text import Known

_CHANGES = 300  # trials of which it is remembered what they changed
_TRIED = 100  # configurations that are listed, at the most
_KEPT_BEST = 25  # of these, when the list has become too long
_KEPT_NEWEST = 25


class Memory:
    """Lessons, changes and tried configurations of a run.

    Args:
        lessons_shown: how many lessons to keep.
        configurations: whether x is a set of parameters.
    """

    def __init__(self, lessons_shown: int, configurations: bool) -> None:
        self._lessons: list[Trial] = []
        self._oldest = 0  # place of a lesson
        self._lessons_shown = lessons_shown
        self._configurations = configurations
        self._xs: dict[int, X] = {}
        self._changes: dict[int, str] = {}  # oldest first
        self._tried: dict[int, Trial] = {}  # oldest first
        self._first: dict[int, int] = {}  # hash of x -> the trial that tried it first

    @property
    def known(self) -> Known:
        """What a prompt may show."""
        tried = tuple(self._tried.values())
        return Known(tuple(self._lessons), dict(self._changes), tried)

    def tried_as(self, x: X) -> int | None:
        """Return the trial that tried this configuration first; None when it is new."""
        return self._first.get(hash(key_of(x)))

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; observed again, it replaces what was known of it."""
        if trial.lesson and self._lessons_shown:
            self._keep_lesson(trial)
        if trial.x is None:
            return
        if self._configurations:
            self._first.setdefault(hash(trial.key), trial.number)
            self._keep_configuration(trial)
        else:
            self._keep_change(trial, trial.x)

    def _keep_lesson(self, trial: Trial) -> None:
        """Put a lesson into the place of the oldest, so that most of the prompt stays as it is."""
        numbers = [one.number for one in self._lessons]
        if trial.number in numbers:
            self._lessons[numbers.index(trial.number)] = trial
        elif len(self._lessons) < self._lessons_shown:
            self._lessons.append(trial)
        else:
            self._lessons[self._oldest] = trial
            self._oldest = (self._oldest + 1) % self._lessons_shown

    def _keep_configuration(self, trial: Trial) -> None:
        """List a configuration; of a list that is too long, the best and the newest stay.

        Half of it goes at once, so that the list only grows at its end for a while.
        """
        if trial.status is Status.DUPLICATE:
            return
        self._tried[trial.number] = trial
        if len(self._tried) <= _TRIED:
            return
        trials = list(self._tried.values())
        best = sorted(trials, key=rank, reverse=True)[:_KEPT_BEST]
        kept = {one.number for one in (*best, *trials[-_KEPT_NEWEST:])}
        self._tried = {one.number: one for one in trials if one.number in kept}

    def _keep_change(self, trial: Trial, x: X) -> None:
        parent = None if trial.parent is None else self._xs.get(trial.parent)
        self._xs[trial.number] = x
        self._changes[trial.number] = what_changed(x, parent)
        if len(self._changes) > _CHANGES:
            del self._changes[next(iter(self._changes))]
