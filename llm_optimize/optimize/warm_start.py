"""Warm start: scores that the user knows already become the first trials of a run.

They are neither calls of f nor steps. Their numbers follow those of x0, whose trials are begun in
the same transaction, so that they keep the numbers from 0. From there on a run finds both in its
rows: known trials among the finished ones, x0 among those that were begun.
"""

from __future__ import annotations

import time
from typing import Any

from ..errors import OptionName, UsageError
from ..identity import key_of
from ..records import KNOWN, Status, Trial
from ..settings import RunSettings
from ..space import as_space
from ..store import Run


def begin_with_known(run: Run, settings: RunSettings) -> None:
    """Write the known trials of a run that has no rows yet. Raises StoreError."""
    first = len(settings.x0)
    trials = []
    for number, (x, score, feedback) in enumerate(settings.known, start=first):
        facts: dict[str, Any] = {"scorings": 0, "finished_at": time.time()}
        trials.append(
            Trial.of(number, x, Status.COMPLETE, KNOWN, score, feedback, **facts)
        )
    if trials:
        run.begin_with(trials, first)


def known_of(run: Run) -> list[Trial]:
    """Return the known trials of a run, as the user gave them."""
    first_scored: dict[int, Trial] = {}
    for trial in run.history():
        if trial.source == KNOWN:
            first_scored.setdefault(trial.number, trial)
    return list(first_scored.values())


def refuse_cut_off(run: Run, settings: RunSettings) -> None:
    """Raise UsageError for a run that was killed before its known trials were on disk."""
    if not settings.known_trials or run.origin is not None:
        return
    if run.find(len(settings.x0)) is None:
        raise UsageError(
            f"the run {run.name!r} was killed before its known scores were stored: "
            "begin another run"
        )


def refuse_unknown_pairs(run: Run, asked: RunSettings) -> None:
    """Raise UsageError for a known score with which a stored run did not begin."""
    stored = {trial.key: trial.score for trial in known_of(run)}
    space = run.settings.get("space")
    for x, score, _ in asked.known:
        if space is not None:
            x = as_space(space).check(x)
        if stored.get(key_of(x)) != score:
            raise UsageError(
                OptionName("known"),
                f" says that the score of {x!r:.60} is {score:g}, with which the run "
                f"{run.name!r} did not begin: begin another run",
            )
