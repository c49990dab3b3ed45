"""Typed parameters: what values x may have when x is a dict of parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random
from typing import Any, TypeAlias

from .errors import UnknownName, UsageError

_STEP = 0.2  # standard deviation of a small change, as a share of the range


@dataclass(frozen=True)
class Float:
    """A real number from low to high; `log` makes equal ratios equally far apart."""

    low: float
    high: float
    log: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def check(self, value: Any) -> float:
        """Return the value as a float inside the range. Raises UsageError for what is no number."""
        return min(max(_number(value), self.low), self.high)

    def sample(self, rng: Random) -> float:
        """Return a value, uniform on the scale of this parameter."""
        return self._from_unit(rng.random())

    def near(self, value: Any, rng: Random) -> float:
        """Return another value close to this one."""
        return self._from_unit(_reflected(self._to_unit(self.check(value)) + rng.gauss(0, _STEP)))

    def _to_unit(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return (value - low) / (high - low) if high > low else 0.0

    def _from_unit(self, share: float) -> float:
        if self.log:
            value = math.exp(math.log(self.low) + (math.log(self.high) - math.log(self.low)) * share)
        else:
            value = self.low + (self.high - self.low) * share
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Int:
    """A whole number from low to high, both included."""

    low: int
    high: int
    log: bool = False
    description: str = ""

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)

    def check(self, value: Any) -> int:
        """Return the value as an int inside the range. Raises UsageError for what is no number."""
        return min(max(round(_number(value)), self.low), self.high)

    def sample(self, rng: Random) -> int:
        """Return a value, uniform on the scale of this parameter."""
        return self.check(self._real().sample(rng)) if self.log else rng.randint(self.low, self.high)

    def near(self, value: Any, rng: Random) -> int:
        """Return another value close to this one, the same only where there is no other."""
        old = self.check(value)
        new = self.check(self._real().near(old, rng))
        return new if new != old else self.check(old + rng.choice([-1, 1]))

    def _real(self) -> Float:
        return Float(self.low, self.high, self.log)


@dataclass(frozen=True, init=False)
class Choice:
    """One of the options: texts, numbers, booleans or None."""

    options: tuple[Any, ...]
    description: str = ""

    def __init__(self, *options: Any, description: str = "") -> None:
        """Take the options; at least one."""
        if not options:
            raise UsageError("a Choice needs options: Choice('a', 'b')")
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "description", description)

    def check(self, value: Any) -> Any:
        """Return the option that is meant. Raises UsageError for what is none of them."""
        for option in self.options:
            if value == option and isinstance(value, bool) == isinstance(option, bool):
                return option
        for option in self.options:
            if isinstance(value, str) and value.strip().lower() == str(option).lower():
                return option
        raise UsageError(f"{value!r} is none of {', '.join(map(repr, self.options))}")

    def sample(self, rng: Random) -> Any:
        """Return any of the options."""
        return rng.choice(self.options)

    def near(self, value: Any, rng: Random) -> Any:
        """Return another option."""
        return rng.choice([option for option in self.options if option != value] or list(self.options))


def Bool(description: str = "") -> Choice:
    """Return a parameter that is true or false."""
    return Choice(False, True, description=description)


Parameter: TypeAlias = Float | Int | Choice
_KINDS = {"float": Float, "int": Int}


class Space:
    """Parameters by name."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Take at least one parameter. Raises UsageError for what is none."""
        if not parameters:
            raise UsageError("the space is empty: name at least one parameter")
        for name, parameter in parameters.items():
            if not isinstance(parameter, Float | Int | Choice):
                raise UsageError(f"the parameter {name!r} is {parameter!r}: give Float, Int, Choice or Bool")
        self.parameters = dict(parameters)

    def check(self, x: Any) -> dict[str, Any]:
        """Return x with every value of its type and inside its range.

        Raises UnknownName for a name that is none of the parameters, UsageError for a missing or impossible value.
        """
        if not isinstance(x, dict):
            raise UsageError(f"x is {x!r}: with a space it is a dict with {', '.join(self.parameters)}")
        for name in x:
            if name not in self.parameters:
                raise UnknownName("parameter", str(name), self.parameters)
        missing = [name for name in self.parameters if name not in x]
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}")
        return {name: self._checked(name, x[name]) for name in self.parameters}

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self.parameters[name].check(value)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None

    def repair(self, values: Mapping[str, Any], parent: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
        """Return x with what can be mended in it mended, and a sentence that says what was; empty when nothing was.

        Raises UnknownName for a name that is none of the parameters, UsageError for an impossible value.
        """
        missing = [name for name in self.parameters if name not in values and parent and name in parent]
        x = self.check({**{name: (parent or {})[name] for name in missing}, **values})
        notes = [f"{name} was {values[name]!r}, it is {x[name]!r}" for name in values if values[name] != x[name]]
        notes += [f"{name} was missing, it is {x[name]!r} as before" for name in missing]
        return x, "; ".join(notes)

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of x."""
        return {
            "type": "object",
            "properties": {name: _schema(parameter) for name, parameter in self.parameters.items()},
            "required": list(self.parameters),
            "additionalProperties": False,
        }

    def sample(self, rng: Random) -> dict[str, Any]:
        """Return an x of random values."""
        return {name: parameter.sample(rng) for name, parameter in self.parameters.items()}

    def near(self, x: Mapping[str, Any], rng: Random) -> dict[str, Any]:
        """Return x with one parameter changed a little."""
        name = rng.choice(list(self.parameters))
        return {**x, name: self.parameters[name].near(x[name], rng)}

    def describe(self) -> str:
        """Return the parameters for a model to read, one a line.

        >>> print(Space({"lr": Float(0.001, 1, log=True), "kind": Choice("a", "b", description="of thing")}).describe())
        - "lr": a number from 0.001 to 1, on a logarithmic scale
        - "kind": one of "a", "b" (of thing)
        """
        return "\n".join(_line(name, parameter) for name, parameter in self.parameters.items())

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `as_space` reads."""
        return {
            name: {"kind": type(parameter).__name__.lower(), **asdict(parameter)}
            for name, parameter in self.parameters.items()
        }


def as_space(space: Space | Mapping[str, Any]) -> Space:
    """Return a Space for a dict of parameters, or for what `Space.to_json` returned. Raises UsageError."""
    if isinstance(space, Space):
        return space
    return Space({name: _parameter(value) for name, value in space.items()})


def _parameter(value: Any) -> Any:
    if not isinstance(value, Mapping) or "kind" not in value:
        return value
    data = {key: item for key, item in value.items() if key != "kind"}
    if value["kind"] == "choice":
        return Choice(*data["options"], description=data["description"])
    return _KINDS[value["kind"]](**data)


def _schema(parameter: Parameter) -> dict[str, Any]:
    if isinstance(parameter, Choice):
        return {"enum": list(parameter.options)}
    kind = "integer" if isinstance(parameter, Int) else "number"
    return {"type": kind, "minimum": parameter.low, "maximum": parameter.high}


def _line(name: str, parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        what = "one of " + ", ".join(json.dumps(option) for option in parameter.options)
    else:
        kind = "a whole number" if isinstance(parameter, Int) else "a number"
        scale = ", on a logarithmic scale" if parameter.log else ""
        what = f"{kind} from {parameter.low:g} to {parameter.high:g}{scale}"
    note = f" ({parameter.description})" if parameter.description else ""
    return f"- {json.dumps(name)}: {what}{note}"


def _number(value: Any) -> float:
    """Return a finite number, also from a numeric text. Raises UsageError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UsageError(f"{value!r} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise UsageError(f"{value!r} is no number") from None
    if not math.isfinite(number):
        raise UsageError(f"{value!r} is not finite")
    return number


def _check_range(low: float, high: float, log: bool) -> None:
    if not low < high or not math.isfinite(high - low):
        raise UsageError(f"the range from {low} to {high} is empty: low must be less than high, and both finite")
    if log and low <= 0:
        raise UsageError(f"the range from {low} to {high} cannot be logarithmic: low must be above 0")


def _reflected(share: float) -> float:
    """Fold a number back into [0, 1] at its ends."""
    share %= 2.0
    return share if share <= 1.0 else 2.0 - share
