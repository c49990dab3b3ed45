"""What recommendations choose from: the space of all configurations, and all past tasks."""

from __future__ import annotations

from ...space import Space
from .grids import builtin_grids, space_of
from .library import Library, builtin_tasks
from .own_runs import own_tasks


def space() -> Space:
    """Return the space of all configurations of the built-in grids."""
    return space_of(builtin_grids())


def past_tasks(store: str | None = None) -> Library:
    """Return the past tasks of the package and, with a store, those of your own runs."""
    grids = builtin_grids()
    found = dict(builtin_tasks(grids))
    if store is not None:
        found.update(own_tasks(store, grids))
    return found
