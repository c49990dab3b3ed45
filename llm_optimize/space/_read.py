"""A space made of whatever says what values there may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UnknownName, UsageError
from ._parameters import Choice, Float, Int, Parameter
from ._schema import from_schema
from ._space import Space

_KINDS: dict[str, type[Float] | type[Int]] = {"float": Float, "int": Int}


def as_space(space: Any) -> Space:
    """Return a Space for whatever describes one.

    Args:
        space: a Space; a dict of parameters by name, where distributions of Optuna may stand as well; a JSON schema
            of an object, whose numbers have both bounds ("log": true beside them makes the scale logarithmic); a
            pydantic model class; or what `Space.to_json` returned.

    Raises UsageError for what cannot be mapped, with what to write instead.

    >>> schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}}}
    >>> as_space(schema).parameters["n"].high
    8
    """
    if isinstance(space, Space):
        return space
    model_schema = (
        getattr(space, "model_json_schema", None) if isinstance(space, type) else None
    )
    if callable(model_schema):
        return Space(from_schema(model_schema()))
    if not isinstance(space, Mapping):
        raise UsageError(
            f"the space is {space!r}: give a dict of Float, Int, Choice and Bool, a JSON schema, a pydantic model "
            "class, or a dict of Optuna's distributions"
        )
    if _is_schema(space):
        return Space(from_schema(space))
    return Space({name: _parameter(name, value) for name, value in space.items()})


def _is_schema(space: Mapping[str, Any]) -> bool:
    properties = space.get("properties")
    return space.get("type") == "object" or (
        isinstance(properties, Mapping) and not _is_stored(properties)
    )


def _is_stored(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("kind"), str)


def _parameter(name: str, value: Any) -> Any:
    if _is_stored(value):
        return _from_stored(value)
    if type(value).__module__.partition(".")[0] == "optuna":
        return _from_optuna(name, value)
    return value


def _from_stored(value: Mapping[str, Any]) -> Parameter:
    """Read what `Space.to_json` wrote, also before there were steps, conditions and defaults."""
    data = {key: item for key, item in value.items() if key != "kind"}
    if value["kind"] == "choice":
        return Choice(*data.pop("options"), **data)
    if value["kind"] not in _KINDS:
        raise UnknownName("kind of parameter", value["kind"], [*_KINDS, "choice"])
    return _KINDS[value["kind"]](**data)


def _from_optuna(name: str, distribution: Any) -> Parameter:
    """Map a distribution by its fields, so that Optuna itself need not be there."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return Choice(*choices)
    kind = type(distribution).__name__
    if kind not in ("FloatDistribution", "IntDistribution"):
        raise UsageError(
            f"the parameter {name!r} is {distribution!r}: FloatDistribution, IntDistribution and "
            "CategoricalDistribution can be mapped"
        )
    low, high, step = distribution.low, distribution.high, distribution.step
    if low == high:
        return Choice(low)
    if kind == "IntDistribution":
        return Int(low, high, distribution.log, step=step if step > 1 else None)
    return Float(low, high, distribution.log, step=step)
