"""Stop rules: conditions that end a run before its budget does.

Rules combine with `|` (at least one holds) and `&` (all hold); any callable that takes a
`Progress` is a rule, too. Caps on scorings, time, calls, tokens and dollars are `records.Budget`.

optimize.run(..., stop=stop.score(0.99) | stop.stale(20) & (lambda seen: seen.seconds > 600))
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .errors import UsageError
from .records import Direction, Trial, Usage


@dataclass(frozen=True)
class Progress:
    """What a rule sees of a run."""

    trials: Sequence[Trial]  # finished ones, in the order of finishing
    best: Trial | None
    usage: Usage
    seconds: float  # wall clock of this session
    scorings: int  # calls of f
    stale_steps: int  # steps in a row without a new best
    direction: Direction = Direction.MAXIMIZE


Condition: TypeAlias = Callable[[Progress], bool]


@dataclass(frozen=True)
class Rule:
    """When to end a run; `name` is what `Result.stop_reason` then says."""

    name: str
    holds: Condition

    def why(self, progress: Progress) -> str | None:
        """Return which rule ends the run; None while none does."""
        return self.name if self.holds(progress) else None

    def __or__(self, other: Rule | Condition) -> Rule:
        return _either(self, as_rule(other))

    def __ror__(self, other: Condition) -> Rule:
        return _either(as_rule(other), self)

    def __and__(self, other: Rule | Condition) -> Rule:
        return _both(self, as_rule(other))

    def __rand__(self, other: Condition) -> Rule:
        return _both(as_rule(other), self)


@dataclass(frozen=True)
class _Either(Rule):
    """Two rules of which one is enough; the reason names the one that holds."""

    first: Rule
    second: Rule

    def why(self, progress: Progress) -> str | None:
        return self.first.why(progress) or self.second.why(progress)


def _either(first: Rule, second: Rule) -> Rule:
    def holds(progress: Progress) -> bool:
        return first.holds(progress) or second.holds(progress)

    return _Either(f"{first.name} | {second.name}", holds, first, second)


def _both(first: Rule, second: Rule) -> Rule:
    def holds(progress: Progress) -> bool:
        return first.holds(progress) and second.holds(progress)

    # `&` binds more tightly than `|`, in the name as in Python.
    names = []
    for rule in (first, second):
        names.append(f"({rule.name})" if isinstance(rule, _Either) else rule.name)
    return Rule(" & ".join(names), holds)


def as_rule(stop: Rule | Condition) -> Rule:
    """Return a rule for any condition, named after it. Raises UsageError for anything else.

    >>> as_rule(lambda seen: seen.scorings > 5).name
    '<lambda>'
    """
    if isinstance(stop, Rule):
        return stop
    if not callable(stop):
        raise UsageError(
            f"stop is {stop!r}: give a rule such as stop.stale(20), "
            "or a callable that takes a Progress"
        )
    return Rule(getattr(stop, "__name__", type(stop).__name__), stop)


def score(goal: float) -> Rule:
    """End when the best score reaches the goal.

    >>> score(0.9).name
    'score(0.9)'
    """

    def holds(seen: Progress) -> bool:
        if seen.best is None:
            return False
        return seen.direction.reaches(seen.best.score or 0.0, goal)

    return Rule(f"score({goal:g})", holds)


def stale(steps: int) -> Rule:
    """End after this many steps in a row without a new best."""
    _check_positive("stale", steps)
    return Rule(f"stale({steps})", lambda seen: seen.stale_steps >= steps)


def seconds(limit: float) -> Rule:
    """Deprecated, goes in 2.0: use `Budget(seconds=...)`, or a callable of `Progress.seconds`."""
    warnings.warn(
        "stop.seconds is deprecated and goes in 2.0: use budget=Budget(seconds=...), "
        "or stop=lambda seen: seen.seconds >= limit",
        DeprecationWarning,
        stacklevel=2,
    )
    _check_positive("seconds", limit)
    return Rule(f"seconds({limit:g})", lambda seen: seen.seconds >= limit)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(
            f"stop.{name}({value}) would end the run before it begins: give more than 0"
        )
