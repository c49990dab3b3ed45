"""Recommendations without a model: members of the nearest past tasks, and usual configurations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from .grids import Config, Grids, distinct
from .library import PastTask

_NEAREST = 3  # past tasks that a portfolio is drawn from first
_ATTEMPTS = 1_000  # to find a configuration that is not there yet


def portfolio(
    tasks: Sequence[PastTask],
    count: int,
) -> list[Config]:
    """Return members of past tasks, the most promising first; fewer where there are not enough.

    The nearest tasks take turns, each with its best member that is left by percentile rank; when
    they have no more, the others follow.

    Args:
        tasks: the nearest first.
        count: how many configurations to return at most.
    """
    near = _in_turn(tasks[:_NEAREST])
    far = _in_turn(tasks[_NEAREST:])
    found = distinct([*near, *far])
    return found[:count]


def _in_turn(tasks: Sequence[PastTask]) -> Iterator[Config]:
    queues = []
    for task in tasks:
        queues.append(sorted(task.members, key=lambda one: -(one.prank or 0.0)))
    longest = max(map(len, queues), default=0)
    for place in range(longest):
        for queue in queues:
            if place < len(queue):
                yield queue[place].config


def context_random(
    tasks: Sequence[PastTask],
    count: int,
    rng: Random,
) -> list[Config]:
    """Return random members of past tasks."""
    members = distinct(one.config for task in tasks for one in task.members)
    possible = min(count, len(members))
    return rng.sample(members, possible)


def usual_configs(grids: Grids, count: int) -> list[Config]:
    """Return configurations that a practitioner would try first, without looking at the data.

    The usual one of each class, then the same with half and with twice the learning rate, and so
    on by single steps of other parameters.
    """
    found = [grid.usual() for grid in grids.values()]
    for factor in (0.5, 2.0, 0.2):
        for grid in grids.values():
            values = grid.usual().by_name
            rates = [name for name in values if name.startswith("learning_rate")]
            for name in rates:
                rate = grid.parameters[name].project(values[name] * factor)
                values[name] = rate
            found.append(Config(grid.model, tuple(values.items())))
    return completed(distinct(found), grids, count, Random(0))


def completed(
    configs: Iterable[Config],
    grids: Grids,
    count: int,
    rng: Random,
) -> list[Config]:
    """Return `count` configurations: these, then neighbors of these, or random ones.

    Fewer are returned where the grids do not hold as many.
    """
    found = distinct(configs)[:count]
    models = list(grids)
    for attempt in range(_ATTEMPTS):
        if len(found) >= count:
            break
        if found:
            origin = found[attempt % len(found)]
            grid = grids[origin.model]
            new = grid.near(origin, rng)
        else:
            model = rng.choice(models)
            new = grids[model].sample(rng)
        if new not in found:
            found.append(new)
    return found


def random_configs(
    grids: Grids,
    count: int,
    rng: Random,
) -> list[Config]:
    """Return random configurations, each of a random class."""
    models = list(grids)
    found: list[Config] = []
    for _ in range(_ATTEMPTS):
        if len(found) < count:
            model = rng.choice(models)
            new = grids[model].sample(rng)
            if new not in found:
                found.append(new)
    return found
