"""Several runs beside each other: the best score so far of each, against what it had cost by then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...records import Counts, Trial
from ...store import RunInfo, Store
from .facts import plain


def names_in(store: Store, comparison: str) -> list[str]:
    """Return the runs of a comparison: those named COMPARISON/CONTENDER/SEED."""
    return [name for name in store.names() if name.startswith(f"{comparison}/")]


def comparison(store: Store, names: Sequence[str]) -> dict[str, Any]:
    """Return the curves of the named runs. Raises RunNotFound."""
    known = {info.name: info for info in store.runs()}
    return {"runs": [_one(store, name, known.get(name)) for name in names]}


def _one(store: Store, name: str, info: RunInfo | None) -> dict[str, Any]:
    run = store.run(name)
    trials = run.trials()
    *path, last = name.split("/")
    grouped = len(path) >= 2
    return {
        "name": name,
        "contender": "/".join(path[1:]) if grouped else name,
        "seed": last if grouped else "",
        "trials": len(trials),
        "scored": sum(trial.scored for trial in trials),
        "stop_reason": info.stop_reason if info else None,
        "settings": plain(run.settings),
        "curve": curve(trials, info.created_at if info else 0.0),
    }


def curve(trials: Sequence[Trial], begun_at: float) -> dict[str, list[Any]]:
    """Return the best score so far where it rose, and at the end, against trials, calls, dollars and seconds.

    Dollars are None from the first call on whose price is unknown.
    """
    points: list[tuple[Any, ...]] = []
    counts = Counts(first_trials=0)
    calls, cost, seconds = 0, 0.0, 0.0
    known = True
    for count, trial in enumerate(trials, start=1):
        calls += trial.usage.calls
        known = known and (trial.usage.cost_usd is not None or not trial.usage.calls)
        cost += trial.usage.cost_usd or 0.0
        seconds = max(seconds, trial.finished_at - begun_at)
        counts.observe(trial)
        best = counts.champion
        if best is not None and (best is trial or count == len(trials)):
            points.append(
                (count, calls, cost if known else None, round(seconds, 3), best.score)
            )
    columns = ("trial", "calls", "cost", "seconds", "best")
    return {
        name: [point[place] for point in points] for place, name in enumerate(columns)
    }
