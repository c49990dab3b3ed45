"""Parameters by name, some of them only under conditions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from random import Random
from typing import Any

from ..errors import UnknownName, UsageError
from ._parameters import Choice, Float, Int, Parameter
from ._repair import Repair
from ._schema import conditions_in_words, object_schema


class Space:
    """Parameters by name.

    A parameter whose `when` does not hold is absent from x; so is, in turn, what depends on it.

    >>> space = Space({"kind": Choice("sgd", "adam"), "momentum": Float(0, 1, when={"kind": "sgd"})})
    >>> space.check({"kind": "adam", "momentum": 0.9})
    {'kind': 'adam'}
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """Take at least one parameter.

        Raises UsageError for what is no parameter, for conditions that can never hold or run in a circle, and
        UnknownName for a condition on a name that is none of the parameters.
        """
        if not parameters:
            raise UsageError("the space is empty: name at least one parameter")
        for name, parameter in parameters.items():
            if not isinstance(parameter, Float | Int | Choice):
                raise UsageError(
                    f"the parameter {name!r} is {parameter!r}: give Float, Int, Choice or Bool"
                )
        self.parameters = dict(parameters)
        for name in parameters:
            _check_conditions(name, self.parameters)
        self.order = _in_order(self.parameters)

    def active(self, name: str, x: Mapping[str, Any]) -> bool:
        """Return whether the conditions of a parameter hold in x, which has a value for all that it depends on."""
        return all(
            other in x and x[other] in values
            for other, values in self.parameters[name].when.items()
        )

    def check(self, x: Any) -> dict[str, Any]:
        """Return x with every value of its type and inside its range, without those whose condition does not hold.

        Raises UnknownName for a name that is none of the parameters, UsageError for a missing or impossible value.
        """
        if not isinstance(x, Mapping):
            raise UsageError(
                f"x is {x!r}: with a space it is a dict with {', '.join(self.parameters)}"
            )
        self._refuse_unknown(x)
        checked: dict[str, Any] = {}
        missing = []
        for name in self.order:
            if self.active(name, checked) and name in x:
                checked[name] = self._checked(name, x[name])
            elif self.active(name, checked):
                missing.append(name)
        if missing:
            raise UsageError(f"no value for {', '.join(missing)}")
        return self._sorted(checked)

    def repair(
        self, values: Mapping[str, Any], parent: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], str]:
        """Make an x of what a model answered, and say in one sentence what was mended; "" when nothing was.

        Numbers out of range or off their step become the nearest legal one; numeric texts are taken; missing values
        are those of the parent, else the usual ones; values whose condition does not hold are left out.

        Raises UnknownName, with the nearest, for a name that is none of the parameters, and UsageError for a value
        that cannot be read.

        >>> Space({"lr": Float(0, 1), "n": Int(1, 9)}).repair({"lr": 7}, {"lr": 0.5, "n": 2})
        ({'lr': 1.0, 'n': 2}, 'mended: lr was 7 and became 1.0; n was missing and is 2, as in the parent')
        """
        if not isinstance(values, Mapping):
            raise UsageError(
                f"the parameters are {values!r}: give an object with {', '.join(self.parameters)}"
            )
        self._refuse_unknown(values)
        repair = Repair(values, parent or {})
        for name in self.order:
            repair.take(name, self.parameters[name], active=self.active(name, repair.x))
        return self._sorted(repair.x), repair.sentence()

    def sample(self, rng: Random) -> dict[str, Any]:
        """Return an x of random values."""
        return self._completed({}, rng)

    def near(self, x: Mapping[str, Any], rng: Random) -> dict[str, Any]:
        """Return x with one parameter changed a little; what this brings into being is drawn."""
        x = self.check(x)
        name = rng.choice([name for name in self.parameters if name in x])
        return self._completed(
            {**x, name: self.parameters[name].near(x[name], rng)}, rng
        )

    def _completed(self, x: Mapping[str, Any], rng: Random) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        for name in self.order:
            if self.active(name, whole):
                whole[name] = (
                    x[name] if name in x else self.parameters[name].sample(rng)
                )
        return self._sorted(whole)

    def describe(self) -> str:
        """Return the parameters for a model to read, one a line.

        >>> print(Space({"lr": Float(0.001, 1, log=True), "kind": Choice("a", "b", description="of thing")}).describe())
        - "lr": a number from 0.001 to 1, on a logarithmic scale
        - "kind": one of "a", "b" (of thing)
        """
        return "\n".join(
            _line(name, parameter) for name, parameter in self.parameters.items()
        )

    def schema(self) -> dict[str, Any]:
        """Return the JSON schema of x; parameters with a condition are not required, and say on what they depend.

        >>> Space({"n": Int(1, 9)}).schema()["properties"]
        {'n': {'type': 'integer', 'minimum': 1, 'maximum': 9}}
        """
        return object_schema(self.parameters)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `as_space` reads."""
        return {
            name: {"kind": type(parameter).__name__.lower(), **asdict(parameter)}
            for name, parameter in self.parameters.items()
        }

    def _checked(self, name: str, value: Any) -> Any:
        try:
            return self.parameters[name].check(value)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None

    def _refuse_unknown(self, x: Mapping[str, Any]) -> None:
        for name in x:
            if name not in self.parameters:
                raise UnknownName("parameter", str(name), self.parameters)

    def _sorted(self, x: Mapping[str, Any]) -> dict[str, Any]:
        return {name: x[name] for name in self.parameters if name in x}


def _check_conditions(name: str, parameters: Mapping[str, Parameter]) -> None:
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
            if (
                value not in on.options
                if isinstance(on, Choice)
                else on.check(value) != value
            ):
                raise UsageError(
                    f"{name!r} is there when {other!r} is {value!r}, which it can never be"
                )


def _in_order(parameters: Mapping[str, Parameter]) -> tuple[str, ...]:
    """Return the names, each behind those that it depends on, else as they were given. Raises UsageError."""
    order: list[str] = []
    left = list(parameters)
    while left:
        ready = next(
            (
                name
                for name in left
                if all(other in order for other in parameters[name].when)
            ),
            None,
        )
        if ready is None:
            raise UsageError(
                f"the conditions of {', '.join(left)} run in a circle: one of them must have none"
            )
        order.append(ready)
        left.remove(ready)
    return tuple(order)


def _line(name: str, parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        what = "one of " + ", ".join(json.dumps(option) for option in parameter.options)
    else:
        kind = "a whole number" if isinstance(parameter, Int) else "a number"
        scale = ", on a logarithmic scale" if parameter.log else ""
        step = f" in steps of {parameter.step:g}" if parameter.step else ""
        what = f"{kind} from {parameter.low:.12g} to {parameter.high:.12g}{step}{scale}"
    usual = (
        f", usually {json.dumps(parameter.default)}"
        if parameter.default is not None
        else ""
    )
    condition = (
        f", only when {conditions_in_words(parameter)}" if parameter.when else ""
    )
    note = f" ({parameter.description})" if parameter.description else ""
    return f"- {json.dumps(name)}: {what}{usual}{condition}{note}"
