"""Comparison of runs: the best score so far of each, against what it had cost by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...records import Counts, Direction, Trial
from ...store import RunInfo, Store
from ..comparison import parts_of
from .facts import plain

_COLUMNS = ("trial", "calls", "cost", "seconds", "best")


def names_in(store: Store, comparison: str) -> list[str]:
    """Return the runs of a comparison: those named COMPARISON/CONTENDER/SEED."""
    return [name for name in store.names() if name.startswith(f"{comparison}/")]


def comparison(
    store: Store,
    names: Sequence[str],
) -> dict[str, Any]:
    """Return the curves of the named runs. Raises RunNotFound."""
    known = {info.name: info for info in store.runs()}
    return {"runs": [_one(store, name, known.get(name)) for name in names]}


def _one(
    store: Store,
    name: str,
    info: RunInfo | None,
) -> dict[str, Any]:
    run = store.run(name)
    trials = run.trials()
    _, contender, seed = parts_of(name)
    return {
        "name": name,
        "contender": contender,
        "seed": seed,
        "trials": len(trials),
        "scored": sum(trial.scored for trial in trials),
        "stop_reason": info.stop_reason if info else None,
        "settings": plain(run.settings),
        "curve": curve(trials, info.created_at if info else 0.0, run.direction),
    }


def curve(
    trials: Sequence[Trial],
    begun_at: float,
    direction: Direction = Direction.MAXIMIZE,
) -> dict[str, list[Any]]:
    """Return the best score so far, where it rose and at the end, and what it had cost.

    The columns are the number of trials, calls, dollars and seconds, and the best score. Dollars
    are None from the first call on whose price is unknown.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    counts = Counts(0, direction)
    calls = 0
    cost: float | None = 0.0
    seconds = 0.0
    for count, trial in enumerate(trials, start=1):
        usage = trial.usage
        calls += usage.calls
        if usage.cost_usd is None and usage.calls:
            cost = None
        if cost is not None:
            cost += usage.cost_usd or 0.0
        seconds = max(seconds, trial.finished_at - begun_at)
        counts.observe(trial)
        best = counts.champion
        if best is None:
            continue
        if best is trial or count == len(trials):
            point = (count, calls, cost, round(seconds, 3), best.score)
            for name, value in zip(_COLUMNS, point, strict=True):
                columns[name].append(value)
    return columns
