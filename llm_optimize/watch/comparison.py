"""Comparison: the standing of each contender, and which differences are significant.

`optimize.compare` makes the runs, which are named COMPARISON/CONTENDER/SEED. Command line, report
and page show what is found here, so that all of them say the same sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, combinations
from statistics import median

from ..records import Direction, Status, Trial, Usage
from ..store import Run, RunInfo, Store
from ..text import show_number
from .html_parts import BAD, as_html, grid_html
from .statistics import LEVEL, Interval, holm, median_interval, rank_test, seeds_needed

_CHECKPOINTS = (0.10, 0.25, 0.50, 1.0)  # of the budget
# Why a run ended that is to go on.
_PAUSED = (
    "closed",
    "interrupted",
    "open",
)


@dataclass(frozen=True)
class RunOutcome:
    """One run of a contender."""

    run: str  # its name in the store
    seed: int
    # Best score after each scoring; the worst infinity while there is none.
    curve: tuple[float, ...]
    usage: Usage
    seconds: float  # of scorings and model calls together
    problem: str  # why it ended before its time; empty when it did not


@dataclass(frozen=True)
class Standing:
    """One contender in all its runs."""

    name: str
    # Scorings -> median over the runs of the best score by then.
    at: Mapping[int, Interval]
    calls: int  # of models; this and the following in all runs together
    tokens: int
    cost_usd: float | None  # None: unknown
    seconds: float  # of scorings and model calls
    outcomes: tuple[RunOutcome, ...]

    @property
    def runs(self) -> tuple[str, ...]:
        """The names of its runs."""
        return tuple(run.run for run in self.outcomes)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why runs ended before their time."""
        return tuple(run.problem for run in self.outcomes if run.problem)


@dataclass(frozen=True)
class Difference:
    """Two contenders at the whole budget, and which of them is ahead."""

    ahead: str
    behind: str
    p_value: float  # of the rank test, corrected for the number of pairs (Holm)

    @property
    def is_significant(self) -> bool:
        """Whether the difference is larger than noise explains, at the level of 0.05."""
        return self.p_value <= LEVEL


@dataclass(frozen=True)
class Comparison:
    """What a comparison found; as text it is a table with the sentence below."""

    name: str
    scorings: int  # the budget of each run
    seeds: tuple[int, ...]
    standings: tuple[Standing, ...]  # the best median first
    differences: tuple[Difference, ...]  # of all pairs
    sentence: str
    direction: Direction = Direction.MAXIMIZE

    def __str__(self) -> str:
        rows = self._rows()
        columns = zip(*rows, strict=True)
        widths = [max(map(len, column)) for column in columns]
        lines = []
        for row in rows:
            cells = zip(row, widths, strict=True)
            line = "  ".join(cell.ljust(width) for cell, width in cells)
            lines.append(line.rstrip())
        lines += ["", self.sentence]
        lines += self._problems()
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *rows = self._rows()
        name = as_html(self.name, 80)
        sentence = as_html(self.sentence, 2_000)
        parts = [f"<div><b>{name}</b>: {sentence}</div>", grid_html(head, rows)]
        for problem in self._problems():
            text = as_html(problem)
            parts.append(f'<div style="color:{BAD}">{text}</div>')
        return f"<div>{''.join(parts)}</div>"

    def _rows(self) -> list[list[str]]:
        """Return the cells of the table, the head first."""
        checkpoints = [f"after {count}" for count in self.standings[0].at]
        corner = ""
        if self.direction is Direction.MINIMIZE:
            corner = "lower is better"
        rows = [[corner, *checkpoints, "calls", "tokens", "dollars", "seconds"]]
        for standing in self.standings:
            rows.append(_row(standing))
        return rows

    def _problems(self) -> list[str]:
        """Return why runs ended before their time, each reason once."""
        found = []
        for standing in self.standings:
            for problem in sorted(set(standing.problems)):
                found.append(f"{standing.name}: {problem}")
        return found


