"""Conversion of dicts, JSON schemas, pydantic models and Optuna's distributions to a Space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..checks import is_number
from ..errors import InPython, UnknownName, UsageError
from ._parameters import Choice, Float, Int, Parameter
from ._schema import from_schema
from ._space import Space

# What a "kind" in JSON stands for, and the fields that it needs.
_KINDS: dict[str, tuple[type[Parameter], tuple[str, ...]]] = {
    "bool": (Choice, ()),
    "choice": (Choice, ("options",)),
    "float": (Float, ("low", "high")),
    "int": (Int, ("low", "high")),
}


def as_space(space: Any) -> Space:
    """Return a Space for any description of one.

    Args:
        space: a Space; a dict of parameters by name, among which Optuna's distributions may
            stand; a JSON schema of an object, whose numbers have both bounds ("log": true beside
            them makes the scale logarithmic); a pydantic model class; or what `Space.to_json`
            returned.

    Raises UsageError for anything else, with what to write instead.

    >>> number = {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}
    >>> as_space({"type": "object", "properties": {"n": number}}).parameters["n"].high
    8
    """
    if isinstance(space, Space):
        return space
    if isinstance(space, type):
        pydantic_schema = getattr(space, "model_json_schema", None)
        if callable(pydantic_schema):
            return Space(from_schema(pydantic_schema()))
    if not isinstance(space, Mapping):
        raise UsageError(
            f"the space is {space!r}: give ",
            InPython(
                "a dict of Float, Int, Choice and Bool, a JSON schema, "
                "a pydantic model class, or a dict of Optuna's distributions",
                shell="an object with the parameters by name, or a JSON schema",
            ),
        )
    if _is_schema(space):
        return Space(from_schema(space))
    parameters = {}
    for name, value in space.items():
        parameters[name] = _parameter(name, value)
    return Space(parameters)


def _is_schema(space: Mapping[str, Any]) -> bool:
    """Return whether a dict is a JSON schema; a parameter may be called "properties", too."""
    if space.get("type") == "object":
        return True
    properties = space.get("properties")
    return isinstance(properties, Mapping) and not _is_stored(properties)


def _is_stored(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    return isinstance(value.get("kind"), str)


def _parameter(name: str, value: Any) -> Any:
    """Return the parameter that a value of a dict describes; Space refuses one that does not."""
    if _is_stored(value):
        return _from_stored(name, value)
    package = type(value).__module__.partition(".")[0]
    if package == "optuna":
        return _from_optuna(name, value)
    return value


def _from_stored(name: str, value: Mapping[str, Any]) -> Parameter:
    """Return a parameter that `Space.to_json` or a person wrote as JSON; most fields may be absent.

    Raises UsageError for a field that is missing or wrong, and UnknownName for another word.
    """
    data = dict(value)
    kind = data.pop("kind")
    if kind not in _KINDS:
        raise UnknownName("kind of parameter", kind, _KINDS)
    made, required = _KINDS[kind]
    known = [one.name for one in fields(made)]
    for word in data:
        if word not in known:
            raise UnknownName(f"field of the parameter {name!r}", word, known)
    for word in required:
        if word not in data:
            raise UsageError(f"the parameter {name!r} has no {word!r}: give it")
    for word in ("low", "high", "step"):
        number = data.get(word)
        if number is not None and not is_number(number):
            raise UsageError(
                f"the {word} of the parameter {name!r} is {number!r}: give a number"
            )
    if not isinstance(data.get("when", {}), Mapping):
        raise UsageError(
            f'the "when" of the parameter {name!r} is {data["when"]!r}: '
            "give an object, from the name of another parameter to its values"
        )
    try:
        if made is not Choice:
            return made(**data)
        options = data.pop("options", (False, True))
        if not isinstance(options, list | tuple):
            raise UsageError(f"the options are {options!r}: give a list")
        return Choice(*options, **data)
    except UsageError as error:
        raise UsageError(f"the parameter {name!r}: ", *error.args) from None


def _from_optuna(name: str, distribution: Any) -> Parameter:
    """Return the parameter of a distribution, by its fields: Optuna is not imported."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return Choice(*choices)
    kind = type(distribution).__name__
    if kind not in ("FloatDistribution", "IntDistribution"):
        raise UsageError(
            f"the parameter {name!r} is {distribution!r}: FloatDistribution, IntDistribution and "
            "CategoricalDistribution are supported"
        )
    low = distribution.low
    high = distribution.high
    step = distribution.step
    if low == high:
        return Choice(low)
    if kind == "FloatDistribution":
        return Float(low, high, distribution.log, step=step)
    if step == 1:  # Optuna's default
        step = None
    return Int(low, high, distribution.log, step=step)
