"""Space: parameters by name, which check, repair, draw and describe an x."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from random import Random
from typing import Any, TypeAlias

from ..errors import InPython, UnknownName, UsageError
from ._parameters import Choice, Float, Int, Parameter, condition_in_words
from ._schema import to_schema

_SAME = 1e-9  # a smaller relative change of a number is not worth a note
Values: TypeAlias = Mapping[str, Any]  # by the name of a parameter

_IN_A_FILE = 'an object with its "kind", such as {"kind": "float", "low": 0, "high": 1}'


class Space:
    """Parameters by name; at least one.

    A parameter whose `when` does not hold is absent from x; so are those that depend on it.

    Raises UsageError for a value that is not a parameter and for conditions that can never hold or
    form a circle, and UnknownName for a condition on an unknown parameter.

    >>> momentum = Float(0, 1, when={"kind": "sgd"})
    >>> space = Space({"kind": Choice("sgd", "adam"), "momentum": momentum})
    >>> space.check({"kind": "adam", "momentum": 0.9})
    {'kind': 'adam'}
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not parameters:
            raise UsageError("the space is empty: name at least one parameter")
        for name, parameter in parameters.items():
            if not isinstance(parameter, Float | Int | Choice):
                raise UsageError(
                    f"the parameter {name!r} is {parameter!r}: give ",
                    InPython("Float, Int, Choice or Bool", shell=_IN_A_FILE),
                )
        self.parameters = dict(parameters)
        for name in parameters:
            _check_conditions(name, self.parameters)
        self.order = _in_order_of_dependence(self.parameters)

    def active(
        self,
        name: str,
        x: Values,
    ) -> bool:
        """Return whether the conditions of a parameter hold in x.

        The parameters that it depends on must be in x already, where they are active themselves.
        """
        conditions = self.parameters[name].when.items()
        return all(other in x and x[other] in values for other, values in conditions)

    def check(self, x: Any) -> dict[str, Any]:
        """Return x with legal values, without those whose condition does not hold.

        Raises UnknownName for an unknown parameter, UsageError for a missing or impossible value.
        """
        if not isinstance(x, Mapping):
            raise UsageError(
                f"x is {x!r}: with a space it is ",
                InPython("a dict", shell="a JSON object"),
                f" with {', '.join(self.parameters)}",
            )
        self._refuse_unknown(x)
        checked: dict[str, Any] = {}
        missing = []
        for name in self.order:
            if not self.active(name, checked):
                continue
            if name in x:
                checked[name] = self._checked(name, x[name])
            else:
                missing.append(name)
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}")
        return self._sorted(checked)

    def repair(
        self,
        values: Values,
        parent: Values | None = None,
    ) -> tuple[dict[str, Any], str]:
        """Return the x that a model's answer means, and a sentence about repairs; "" without any.

        A number out of range or between steps becomes the nearest legal one; a numeric text is
        read. A missing value is the parent's, else the usual one. A value whose condition does
        not hold is left out.

        Raises UnknownName, with the nearest, for an unknown parameter, and UsageError for a
        value that cannot be read.

        >>> space = Space({"lr": Float(0, 1), "n": Int(1, 9)})
        >>> space.repair({"lr": 7, "n": "2"})
        ({'lr': 1.0, 'n': 2}, 'repaired: lr was 7 and became 1.0')
        >>> space.repair({"lr": 0.1}, parent={"lr": 0.5, "n": 2})
        ({'lr': 0.1, 'n': 2}, 'repaired: n was missing and is 2, as in the parent')
        """
        if not isinstance(values, Mapping):
            raise UsageError(
                f"the parameters are {values!r}: give an object with {', '.join(self.parameters)}"
            )
        self._refuse_unknown(values)
        x: dict[str, Any] = {}
        notes = []
        for name in self.order:
            parameter = self.parameters[name]
            if self.active(name, x):
                if name in values:
                    x[name] = self._checked(name, values[name])
                    note = _note_on_change(name, parameter, values[name], x[name])
                else:
                    x[name], note = _replacement(name, parameter, parent or {})
                notes.append(note)
            elif name in values:
                condition = condition_in_words(parameter)
                notes.append(f"{name} was left out: it is there only when {condition}")
        repairs = "; ".join(filter(None, notes))
        sentence = f"repaired: {repairs}" if repairs else ""
        return self._sorted(x), sentence

    def sample(self, rng: Random) -> dict[str, Any]:
        """Return an x of random values."""
        return self._completed({}, rng)

    def near(
        self,
        x: Values,
        rng: Random,
    ) -> dict[str, Any]:
        """Return x with one parameter changed a little; what this adds to x is random."""
        x = self.check(x)
        present = [name for name in self.parameters if name in x]
        name = rng.choice(present)
        x[name] = self.parameters[name].near(x[name], rng)
        return self._completed(x, rng)

    def _completed(
        self,
        x: Values,
        rng: Random,
    ) -> dict[str, Any]:
        """Return the active values of x, and random ones for active parameters without a value."""
        complete: dict[str, Any] = {}
        for name in self.order:
            if not self.active(name, complete):
                continue
            if name in x:
                complete[name] = x[name]
            else:
                complete[name] = self.parameters[name].sample(rng)
        return self._sorted(complete)

    def describe(self) -> str:
        """Return the parameters for a model to read, one per line.

        >>> kind = Choice("a", "b", description="of thing")
        >>> print(Space({"lr": Float(0.001, 1, log=True), "kind": kind}).describe())
        - "lr": a number from 0.001 to 1, on a logarithmic scale
        - "kind": one of "a", "b" (of thing)
        """
        return "\n".join(_line(*named) for named in self.parameters.items())

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of x; conditional parameters are not required.

        >>> Space({"n": Int(1, 9)}).schema()["properties"]
        {'n': {'type': 'integer', 'minimum': 1, 'maximum': 9}}
        """
        return to_schema(self.parameters)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `as_space` reads."""
        data = {}
        for name, parameter in self.parameters.items():
            kind = type(parameter).__name__.lower()
            data[name] = {"kind": kind, **asdict(parameter)}
        return data

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self.parameters[name].check(value)
        except UsageError as error:
            raise UsageError(f"{name}: ", *error.args) from None

    def _refuse_unknown(self, x: Values) -> None:
        for name in x:
            if name not in self.parameters:
                raise UnknownName("parameter", str(name), self.parameters)

    def _sorted(self, x: Values) -> dict[str, Any]:
        """Return x in the order in which the parameters were given."""
        return {name: x[name] for name in self.parameters if name in x}


