"""Comparison of runs: the best score so far of each, against what it had cost by then.

Where the runs were made to be compared, the verdict is that of `optimize.compare`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ...records import Counts, Direction, Trial
from ...store import RunInfo, Store
from ...text import clip, show_x
from ..comparison import Comparison, of_runs, parts_of, scorings_of
from .facts import plain

_MAX_X_CHARS = 20_000  # of the best x of a run
_COLUMNS = ("trial", "scorings", "calls", "cost", "seconds", "best")


def names_in(store: Store, comparison: str) -> list[str]:
    """Return the runs of a comparison: those named COMPARISON/CONTENDER/SEED."""
    return [name for name in store.names() if name.startswith(f"{comparison}/")]


def comparison(
    store: Store,
    names: Sequence[str],
) -> dict[str, Any]:
    """Return the curves of the named runs, and the verdict on them. Raises RunNotFound.

    The verdict is None where the runs are not those of one comparison, or where no seed has ended
    for all contenders.
    """
    known = {info.name: info for info in store.runs()}
    runs = [_one(store, name, known.get(name)) for name in names]
    found = of_runs(store, names)
    verdict = None
    if found is not None:
        verdict = _verdict(found)
    return {"runs": runs, "verdict": verdict}


def _verdict(found: Comparison) -> dict[str, Any]:
    """Return what a comparison found, as plain data."""
    standings = []
    for standing in found.standings:
        at = []
        for after, interval in standing.at.items():
            values = asdict(interval)
            at.append({"after": after, **values})
        standings.append(
            {
                "name": standing.name,
                "at": at,
                "calls": standing.calls,
                "tokens": standing.tokens,
                "cost": standing.cost_usd,
                "seconds": standing.seconds,
                "problems": sorted(set(standing.problems)),
            }
        )
    differences = []
    for one in found.differences:
        pair = asdict(one)
        pair["is_significant"] = one.is_significant
        differences.append(pair)
    verdict = {
        "sentence": found.sentence,
        "scorings": found.scorings,
        "seeds": found.seeds,
        "standings": standings,
        "differences": differences,
    }
    found_data: dict[str, Any] = plain(verdict)
    return found_data


def _one(
    store: Store,
    name: str,
    info: RunInfo | None,
) -> dict[str, Any]:
    run = store.run(name)
    trials = run.trials()
    begun_at = info.created_at if info else 0.0
    best = run.direction.best(trials)
    best_x = None
    if best is not None and best.x is not None:
        best_x = clip(show_x(best.x), _MAX_X_CHARS)
    _, contender, seed = parts_of(name)
    return {
        "name": name,
        "contender": contender,
        "seed": seed,
        "trials": len(trials),
        "scored": sum(trial.scored for trial in trials),
        "stop_reason": info.stop_reason if info else None,
        "settings": plain(run.settings),
        "curve": curve(trials, begun_at, run.direction),
        "best_x": best_x,
    }


def curve(
    trials: Sequence[Trial],
    begun_at: float,
    direction: Direction = Direction.MAXIMIZE,
) -> dict[str, list[Any]]:
    """Return the best score so far, where it rose and at the end, and what it had cost.

    The columns are the number of trials, scorings, calls, dollars and seconds, and the best score.
    Duplicates, and replies without an x, are trials that were not scored. Dollars
    are None from the first call on whose price is unknown.
    """
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    counts = Counts(0, direction)
    calls = scorings = 0
    cost: float | None = 0.0
    seconds = 0.0
    for count, trial in enumerate(trials, start=1):
        usage = trial.usage
        calls += usage.calls
        if usage.cost_usd is None and usage.calls:
            cost = None
        if cost is not None:
            cost += usage.cost_usd or 0.0
        scorings += scorings_of(trial)
        seconds = max(seconds, trial.finished_at - begun_at)
        counts.observe(trial)
        best = counts.champion
        if best is None:
            continue
        if best is trial or count == len(trials):
            until = round(seconds, 3)
            point = (count, scorings, calls, cost, until, best.score)
            for name, value in zip(_COLUMNS, point, strict=True):
                columns[name].append(value)
    return columns
