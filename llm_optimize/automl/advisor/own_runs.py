"""Own runs as past tasks: what was tried on a data set with `advisor.space()` is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ...errors import NotAStore, UsageError
from ...records import Trial
from ...store import Store
from .grids import Grids, config_of
from .library import Library, Member, PastTask
from .options import METRICS
from .prompts import Observed, metadata_of

_MEMBERS = 10  # of a task, at most


def own_tasks(store: str, grids: Grids) -> Library:
    """Return a past task for each data set that runs of a store were about.

    These are runs whose description is that of `prompts.task_text`. Their best configurations are
    the members; the scores of several runs on one data set are taken together. A store that does
    not exist has none.
    """
    found: dict[str, PastTask] = {}
    trials: dict[str, list[Trial]] = {}
    try:
        opened = Store(store, create=False)
    except NotAStore:
        return found
    with closing(opened):
        for name in opened.names():
            run = opened.run(name)
            task = run.settings.get("task", {})
            metadata = metadata_of(str(task.get("description", "")))
            if metadata is None:
                continue
            title = str(metadata.get("name") or name.split("/")[0])
            known = trials.setdefault(title, [])
            known += run.trials()
            found[title] = PastTask(title, metadata)
    for title, past in found.items():
        members = _members(trials[title], past, grids)
        found[title] = PastTask(title, past.metadata, members)
    return found


def _members(
    trials: Sequence[Trial], task: PastTask, grids: Grids
) -> tuple[Member, ...]:
    sign = 1.0
    metric = str(task.metadata.get("score_name"))
    if not METRICS.get(metric, True):
        sign = -1.0  # a score of a run is higher for a lower loss
    scored = [trial for trial in trials if trial.score is not None]
    scored.sort(key=lambda trial: -(trial.score or 0.0))
    found: dict[Any, Member] = {}
    for trial in scored:
        try:
            config = config_of(trial.x) if isinstance(trial.x, dict) else None
            if config is None or config.model not in grids:
                continue
            grid = grids[config.model]
            config = grid.check(config.by_name)
        except (KeyError, UsageError):
            continue  # another space, or an older grid
        if config not in found and len(found) < _MEMBERS:
            score = sign * (trial.score or 0.0)
            shown = round(score, 4)
            found[config] = Member(config, shown, None)
    return tuple(found.values())


def observed_of(trials: Sequence[Trial]) -> Observed:
    """Return what trials of a run show, for `recommend(observed=...)`."""
    found = []
    for trial in trials:
        if isinstance(trial.x, dict):
            found.append((trial.x, trial.score))
    return found