def _note_on_change(
    name: str,
    parameter: Parameter,
    given: Any,
    value: Any,
) -> str:
    """Return what became of a given value; "" where it is the same number or option."""
    if isinstance(parameter, Choice):
        return ""
    if abs(float(given) - value) <= _SAME * abs(value):
        return ""
    return f"{name} was {given} and became {value}"


def _replacement(
    name: str,
    parameter: Parameter,
    parent: Values,
) -> tuple[Any, str]:
    """Return a value in place of a missing one, and a note on it."""
    try:
        value = parameter.check(parent[name])
        origin = "as in the parent"
    except (KeyError, UsageError):
        value = parameter.usual()
        origin = "its usual value"
    return value, f"{name} was missing and is {value!r}, {origin}"


def _check_conditions(
    name: str,
    parameters: Mapping[str, Parameter],
) -> None:
    for other, values in parameters[name].when.items():
        if other not in parameters:
            raise UnknownName(
                f"parameter in the condition of {name!r}", other, parameters
            )
        on = parameters[other]
        if isinstance(on, Float):
            raise UsageError(
                f"{name!r} depends on {other!r}, a real number: make that a Choice, Bool or Int"
            )
        for value in values:
            if isinstance(on, Choice):
                possible = value in on.options
            else:
                possible = on.check(value) == value
            if not possible:
                raise UsageError(
                    f"{name!r} depends on {other!r} being {value!r}, which it can never be"
                )


def _in_order_of_dependence(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Return the names, each after those that it depends on. Raises UsageError for a circle."""
    order: list[str] = []
    remaining = list(parameters)
    while remaining:
        for name in remaining:
            if all(other in order for other in parameters[name].when):
                break
        else:
            raise UsageError(
                f"the conditions of {', '.join(remaining)} form a circle: "
                "one of them must have none"
            )
        order.append(name)
        remaining.remove(name)
    return tuple(order)


def _line(name: str, parameter: Parameter) -> str:
    """Return one parameter in words."""
    if isinstance(parameter, Choice):
        words = "one of " + ", ".join(map(json.dumps, parameter.options))
    else:
        kind = "a whole number" if isinstance(parameter, Int) else "a number"
        low, high = parameter.low, parameter.high
        words = f"{kind} from {low:.12g} to {high:.12g}"
        if parameter.step:
            words += f" in steps of {parameter.step:g}"
        if parameter.log:
            words += ", on a logarithmic scale"
    if parameter.default is not None:
        words += f", usually {json.dumps(parameter.default)}"
    if parameter.when:
        words += f", only when {condition_in_words(parameter)}"
    if parameter.description:
        words += f" ({parameter.description})"
    return f"- {json.dumps(name)}: {words}"