def compared(
    name: str,
    scorings: int,
    outcomes: Mapping[str, Sequence[RunOutcome]],
    direction: Direction = Direction.MAXIMIZE,
) -> Comparison:
    """Return the comparison of contenders by their runs, which have the same seeds."""
    standings = []
    for contender, runs in outcomes.items():
        standings.append(_standing(contender, scorings, runs, direction))
    standings.sort(key=lambda one: -direction.turned(one.at[scorings].median))
    scores: dict[str, list[float]] = {}  # a higher one is better
    for standing in standings:
        best = [_best_at(run, scorings, direction) for run in standing.outcomes]
        scores[standing.name] = list(map(direction.turned, best))
    differences = _differences(scores)
    seeds = tuple(run.seed for run in standings[0].outcomes)
    sentence = _sentence(scorings, len(seeds), differences)
    return Comparison(
        name=name,
        scorings=scorings,
        seeds=seeds,
        standings=tuple(standings),
        differences=tuple(differences),
        sentence=sentence,
        direction=direction,
    )


def of_runs(store: Store, names: Sequence[str]) -> Comparison | None:
    """Return the comparison of stored runs, which are named COMPARISON/CONTENDER/SEED.

    It counts the seeds for which all contenders have ended. None where there is no such seed, where
    a run is unknown, or where they are not of one comparison: of two contenders or more, with the
    same scorings and direction.
    """
    known = {info.name: info for info in store.runs()}
    ended: dict[str, dict[int, RunInfo]] = {}  # contender -> seed -> run
    comparisons, scorings, directions = set(), set(), set()
    for name in names:
        comparison, contender, number = parts_of(name)
        info = known.get(name)
        if info is None or not number.isdecimal():
            return None
        comparisons.add(comparison)
        budget = info.settings.get("budget") or {}
        scorings.add(budget.get("scorings"))
        directions.add(info.direction)
        runs = ended.setdefault(contender, {})
        if info.stop_reason is not None and info.stop_reason not in _PAUSED:
            runs[int(number)] = info
    are_two = len(ended) > 1
    if not are_two or len(comparisons) != 1 or len(scorings) != 1:
        return None
    if len(directions) != 1:
        return None
    seeds_of_each = map(set, ended.values())
    seeds = set.intersection(*seeds_of_each)
    count = scorings.pop()
    if not seeds or count is None:
        return None
    outcomes: dict[str, list[RunOutcome]] = {}
    for contender, runs in ended.items():
        outcomes[contender] = []
        for seed in sorted(seeds):
            info = runs[seed]
            run = store.run(info.name)
            outcome = outcome_of(run, seed, info.stop_reason)
            outcomes[contender].append(outcome)
    comparison, direction = comparisons.pop(), directions.pop()
    return compared(comparison, count, outcomes, direction)


def parts_of(name: str) -> tuple[str, str, str]:
    """Return comparison, contender and seed of a run's name; "" for a seed that it has not.

    >>> parts_of("digits/tree/3"), parts_of("amber")
    (('digits', 'tree', '3'), ('amber', 'amber', ''))
    """
    path = name.split("/")
    if len(path) < 3:
        return name, name, ""
    comparison, *contender, seed = path
    return comparison, "/".join(contender), seed


def outcome_of(run: Run, seed: int, stop_reason: str | None) -> RunOutcome:
    """Return the outcome of a stored run."""
    trials = run.trials()
    seconds = [trial.seconds for trial in trials]
    for call in run.calls():
        if call.reply is not None:
            seconds.append(call.reply.seconds)
    problem = ""
    if is_unfinished(stop_reason):
        problem = str(stop_reason)
    return RunOutcome(
        run=run.name,
        seed=seed,
        curve=curve_of(trials, run.direction),
        usage=sum((trial.usage for trial in trials), Usage()),
        seconds=math.fsum(seconds),
        problem=problem,
    )


def is_unfinished(stop_reason: str | None) -> bool:
    """Whether a run is to go on: it has not ended, was stopped by hand, or failed."""
    if stop_reason is None or stop_reason in _PAUSED:
        return True
    return stop_reason.startswith("error")


def curve_of(
    trials: Sequence[Trial], direction: Direction = Direction.MAXIMIZE
) -> tuple[float, ...]:
    """Return the best score after each scoring, for trials in the order of finishing.

    >>> good = Trial.of(0, "a", Status.COMPLETE, "x0", score=1.0)
    >>> curve_of([good, Trial.of(1, "b", Status.FAILED, "m")])
    (1.0, 1.0)
    """
    scores: list[float] = []
    for trial in trials:
        score = trial.score
        if score is None:
            score = direction.worst
        scores += [score] * scorings_of(trial)
    best_of_two = min if direction is Direction.MINIMIZE else max
    return tuple(accumulate(scores, best_of_two))


