"""What a comparison found: a standing for each contender, and a sentence on what differs beyond noise."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from statistics import median

from ..records import Status, Trial, Usage
from ..text import show_number
from .statistics import LEVEL, Interval, holm, median_interval, rank_test, seeds_needed

_CHECKPOINTS = (0.10, 0.25, 0.50, 1.0)  # of the budget


@dataclass(frozen=True)
class Story:
    """One run of a contender."""

    run: str  # its name in the store
    seed: int
    curve: tuple[
        float, ...
    ]  # the best score after each scoring; -inf while there is none
    usage: Usage
    seconds: float  # of scorings and model calls together
    problem: str  # why it ended before its time; empty when it did not


@dataclass(frozen=True)
class Standing:
    """One contender in all its runs."""

    name: str
    at: Mapping[
        int, Interval
    ]  # scorings -> the best score after them, in the median of the runs
    calls: int  # of models, in all runs together, as are the following
    tokens: int
    cost_usd: float | None  # None: unknown
    seconds: float  # of scorings and model calls
    stories: tuple[Story, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of its runs."""
        return tuple(story.run for story in self.stories)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why runs ended before their time."""
        return tuple(story.problem for story in self.stories if story.problem)


@dataclass(frozen=True)
class Difference:
    """Two contenders at the whole budget: which is ahead, and how likely chance alone sets them so far apart."""

    ahead: str
    behind: str
    chance: float  # corrected for the number of differences

    @property
    def beyond_noise(self) -> bool:
        """Whether it is called a difference."""
        return self.chance <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; as text it is a table with the sentence below."""

    name: str
    scorings: int  # the budget of each run
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]  # the highest median first
    differences: tuple[Difference, ...]  # of all pairs
    sentence: str

    def __str__(self) -> str:
        head = [
            "",
            *(f"after {count}" for count in self.standings[0].at),
            "calls",
            "tokens",
            "dollars",
            "seconds",
        ]
        rows = [head, *(_row(standing) for standing in self.standings)]
        widths = [max(len(row[place]) for row in rows) for place in range(len(head))]
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            ).rstrip()
            for row in rows
        ]
        notes = [
            f"{one.name}: {problem}"
            for one in self.standings
            for problem in sorted(set(one.problems))
        ]
        return "\n".join([*lines, "", self.sentence, *notes])


def compared(
    name: str, scorings: int, stories: Mapping[str, Sequence[Story]]
) -> Comparison:
    """Return the comparison of contenders by their runs, which have the same seeds."""
    standings = [
        _standing(contender, scorings, runs) for contender, runs in stories.items()
    ]
    standings.sort(key=lambda one: one.at[scorings].median, reverse=True)
    differences = _differences(
        {
            one.name: [_best_at(story, scorings) for story in one.stories]
            for one in standings
        }
    )
    seeds = tuple(story.seed for story in standings[0].stories)
    sentence = _sentence(scorings, len(seeds), differences)
    return Comparison(
        name, scorings, seeds, tuple(standings), tuple(differences), sentence
    )


def curve_of(trials: Sequence[Trial]) -> tuple[float, ...]:
    """Return the best score after each scoring, for trials in the order in which they were finished.

    >>> curve_of([Trial.of(0, "a", Status.COMPLETE, "x0", score=1.0), Trial.of(1, "b", Status.FAILED, "m")])
    (1.0, 1.0)
    """
    gained: list[float] = []
    for trial in trials:
        if trial.x is not None and trial.status is not Status.DUPLICATE:
            gained += [-math.inf if trial.score is None else trial.score] * max(
                1, trial.scorings
            )
    return tuple(accumulate(gained, max))


def _best_at(story: Story, scorings: int) -> float:
    return (
        story.curve[min(scorings, len(story.curve)) - 1] if story.curve else -math.inf
    )


def _standing(name: str, scorings: int, stories: Sequence[Story]) -> Standing:
    counts = sorted({math.ceil(share * scorings) for share in _CHECKPOINTS})
    usage = sum((story.usage for story in stories), Usage())
    return Standing(
        name,
        {
            count: median_interval([_best_at(story, count) for story in stories])
            for count in counts
        },
        usage.calls,
        usage.tokens,
        usage.cost_usd if usage.calls else 0.0,
        math.fsum(story.seconds for story in stories),
        tuple(stories),
    )


def _differences(scores: Mapping[str, Sequence[float]]) -> list[Difference]:
    """Return the difference of each pair of contenders, which stand in the order of their medians."""
    pairs = list(combinations(scores, 2))
    chances = holm([rank_test(scores[one], scores[other]) for one, other in pairs])
    return [
        Difference(
            *(pair if _above(scores[pair[0]], scores[pair[1]]) else pair[::-1]), chance
        )
        for pair, chance in zip(pairs, chances, strict=True)
    ]


def _above(one: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether the first wins more often than it loses; that is what the test of ranks compares."""
    wins = sum((a > b) - (a < b) for a in one for b in other)
    return wins > 0 or (wins == 0 and median(one) >= median(other))


def _sentence(scorings: int, seeds: int, differences: Sequence[Difference]) -> str:
    runs = f"After {scorings} scorings, in {seeds} runs each"
    if not differences:
        return f"{runs}: there is nothing to compare with."
    behind: dict[str, list[str]] = {}
    for one in differences:
        if one.beyond_noise:
            behind.setdefault(one.ahead, []).append(one.behind)
    found = "; ".join(
        f"{ahead} is ahead of {_listed(others)}" for ahead, others in behind.items()
    )
    how = f"(test of ranks, corrected for {len(differences)}, at {LEVEL:.0%})"
    if len(differences) == sum(map(len, behind.values())):
        return f"{runs}: {found} {how}."
    if behind:
        return f"{runs}: {found}; every other difference may be noise {how}."
    needed = seeds_needed(len(differences))
    few = (
        f" So few runs cannot show one: take at least {needed} seeds."
        if seeds < needed
        else ""
    )
    return f"{runs}, no difference is beyond noise {how}.{few}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _row(standing: Standing) -> list[str]:
    cost = "unknown" if standing.cost_usd is None else f"{standing.cost_usd:.4g}"
    spent = [str(standing.calls), str(standing.tokens), cost, f"{standing.seconds:.3g}"]
    return [standing.name, *map(_shown, standing.at.values()), *spent]


def _shown(interval: Interval) -> str:
    middle, low, high = (
        _score(value) for value in (interval.median, interval.low, interval.high)
    )
    return f"{middle} [{low}, {high}]"


def _score(value: float) -> str:
    return show_number(value) if math.isfinite(value) else "none"
