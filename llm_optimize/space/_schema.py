"""Parameters as a JSON schema, and a JSON schema as parameters."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from ._parameters import Bool, Choice, Float, Int, Parameter

_OPEN_END = (
    1e-9  # how far inside an excluded bound a real number ends, as a share of the range
)
_LINKED = (
    "if",
    "then",
    "else",
    "not",
    "allOf",
    "anyOf",
    "oneOf",
    "dependentRequired",
    "dependentSchemas",
)


def conditions_in_words(parameter: Parameter) -> str:
    """Return when a parameter is there.

    >>> conditions_in_words(Float(0, 1, when={"kind": ("a", "b"), "bag": True}))
    '"kind" is "a" or "b", and "bag" is true'
    """
    parts = (
        f"{json.dumps(name)} is {' or '.join(map(json.dumps, values))}"
        for name, values in parameter.when.items()
    )
    return ", and ".join(parts)


def object_schema(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the JSON schema of an x."""
    return {
        "type": "object",
        "properties": {
            name: _property(parameter) for name, parameter in parameters.items()
        },
        "required": [
            name for name, parameter in parameters.items() if not parameter.when
        ],
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    said = [parameter.description] if parameter.description else []
    schema: dict[str, Any]
    if isinstance(parameter, Choice):
        is_bool = (
            all(isinstance(option, bool) for option in parameter.options)
            and len(parameter.options) == 2
        )
        schema = {"type": "boolean"} if is_bool else {"enum": list(parameter.options)}
    else:
        kind = "integer" if isinstance(parameter, Int) else "number"
        schema = {"type": kind, "minimum": parameter.low, "maximum": parameter.high}
        said += ["on a logarithmic scale"] if parameter.log else []
        if parameter.step and math.remainder(parameter.low, parameter.step) == 0:
            schema["multipleOf"] = parameter.step
        elif parameter.step:
            said.append(f"in steps of {parameter.step:g} from {parameter.low:g}")
    if parameter.when:
        said.append(f"only when {conditions_in_words(parameter)}")
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {**schema, "description": "; ".join(said)} if said else schema


def from_schema(schema: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the parameters of a JSON schema of an object. Raises UsageError for what cannot be mapped."""
    linked = [word for word in _LINKED if word in schema]
    if linked:
        raise UsageError(
            f"the schema links its properties by {', '.join(linked)}, which no space can: give the parameters as "
            "Float, Int, Choice, Bool with when={...}"
        )
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise UsageError("the schema has no properties: give one for each parameter")
    return {
        name: _parameter(name, _resolved(name, part, schema))
        for name, part in properties.items()
    }


def _resolved(name: str, part: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of a property with its references followed."""
    for _ in range(20):
        if not isinstance(part, Mapping):
            raise UsageError(f"the schema of {name!r} is {part!r}: give an object")
        (*wrapped,) = part.get("allOf", ())
        reference = part.get("$ref")
        if len(wrapped) == 1:
            part = {
                **{key: value for key, value in part.items() if key != "allOf"},
                **wrapped[0],
            }
        elif reference is None:
            return part
        else:
            rest = {key: value for key, value in part.items() if key != "$ref"}
            part = {**_followed(name, reference, root), **rest}
    raise UsageError(f"the schema of {name!r} refers to itself")


def _followed(name: str, reference: Any, root: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = root
    for step in str(reference).removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, Mapping) else None
    if not str(reference).startswith("#/") or not isinstance(found, Mapping):
        raise UsageError(
            f"the schema of {name!r} refers to {reference!r}, which is not in it"
        )
    return found


def _parameter(name: str, part: Mapping[str, Any]) -> Parameter:
    try:
        return _mapped(part)
    except UsageError as error:
        raise UsageError(f"the property {name!r} of the schema: {error}") from None


def _mapped(part: Mapping[str, Any]) -> Parameter:
    about = {"description": part.get("description", ""), "default": part.get("default")}
    kind = part.get("type")
    if "enum" in part:
        return Choice(*part["enum"], **about)
    if "const" in part:
        return Choice(part["const"], **about)
    if kind == "boolean":
        return Bool(**about)
    if kind in ("number", "integer"):
        return _numeric(part, kind, about)
    if "anyOf" in part or "oneOf" in part:
        return Choice(*_alternatives(part.get("anyOf") or part["oneOf"]), **about)
    if kind == "string":
        raise UsageError("free text has no range: list its values as enum")
    if kind in ("object", "array"):
        raise UsageError(
            f"an {kind} is no single value: give one property for each of its values"
        )
    raise UsageError(
        f"its type is {kind!r}: number, integer, boolean, enum and const can be searched"
    )


def _alternatives(parts: Any) -> list[Any]:
    """Return all values of alternatives that list theirs; null is one."""
    values: list[Any] = []
    for part in parts:
        if "enum" in part or "const" in part:
            values += part.get("enum", [part.get("const")])
        elif part.get("type") in ("null", "boolean"):
            values += [None] if part["type"] == "null" else [False, True]
        else:
            raise UsageError(
                f"{json.dumps(part, default=repr)} is one of several alternatives: a number that may be absent needs "
                "a Bool beside it, and when={...}"
            )
    return values


def _numeric(part: Mapping[str, Any], kind: str, about: Mapping[str, Any]) -> Parameter:
    low, open_low = _bound(part, "minimum", "exclusiveMinimum", max)
    high, open_high = _bound(part, "maximum", "exclusiveMaximum", min)
    step, log = part.get("multipleOf"), bool(part.get("log", False))
    if step is not None:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        low = (first + (open_low and abs(first * step - low) < 1e-9 * step)) * step
        high = (last - (open_high and abs(last * step - high) < 1e-9 * step)) * step
        low, high = float(f"{low:.12g}"), float(f"{high:.12g}")
    elif kind == "integer":
        low = math.floor(low) + 1 if open_low else math.ceil(low)
        high = math.ceil(high) - 1 if open_high else math.floor(high)
    else:
        inside = (high - low) * _OPEN_END
        low, high = low + open_low * inside, high - open_high * inside
    if low == high:
        return Choice(
            int(low) if kind == "integer" else low, description=about["description"]
        )
    if kind == "integer":
        whole = (
            int(step) if step is not None and step == int(step) and step > 1 else None
        )
        return Int(
            int(low),
            int(high),
            log,
            about["description"],
            step=whole,
            default=about["default"],
        )
    return Float(
        low, high, log, about["description"], step=step, default=about["default"]
    )


def _bound(
    part: Mapping[str, Any], closed: str, opened: str, tighter: Any
) -> tuple[float, bool]:
    """Return a bound and whether it is itself excluded; draft 4 says so by a boolean beside it."""
    ends = [(part[closed], part.get(opened) is True)] if closed in part else []
    if isinstance(part.get(opened), int | float) and not isinstance(part[opened], bool):
        ends.append((part[opened], True))
    if not ends:
        raise UsageError(f"it has no {closed}: a search needs both ends of a range")
    end: tuple[float, bool] = tighter(ends, key=lambda end: end[0])
    return end
