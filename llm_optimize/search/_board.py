"""What is shown beside the parent. It changes in batches: prompts that begin alike are served by providers' caches."""

from __future__ import annotations

from collections.abc import Sequence

from ..records import Plan, Status, Trial
from ._elite import POOL, Elite, free

NOVELTY = 0.8  # of what is shown: the best of twenty that are far apart teach more than the very best, which are alike
BATCH = 10  # finished trials
_OVERFLOW = (
    5  # trials appended beyond the number shown, before the batch is ended early
)


class Board:
    """Good and different trials, the champion always among them, and remembered failures.

    Within a batch both are only appended to. A new batch keeps the order of what stays, and puts what is new behind it.
    """

    def __init__(self, shown: int, failures: int, novelty: float = NOVELTY) -> None:
        """Show about `shown` trials and `failures` failures; `novelty`, from 0 to 1: how different they are to be."""
        self.trials: tuple[Trial, ...] = ()
        self.failures: tuple[Trial, ...] = ()
        self._shown = shown
        self._remembered = failures
        self._novelty = novelty
        self._told = 0

    def observe(self, trial: Trial, elite: Elite, width: float = 1.0) -> None:
        """Learn from a trial that `elite` was told already; a larger `width` shows weaker and more different ones."""
        self._told += 1
        self.drop(trial.number, trial if trial.number in elite else None)
        if fails(trial):
            self.failures += (trial,)
        if trial.number in elite and len(self.trials) < self._shown:
            self._append(trial)
        if elite.champion is not None:
            self._append(elite.champion)
        if self._told % BATCH == 0 or len(self.trials) > self._shown + _OVERFLOW:
            self._begin_batch(
                elite.various(self._shown, self._novelty, round(POOL * width))
            )

    def drop(self, number: int, instead: Trial | None = None) -> None:
        """Show a trial no more, or what is new of it instead."""
        known = (
            (instead if trial.number == number else trial) for trial in self.trials
        )
        self.trials = tuple(trial for trial in known if trial is not None)
        self.failures = tuple(
            trial for trial in self.failures if trial.number != number
        )

    def _append(self, trial: Trial) -> None:
        if all(shown.number != trial.number for shown in self.trials):
            self.trials += (trial,)

    def _begin_batch(self, chosen: Sequence[Trial]) -> None:
        stay = {trial.number for trial in self.trials}
        wanted = {trial.number for trial in chosen}
        new = sorted(
            (trial for trial in chosen if trial.number not in stay),
            key=lambda trial: trial.number,
        )
        self.trials = (
            *(trial for trial in self.trials if trial.number in wanted),
            *new,
        )
        self.failures = self.failures[max(0, len(self.failures) - self._remembered) :]

    def plan(self, parent: Trial, hint: str = "", *more: Trial) -> Plan:
        """Return a plan that shows this board, and `more` behind it."""
        shown = {trial.number for trial in self.trials}
        context = (
            *self.trials,
            *(trial for trial in more if trial.number not in shown),
        )
        return Plan(
            parent,
            context,
            tuple(trial for trial in self.failures if trial is not parent),
            hint=hint,
        )

    def repair(self, pending: Sequence[int]) -> Plan:
        """Return the plan for nothing but failures so far: build on the newest, and remember the others."""
        if not self.failures:
            return Plan(None)
        return self.plan(free(self.failures, pending)[-1])


def fails(trial: Trial) -> bool:
    """Whether a trial is a failure to be remembered: there is an x, it is new, and it has no score."""
    return (
        trial.x is not None
        and not trial.scored
        and trial.status is not Status.DUPLICATE
    )
