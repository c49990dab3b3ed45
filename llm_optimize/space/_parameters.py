"""Kinds of parameters: each checks a value, draws one, and finds a neighbor of one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any, TypeAlias

from ..errors import InPython, UsageError

_COLLECTIONS = (tuple, list, set, frozenset)  # of the values of a condition
_NEAR_SD = 0.2  # standard deviation of the step to a neighbor, as a share of the range


@dataclass(frozen=True)
class Float:
    """A real number from low to high.

    Args:
        low: the least value.
        high: the greatest value.
        log: equal ratios are equally far apart; low must be above 0.
        description: what it is, for a model to read.
        step: only low, low + step, low + 2 step, ... up to high; not together with `log`.
        when: the condition: names of other parameters, each with the value, or a tuple of
            values, that it must have. Where one of them has another value, or is itself absent,
            this one is absent from x.
        default: its usual value; None stands for the middle of its scale.

    Raises UsageError for a range, step, condition or default that is not possible.

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
        _normalize(self)

    def check(self, value: Any) -> float:
        """Return the nearest legal value as a float. Raises UsageError where it is not a number."""
        number = _clipped(value, self)
        if self.step is None:
            return float(number)
        steps = min(round((number - self.low) / self.step), _count_steps(self))
        # Decimals, so that three steps of 0.1 are 0.3 and not 0.30000000000000004.
        low = Decimal(repr(self.low))
        step = Decimal(repr(self.step))
        return float(low + steps * step)

    def usual(self) -> float:
        """Return the default, else the middle of the scale."""
        if self.default is None:
            return self.from_unit(0.5)
        return self.default

    def sample(self, rng: Random) -> float:
        """Return a random value, uniform on the scale of this parameter."""
        if self.step is not None:
            steps = rng.randint(0, _count_steps(self))
            return self.check(self.low + steps * self.step)
        return self.from_unit(rng.random())

    def near(self, value: Any, rng: Random) -> float:
        """Return another value close to this one."""
        old = self.check(value)
        share = _near_share(self.to_unit(old), rng)
        new = self.from_unit(share)
        if self.step and new == old:
            direction = rng.choice([-1, 1])
            return self.check(old + direction * self.step)
        return new

    def to_unit(self, value: float) -> float:
        """Return the position of a legal value on the scale, from 0 at low to 1 at high."""
        low, high = self._scale()
        if self.log:
            value = math.log(value)
        return (value - low) / (high - low)

    def from_unit(self, share: float) -> float:
        """Return the legal value at a position on the scale, from 0 to 1."""
        low, high = self._scale()
        value = low + (high - low) * share
        if self.log:
            value = float(f"{math.exp(value):.15g}")
        return self.check(value)

    def _scale(self) -> tuple[float, float]:
        """Return low and high, on a logarithmic scale their logarithms."""
        if not self.log:
            return self.low, self.high
        return math.log(self.low), math.log(self.high)


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
            is_number = not isinstance(value, bool) and math.isfinite(value)
            if not is_number or value != round(value):
                raise UsageError(
                    f"the {name} of an Int is {value!r}: give a whole number, or use ",
                    InPython("Float", shell='the kind "float"'),
                )
            object.__setattr__(self, name, int(value))
        _check_range(self)
        _normalize(self)

    def check(self, value: Any) -> int:
        """Return the nearest legal value as an int. Raises UsageError where it is not a number."""
        number = _clipped(value, self)
        if self.step is None:
            return round(number)
        steps = min(round((number - self.low) / self.step), _count_steps(self))
        return int(self.low + steps * self.step)

    def usual(self) -> int:
        """Return the default, else the middle of the scale."""
        if self.default is None:
            return self.from_unit(0.5)
        return self.default

    def sample(self, rng: Random) -> int:
        """Return a random value, uniform on the scale of this parameter."""
        if self.log:
            return self.from_unit(rng.random())
        steps = rng.randint(0, _count_steps(self))
        return self.low + steps * (self.step or 1)

    def near(self, value: Any, rng: Random) -> int:
        """Return another value close to this one, the same only where there is no other."""
        old = self.check(value)
        share = _near_share(self.to_unit(old), rng)
        new = self.from_unit(share)
        if new == old:
            direction = rng.choice([-1, 1])
            return self.check(old + direction * (self.step or 1))
        return new

    def to_unit(self, value: float) -> float:
        """Return the position of a legal value on the scale, from 0 at low to 1 at high."""
        return self._as_float().to_unit(value)

    def from_unit(self, share: float) -> int:
        """Return the legal value nearest to a position on the scale, from 0 to 1."""
        return self.check(self._as_float().from_unit(share))

    def _as_float(self) -> Float:
        return Float(self.low, self.high, self.log)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the options: texts, numbers, booleans or None.

    `description`, `when` and `default` are those of `Float`; without a default the first option
    is the usual one. Raises UsageError for no options, an option of another type, or one that is
    given twice.

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
        _check_options(options)
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "description", description)
        object.__setattr__(self, "when", when or {})
        object.__setattr__(self, "default", default)
        _normalize(self)

    def check(self, value: Any) -> Any:
        """Return the option that is meant. Raises UsageError for a value that is none of them."""
        return self.options[self.index(value)]

    def index(self, value: Any) -> int:
        """Return the position of an option: of an equal one, else of a text in other case.

        1 and True are two options. Raises UsageError for a value that is none of them.

        >>> Choice(1, True).index(True)
        1
        """
        is_bool = isinstance(value, bool)
        for position, option in enumerate(self.options):
            if value == option and is_bool == isinstance(option, bool):
                return position
        if isinstance(value, str):
            word = value.strip().lower()
            for position, option in enumerate(self.options):
                if word == str(option).lower():
                    return position
        options = ", ".join(map(repr, self.options))
        raise UsageError(f"{value!r} is none of {options}")

    def usual(self) -> Any:
        """Return the default, else the first option."""
        if self.default is None:
            return self.options[0]
        return self.default

    def sample(self, rng: Random) -> Any:
        """Return a random option."""
        return rng.choice(self.options)

    def near(self, value: Any, rng: Random) -> Any:
        """Return another option, the same only where there is no other."""
        old = self.check(value)
        others = [option for option in self.options if option is not old]
        return rng.choice(others or list(self.options))


