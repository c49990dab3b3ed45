"""Rules that end a run; they combine with `|` (whichever comes first) and `&` (when all hold).

optimize.run(..., stop=stop.score(0.99) | stop.stale(20) & stop.seconds(600))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .errors import UsageError
from .records import Trial, Usage


@dataclass(frozen=True)
class Progress:
    """What a rule sees of a run."""

    trials: Sequence[Trial]  # finished ones, in the order of finishing
    best: Trial | None
    usage: Usage
    seconds: float  # wall clock of this session
    scorings: int  # calls of f
    stale_steps: int  # steps in a row without a new best


@dataclass(frozen=True)
class Rule:
    """When to end a run, and the words that then stand in `Result.stop_reason`."""

    name: str
    holds: Callable[[Progress], bool]
    parts: tuple[Rule, ...] = ()  # of which one is enough

    def why(self, progress: Progress) -> str | None:
        """Return which rule ends the run; None while none does."""
        if self.parts:
            return next(
                (reason for part in self.parts if (reason := part.why(progress))), None
            )
        return self.name if self.holds(progress) else None

    def __or__(self, other: Rule) -> Rule:
        def either(progress: Progress) -> bool:
            return self.holds(progress) or other.holds(progress)

        return Rule(
            f"{self.name} | {other.name}",
            either,
            (*_alternatives(self), *_alternatives(other)),
        )

    def __and__(self, other: Rule) -> Rule:
        def both(progress: Progress) -> bool:
            return self.holds(progress) and other.holds(progress)

        return Rule(f"{_bracketed(self)} & {_bracketed(other)}", both)


def _alternatives(rule: Rule) -> tuple[Rule, ...]:
    return rule.parts or (rule,)


def _bracketed(rule: Rule) -> str:
    return f"({rule.name})" if rule.parts else rule.name


def as_rule(rule: Rule | Callable[[Progress], bool] | None) -> Rule | None:
    """Return a rule for any callable that says whether to end, named after it. Raises UsageError for anything else."""
    if rule is None or isinstance(rule, Rule):
        return rule
    if not callable(rule):
        raise UsageError(
            f"stop is {rule!r}: give a rule such as stop.stale(20), or a callable that takes a Progress"
        )
    return Rule(getattr(rule, "__name__", type(rule).__name__), rule)


def score(goal: float) -> Rule:
    """End when the best score reaches the goal.

    >>> score(0.9).name
    'score(0.9)'
    """
    return Rule(
        f"score({goal:g})",
        lambda seen: seen.best is not None and (seen.best.score or 0.0) >= goal,
    )


def trials(count: int) -> Rule:
    """End when so many trials are finished, x0 included."""
    _check_positive("trials", count)
    return Rule(f"trials({count})", lambda seen: len(seen.trials) >= count)


def scorings(count: int) -> Rule:
    """End when f was called so often."""
    _check_positive("scorings", count)
    return Rule(f"scorings({count})", lambda seen: seen.scorings >= count)


def stale(steps: int) -> Rule:
    """End after so many steps in a row without a new best."""
    _check_positive("stale", steps)
    return Rule(f"stale({steps})", lambda seen: seen.stale_steps >= steps)


def seconds(limit: float) -> Rule:
    """End when the run has lasted so many seconds of wall clock; trials in flight are waited for."""
    _check_positive("seconds", limit)
    return Rule(f"seconds({limit:g})", lambda seen: seen.seconds >= limit)


def calls(count: int) -> Rule:
    """End when so many model calls were answered."""
    _check_positive("calls", count)
    return Rule(f"calls({count})", lambda seen: seen.usage.calls >= count)


def tokens(count: int) -> Rule:
    """End when so many tokens were used."""
    _check_positive("tokens", count)
    return Rule(f"tokens({count})", lambda seen: seen.usage.tokens >= count)


def usd(amount: float) -> Rule:
    """End when so many US dollars were spent, as far as prices are known; `Budget(usd=...)` is stricter."""
    _check_positive("usd", amount)
    return Rule(f"usd({amount:g})", lambda seen: (seen.usage.cost_usd or 0.0) >= amount)


def _check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise UsageError(
            f"stop.{name}({value}) would end the run before it begins: give more than 0"
        )