def scorings_of(trial: Trial) -> int:
    """Return how many scorings a finished trial took; none for a duplicate, or without an x."""
    if trial.x is None:
        return 0
    if trial.status is Status.DUPLICATE:
        return 0
    return max(1, trial.scorings)


def _best_at(run: RunOutcome, scorings: int, direction: Direction) -> float:
    """Return the best score of a run after so many scorings, or all it has."""
    if not run.curve:
        return direction.worst
    last = min(scorings, len(run.curve)) - 1
    return run.curve[last]


def _standing(
    name: str, scorings: int, outcomes: Sequence[RunOutcome], direction: Direction
) -> Standing:
    checkpoints = sorted({math.ceil(share * scorings) for share in _CHECKPOINTS})
    at = {}
    for count in checkpoints:
        scores = [_best_at(run, count, direction) for run in outcomes]
        at[count] = median_interval(scores)
    usage = sum((run.usage for run in outcomes), Usage())
    cost_usd = usage.cost_usd
    if not usage.calls:
        cost_usd = 0.0
    return Standing(
        name=name,
        at=at,
        calls=usage.calls,
        tokens=usage.tokens,
        cost_usd=cost_usd,
        seconds=math.fsum(run.seconds for run in outcomes),
        outcomes=tuple(outcomes),
    )


def _differences(scores: Mapping[str, Sequence[float]]) -> list[Difference]:
    """Return the difference of each pair of contenders, in the order of their medians."""
    pairs = list(combinations(scores, 2))
    p_values = [rank_test(scores[one], scores[other]) for one, other in pairs]
    found = []
    for (one, other), p_value in zip(pairs, holm(p_values), strict=True):
        if _is_above(scores[one], scores[other]):
            found.append(Difference(one, other, p_value))
        else:
            found.append(Difference(other, one, p_value))
    return found


def _is_above(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether the first wins more pairs than it loses, which is what the rank test compares."""
    balance = 0
    for a in one:
        for b in other:
            balance += (a > b) - (a < b)
    if balance == 0:
        return median(one) >= median(other)
    return balance > 0


def _sentence(scorings: int, seeds: int, differences: Sequence[Difference]) -> str:
    """Return in words what the differences say."""
    runs = f"After {scorings} scorings, in {seeds} runs each"
    count = len(differences)
    if count == 0:
        return f"{runs}: there is nothing to compare with."
    significant = [one for one in differences if one.is_significant]
    test = f"(rank test, corrected for {count}, at {LEVEL:.0%})"
    if not significant:
        sentence = f"{runs}, no difference is beyond noise {test}."
        needed = seeds_needed(count)
        if seeds < needed:
            sentence += f" So few runs cannot show one: take at least {needed} seeds."
        return sentence
    behind: dict[str, list[str]] = {}
    for one in significant:
        behind.setdefault(one.ahead, []).append(one.behind)
    ahead = []
    for name, others in behind.items():
        ahead.append(f"{name} is ahead of {_listed(others)}")
    found = "; ".join(ahead)
    if len(significant) == count:
        return f"{runs}: {found} {test}."
    return f"{runs}: {found}; every other difference may be noise {test}."


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    if not others:
        return last
    return f"{', '.join(others)} and {last}"


def _row(standing: Standing) -> list[str]:
    """Return the cells of a contender in the table."""
    cells = [standing.name]
    for interval in standing.at.values():
        middle = _score(interval.median)
        cells.append(f"{middle} [{_score(interval.low)}, {_score(interval.high)}]")
    cost = "unknown"
    if standing.cost_usd is not None:
        cost = f"{standing.cost_usd:.4g}"
    cells += [
        str(standing.calls),
        str(standing.tokens),
        cost,
        f"{standing.seconds:.3g}",
    ]
    return cells


def _score(value: float) -> str:
    if not math.isfinite(value):
        return "none"
    return show_number(value)