def Bool(
    description: str = "",
    *,
    when: Mapping[str, Any] | None = None,
    default: bool | None = None,
) -> Choice:
    """Return a parameter that is true or false; the arguments are those of `Float`."""
    return Choice(False, True, description=description, when=when, default=default)


Parameter: TypeAlias = Float | Int | Choice


def condition_in_words(parameter: Parameter) -> str:
    """Return when a parameter is in x.

    >>> condition_in_words(Float(0, 1, when={"kind": ("a", "b"), "bag": True}))
    '"kind" is "a" or "b", and "bag" is true'
    """
    parts = []
    for name, values in parameter.when.items():
        quoted = json.dumps(name)
        options = " or ".join(map(json.dumps, values))
        parts.append(f"{quoted} is {options}")
    return ", and ".join(parts)


def _normalize(parameter: Parameter) -> None:
    """Replace the values of conditions by tuples, and the default by its legal form."""
    when = {}
    for name, values in parameter.when.items():
        if not isinstance(values, _COLLECTIONS):
            values = (values,)
        if not values:
            raise UsageError(
                f"the condition on {name!r} allows no value: give one, or a tuple of several"
            )
        when[name] = tuple(values)
    object.__setattr__(parameter, "when", when)
    if parameter.default is not None:
        legal = parameter.check(parameter.default)
        if legal != parameter.default:
            raise UsageError(
                f"the default {parameter.default!r} is not a legal value; the nearest is {legal!r}"
            )
        object.__setattr__(parameter, "default", legal)


def _check_options(options: tuple[Any, ...]) -> None:
    if not options:
        raise UsageError(
            "a Choice needs options: ",
            InPython("Choice('a', 'b')", shell='"options": ["a", "b"]'),
        )
    for option in options:
        if option is not None and not isinstance(option, str | int | float):
            raise UsageError(
                f"the option {option!r} is not a text, number, boolean or ",
                InPython("None", shell="null"),
                ": give a name that f reads",
            )
    distinct = {(isinstance(option, bool), option) for option in options}
    if len(distinct) < len(options):
        raise UsageError(
            f"a Choice has the same option twice: {', '.join(map(repr, options))}"
        )


def _count_steps(parameter: Float | Int) -> int:
    """Return how many steps there are from low to high."""
    low = Decimal(repr(parameter.low))
    high = Decimal(repr(parameter.high))
    step = Decimal(repr(parameter.step or 1))
    return int((high - low) // step)


def _clipped(value: Any, parameter: Float | Int) -> float:
    """Return a value as a number within the range. Raises UsageError where it is not a number."""
    number = max(_as_number(value), parameter.low)
    return min(number, parameter.high)


def _as_number(value: Any) -> float:
    """Return a finite number, also from a text; an int stays exact. Raises UsageError."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise UsageError(f"{value!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{value!r} is not a number")
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an int of more than 308 digits
        raise UsageError(f"{value!r} is not a number") from None
    if not finite:
        raise UsageError(f"{value!r} is not finite")
    return value


def _check_range(parameter: Float | Int) -> None:
    low, high = parameter.low, parameter.high
    step = parameter.step
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
            f"a range cannot have both the step {step} and a logarithmic scale: "
            "drop one, or list the values as a choice"
        )
    if step is not None and not 0 < step <= high - low:
        raise UsageError(
            f"the step is {step}: between {low} and {high} it must be above 0 "
            f"and at most {high - low}"
        )


def _near_share(share: float, rng: Random) -> float:
    """Return a position near another, reflected at the ends of the unit interval."""
    moved = (share + rng.gauss(0, _NEAR_SD)) % 2.0
    return moved if moved <= 1.0 else 2.0 - moved
