"""Baseline of a run: the runs of random mutation of the same task and f in the same store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...store import Run, RunInfo, Store
from ..comparison import scorings_of
from .comparison import curve

_MUTATION = "mutation"
_MAX_RUNS = 20  # the last ones
# Settings that are the same in a run and in its baseline; those of a store without some are.
_SAME = (
    "func",
    "func_hashes",
    "x0",
    "space",
    "direction",
    "max_score",
)


def baselines(store: Store, run: Run) -> list[dict[str, Any]]:
    """Return the mutation runs to hold beside a run, the oldest first, with their curves.

    They have the same task, question, x0, space and f, as far as settings tell. Empty for a run
    of mutation itself.
    """
    if _is_mutation(run.settings):
        return []
    same = []
    for info in store.runs():
        if _is_baseline(info, run):
            same.append(info)
    found = []
    for info in same[-_MAX_RUNS:]:
        other = store.run(info.name)
        if other.func_version != run.func_version:
            continue
        trials = other.trials()
        scorings = sum(map(scorings_of, trials))
        one: dict[str, Any] = {"name": info.name, "scorings": scorings}
        one["curve"] = curve(trials, info.created_at, run.direction)
        found.append(one)
    return found


def _is_mutation(settings: Mapping[str, Any]) -> bool:
    """Whether no model is asked: mutation stands for the model, or is the proposer."""
    proposer = settings.get("proposer")
    if proposer in (None, "", "model"):
        return settings.get("model") == _MUTATION
    return bool(proposer == _MUTATION)


def _is_baseline(info: RunInfo, run: Run) -> bool:
    if info.name == run.name or not info.trials:
        return False
    if not _is_mutation(info.settings):
        return False
    task = run.settings.get("task") or {}
    of_other = info.settings.get("task") or {}
    for word in ("description", "question"):
        if task.get(word) != of_other.get(word):
            return False
    mine, other = run.settings, info.settings
    return all(mine.get(word) == other.get(word) for word in _SAME)
