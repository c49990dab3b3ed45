"""What a model is reminded of: learnt from finished trials, in their order, and from nothing else."""

from __future__ import annotations

from ..identity import key_of
from ..records import Status, Trial, X, rank
from .language import Known, what_changed

_CHANGES = 300  # trials of which it is remembered what they changed
_TRIED = 100  # configurations that are listed, at the most
_KEPT_BEST = 25  # of these, when the list has become too long
_KEPT_NEWEST = 25


class Memory:
    """Lessons, changes and tried configurations of a run."""

    def __init__(self, lessons_shown: int, configurations: bool) -> None:
        """Take how many lessons to keep, and whether x is a set of parameters."""
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
        return Known(
            tuple(self._lessons), dict(self._changes), tuple(self._tried.values())
        )

    def tried_as(self, x: X) -> int | None:
        """Return the trial that tried this configuration first; None when it is new."""
        return self._first.get(hash(key_of(x)))

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial; one that is told again replaces what was known of it."""
        if trial.lesson and self._lessons_shown:
            self._learn(trial)
        if trial.x is None:
            return
        if self._configurations:
            self._first.setdefault(hash(trial.key), trial.number)
            self._list(trial)
        else:
            self._note_change(trial, trial.x)

    def _learn(self, trial: Trial) -> None:
        """Put a lesson into the place of the oldest: the others stay where they are, and so does the prompt."""
        numbers = [one.number for one in self._lessons]
        if trial.number in numbers:
            self._lessons[numbers.index(trial.number)] = trial
        elif len(self._lessons) < self._lessons_shown:
            self._lessons.append(trial)
        else:
            self._lessons[self._oldest] = trial
            self._oldest = (self._oldest + 1) % self._lessons_shown

    def _list(self, trial: Trial) -> None:
        """Add a configuration to the list; when it is too long, keep the best and the newest at once."""
        if trial.status is Status.DUPLICATE:
            return
        self._tried[trial.number] = trial
        if len(self._tried) > _TRIED:
            trials = list(self._tried.values())
            best = sorted(trials, key=rank, reverse=True)[:_KEPT_BEST]
            kept = {one.number for one in (*best, *trials[-_KEPT_NEWEST:])}
            self._tried = {
                number: one for number, one in self._tried.items() if number in kept
            }

    def _note_change(self, trial: Trial, x: X) -> None:
        parent = None if trial.parent is None else self._xs.get(trial.parent)
        self._xs[trial.number] = x
        self._changes[trial.number] = what_changed(x, parent)
        if len(self._changes) > _CHANGES:
            del self._changes[next(iter(self._changes))]
