"""The kinds of parameters: each checks a value, draws one, and moves one a little."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

from ..errors import UsageError

_SMALL_MOVE = 0.2  # standard deviation of a small change, as a share of the range
Conditions: TypeAlias = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class Float:
    """A real number from low to high.

    Args:
        low: the least value.
        high: the greatest value.
        log: equal ratios are equally far apart; low must be above 0.
        description: what it is, for a model to read.
        step: only low, low + step, low + 2 step, ... up to high; not together with `log`.
        when: other parameters by name, each with the value, or a tuple of values, that it must have; where one of
            them has another value, or is itself absent, this parameter is absent from x.
        default: its usual value; None stands for the middle of its scale.

    Raises UsageError for what cannot be.

    >>> Float(0, 1, step=0.25).check(0.6), Float(1e-4, 1, log=True).usual()
    (0.5, 0.01)
    """

    low: float
    high: float
    log: bool = False
    description: str = ""
    step: float | None = field(default=None, kw_only=True)
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    default: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        _check_range(self)
        _settle(self)

    def check(self, value: Any) -> float:
        """Return the nearest legal value as a float. Raises UsageError for what is no number."""
        number = min(max(_number(value), self.low), self.high)
        if self.step is None:
            return float(number)
        place = min(round((number - self.low) / self.step), _steps(self))
        return float(
            Decimal(repr(self.low)) + place * Decimal(repr(self.step))
        )  # 0.3, not 0.30000000000000004

    def usual(self) -> float:
        """Return the default, else the middle of the scale."""
        return self.from_unit(0.5) if self.default is None else self.default

    def sample(self, rng: Random) -> float:
        """Return a value, uniform on the scale of this parameter."""
        if self.step is not None:
            return self.check(self.low + rng.randint(0, _steps(self)) * self.step)
        return self.from_unit(rng.random())

    def near(self, value: Any, rng: Random) -> float:
        """Return another value close to this one."""
        old = self.check(value)
        new = self.from_unit(_reflected(self.to_unit(old) + rng.gauss(0, _SMALL_MOVE)))
        return (
            self.check(old + rng.choice([-1, 1]) * self.step)
            if self.step and new == old
            else new
        )

    def to_unit(self, value: float) -> float:
        """Return the place of a legal value on the scale, from 0 at low to 1 at high."""
        low, high, value = (
            math.log(v) if self.log else v for v in (self.low, self.high, value)
        )
        return (value - low) / (high - low)

    def from_unit(self, share: float) -> float:
        """Return the legal value at a place of the scale, from 0 to 1."""
        if self.log:
            value = math.exp(
                math.log(self.low) + (math.log(self.high) - math.log(self.low)) * share
            )
            return self.check(float(f"{value:.15g}"))
        return self.check(self.low + (self.high - self.low) * share)


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included; the arguments are those of `Float`.

    >>> Int(8, 512, log=True).usual(), Int(10, 50, step=20).check(45)
    (64, 50)
    """

    low: int
    high: int
    log: bool = False
    description: str = ""
    step: int | None = field(default=None, kw_only=True)
    when: Mapping[str, Any] = field(default_factory=dict, kw_only=True, hash=False)
    default: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        for name in ("low", "high", "step"):
            value = getattr(self, name)
            if value is None:
                continue
            if (
                isinstance(value, bool)
                or not math.isfinite(value)
                or value != round(value)
            ):
                raise UsageError(
                    f"the {name} of an Int is {value!r}: give a whole number, or take Float"
                )
            object.__setattr__(self, name, int(value))
        _check_range(self)
        _settle(self)

    def check(self, value: Any) -> int:
        """Return the nearest legal value as an int. Raises UsageError for what is no number."""
        number = min(max(_number(value), self.low), self.high)
        if self.step is None:
            return round(number)
        return int(
            self.low
            + min(round((number - self.low) / self.step), _steps(self)) * self.step
        )

    def usual(self) -> int:
        """Return the default, else the middle of the scale."""
        return self.from_unit(0.5) if self.default is None else self.default

    def sample(self, rng: Random) -> int:
        """Return a value, uniform on the scale of this parameter."""
        if self.log:
            return self.from_unit(rng.random())
        return self.low + rng.randint(0, _steps(self)) * (self.step or 1)

    def near(self, value: Any, rng: Random) -> int:
        """Return another value close to this one, the same only where there is no other."""
        old = self.check(value)
        new = self.from_unit(_reflected(self.to_unit(old) + rng.gauss(0, _SMALL_MOVE)))
        return (
            new
            if new != old
            else self.check(old + rng.choice([-1, 1]) * (self.step or 1))
        )

    def to_unit(self, value: float) -> float:
        """Return the place of a legal value on the scale, from 0 at low to 1 at high."""
        return self._real().to_unit(value)

    def from_unit(self, share: float) -> int:
        """Return the legal value nearest to a place of the scale, from 0 to 1."""
        return self.check(self._real().from_unit(share))

    def _real(self) -> Float:
        return Float(self.low, self.high, self.log)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the options: texts, numbers, booleans or None.

    `description`, `when` and `default` are those of `Float`; without a default the first option is the usual one.

    >>> Choice("relu", "tanh").check("TANH")
    'tanh'
    """

    options: tuple[Any, ...]
    description: str = ""
    when: Mapping[str, Any] = field(default_factory=dict, hash=False)
    default: Any = None

    def __init__(
        self,
        *options: Any,
        description: str = "",
        when: Mapping[str, Any] | None = None,
        default: Any = None,
    ) -> None:
        """Take the options; at least one. Raises UsageError for what cannot be."""
        if not options:
            raise UsageError("a Choice needs options: Choice('a', 'b')")
        for option in options:
            if not (option is None or isinstance(option, str | int | float)):
                raise UsageError(
                    f"the option {option!r} is no text, number, boolean or None: give a name that f reads"
                )
        if len({(isinstance(option, bool), option) for option in options}) < len(
            options
        ):
            raise UsageError(
                f"a Choice holds an option twice: {', '.join(map(repr, options))}"
            )
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "when", when or {})
        object.__setattr__(self, "default", default)
        _settle(self)

    def check(self, value: Any) -> Any:
        """Return the option that is meant. Raises UsageError for what is none of them."""
        for option in self.options:
            if value == option and isinstance(value, bool) == isinstance(option, bool):
                return option
        for option in self.options:
            if isinstance(value, str) and value.strip().lower() == str(option).lower():
                return option
        raise UsageError(f"{value!r} is none of {', '.join(map(repr, self.options))}")

    def usual(self) -> Any:
        """Return the default, else the first option."""
        return self.options[0] if self.default is None else self.default

    def sample(self, rng: Random) -> Any:
        """Return any of the options."""
        return rng.choice(self.options)

    def near(self, value: Any, rng: Random) -> Any:
        """Return another option, the same only where there is no other."""
        old = self.check(value)
        return rng.choice(
            [option for option in self.options if option is not old]
            or list(self.options)
        )


def Bool(
    description: str = "",
    *,
    when: Mapping[str, Any] | None = None,
    default: bool | None = None,
) -> Choice:
    """Return a parameter that is true or false; the arguments are those of `Float`."""
    return Choice(False, True, description=description, when=when, default=default)


Parameter: TypeAlias = Float | Int | Choice


def as_values(wanted: Any) -> tuple[Any, ...]:
    """Return the values that a condition allows: one, or several in a tuple, list or set."""
    return (
        tuple(wanted)
        if isinstance(wanted, tuple | list | set | frozenset)
        else (wanted,)
    )


def _settle(parameter: Parameter) -> None:
    """Bring conditions and default into the one form that they are kept in."""
    when = {name: as_values(wanted) for name, wanted in parameter.when.items()}
    for name, values in when.items():
        if not values:
            raise UsageError(
                f"the condition on {name!r} allows no value: give one, or a tuple of several"
            )
    object.__setattr__(parameter, "when", when)
    if parameter.default is not None:
        settled = parameter.check(parameter.default)
        if settled != parameter.default:
            raise UsageError(
                f"the default {parameter.default!r} is no legal value; the nearest is {settled!r}"
            )
        object.__setattr__(parameter, "default", settled)


def _steps(parameter: Float | Int) -> int:
    """Return how many steps there are from low to high."""
    low, high, step = (
        Decimal(repr(number))
        for number in (parameter.low, parameter.high, parameter.step or 1)
    )
    return int((high - low) // step)


def _number(value: Any) -> float:
    """Return a finite number, also from a numeric text; an int stays as exact as it is. Raises UsageError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{value!r} is no number")
    try:
        number = value if isinstance(value, int) else float(value)
        finite = math.isfinite(number)
    except (ValueError, OverflowError):
        raise UsageError(f"{value!r} is no number") from None
    if not finite:
        raise UsageError(f"{value!r} is not finite")
    return number


def _check_range(parameter: Float | Int) -> None:
    low, high, step = parameter.low, parameter.high, parameter.step
    if not low < high or not math.isfinite(high - low):
        raise UsageError(
            f"the range from {low} to {high} is empty: low must be less than high, and both finite"
        )
    if parameter.log and low <= 0:
        raise UsageError(
            f"the range from {low} to {high} cannot be logarithmic: low must be above 0"
        )
    if step is not None and parameter.log:
        raise UsageError(
            f"a range cannot have the step {step} and a logarithmic scale: choose one, or give a Choice"
        )
    if step is not None and not 0 < step <= high - low:
        raise UsageError(
            f"the step is {step}: between {low} and {high} it must be above 0 and at most {high - low}"
        )


def _reflected(share: float) -> float:
    """Fold a number back into [0, 1] at its ends."""
    share %= 2.0
    return share if share <= 1.0 else 2.0 - share
