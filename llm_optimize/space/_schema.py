"""JSON schema of a space, and the parameters that a JSON schema describes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ..checks import is_number
from ..errors import InPython, UsageError
from ._parameters import Bool, Choice, Float, Int, Parameter, condition_in_words

Schema: TypeAlias = Mapping[str, Any]

_OPEN_END = 1e-9  # a real number stays this far inside an excluded bound, as a share of the range
_TOLERANCE = 1e-9  # rounding errors of a bound divided by multipleOf
_MAX_REFERENCES = 20  # in a row, before they are taken for a circle
_LINKS = (
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


def to_schema(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the JSON schema of an x."""
    properties = {}
    required = []
    for name, parameter in parameters.items():
        properties[name] = _property(parameter)
        if not parameter.when:
            required.append(name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _property(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of one parameter; its description has what a schema cannot express."""
    notes = [parameter.description] if parameter.description else []
    schema: dict[str, Any]
    if isinstance(parameter, Choice):
        types = [type(option) for option in parameter.options]
        if types == [bool, bool]:
            schema = {"type": "boolean"}
        else:
            schema = {"enum": list(parameter.options)}
    else:
        kind = "integer" if isinstance(parameter, Int) else "number"
        schema = {"type": kind, "minimum": parameter.low, "maximum": parameter.high}
        if parameter.log:
            notes.append("on a logarithmic scale")
        if parameter.step and math.remainder(parameter.low, parameter.step) == 0:
            schema["multipleOf"] = parameter.step
        elif parameter.step:
            step, low = parameter.step, parameter.low
            notes.append(f"in steps of {step:g} from {low:g}")
    if parameter.when:
        notes.append(f"only when {condition_in_words(parameter)}")
    if parameter.default is not None:
        schema["default"] = parameter.default
    if notes:
        schema["description"] = "; ".join(notes)
    return schema


def from_schema(schema: Schema) -> dict[str, Parameter]:
    """Return the parameters of a JSON schema. Raises UsageError where it is not supported."""
    links = [word for word in _LINKS if word in schema]
    if links:
        raise UsageError(
            f"the schema links its properties by {', '.join(links)}, which a space does not "
            "support: give the parameters ",
            InPython(
                "as Float, Int, Choice, Bool with when={...}",
                shell='by name, such as {"kind": "float", "low": 0, "high": 1, "when": {...}}',
            ),
        )
    properties = schema.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        raise UsageError("the schema has no properties: give one for each parameter")
    parameters = {}
    for name, part in properties.items():
        resolved = _resolved(name, part, schema)
        try:
            parameters[name] = _parameter(resolved)
        except UsageError as error:
            where = f"the property {name!r} of the schema: "
            raise UsageError(where, *error.args) from None
    return parameters


def _resolved(
    name: str,
    part: Any,
    root: Schema,
) -> Schema:
    """Return the schema of a property with its references followed.

    Pydantic refers to enums by `$ref`, and wraps the reference in an `allOf` of one where a
    default stands beside it.
    """
    for _ in range(_MAX_REFERENCES):
        if not isinstance(part, Mapping):
            raise UsageError(f"the schema of {name!r} is {part!r}: give an object")
        wrapped = tuple(part.get("allOf", ()))
        if len(wrapped) == 1:
            own = dict(part)
            del own["allOf"]
            part = {**own, **wrapped[0]}
        elif part.get("$ref") is not None:
            own = dict(part)
            reference = str(own.pop("$ref"))
            part = {**_referred(name, reference, root), **own}
        else:
            return part
    raise UsageError(f"the schema of {name!r} refers to itself")


def _referred(
    name: str,
    reference: str,
    root: Schema,
) -> Schema:
    """Return what a reference such as "#/$defs/Kernel" points to."""
    found: Any = root
    for key in reference.removeprefix("#/").split("/"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not reference.startswith("#/") or not isinstance(found, Mapping):
        raise UsageError(
            f"the schema of {name!r} refers to {reference!r}, which is not in it"
        )
    return found


def _parameter(part: Schema) -> Parameter:
    """Return the parameter that the schema of a property describes."""
    about = {"description": part.get("description", ""), "default": part.get("default")}
    kind = part.get("type")
    if "enum" in part:
        return Choice(*part["enum"], **about)
    if "const" in part:
        return Choice(part["const"], **about)
    if kind == "boolean":
        return Bool(**about)
    if kind == "integer":
        return _integer(part, about)
    if kind == "number":
        return _number(part, about)
    if "anyOf" in part or "oneOf" in part:
        alternatives = part.get("anyOf") or part["oneOf"]
        return Choice(*_values_of(alternatives), **about)
    if kind == "string":
        raise UsageError("free text has no range: list its values as enum")
    if kind in ("object", "array"):
        raise UsageError(
            f"an {kind} is not a single value: give one property for each of its values"
        )
    raise UsageError(
        f"its type is {kind!r}: number, integer, boolean, enum and const can be searched"
    )


def _values_of(alternatives: Any) -> list[Any]:
    """Return the values of all alternatives; null is one."""
    values: list[Any] = []
    for part in alternatives:
        if "enum" in part:
            values += part["enum"]
        elif "const" in part:
            values.append(part["const"])
        elif part.get("type") == "null":
            values.append(None)
        elif part.get("type") == "boolean":
            values += [False, True]
        else:
            raise UsageError(
                f"{json.dumps(part, default=repr)} is one of several alternatives: a number that "
                "may be absent needs a Bool beside it, and when={...}"
            )
    return values


def _integer(
    part: Schema,
    about: Mapping[str, Any],
) -> Parameter:
    low, low_excluded, high, high_excluded = _bounds(part)
    step = part.get("multipleOf")
    if step is not None:
        low, high = _multiples(part, step)
    else:
        first, last = math.ceil(low), math.floor(high)
        if low_excluded and first == low:
            first += 1
        if high_excluded and last == high:
            last -= 1
        low, high = first, last
    if low == high:
        return Choice(int(low), description=about["description"])
    whole_step = None
    if step is not None and step == int(step) and step > 1:
        whole_step = int(step)
    log = _is_log(part)
    return Int(int(low), int(high), log, step=whole_step, **about)


def _number(
    part: Schema,
    about: Mapping[str, Any],
) -> Parameter:
    low, low_excluded, high, high_excluded = _bounds(part)
    step = part.get("multipleOf")
    if step is not None:
        low, high = _multiples(part, step)
    else:
        margin = (high - low) * _OPEN_END
        low += low_excluded * margin
        high -= high_excluded * margin
    if low == high:
        return Choice(low, description=about["description"])
    return Float(low, high, _is_log(part), step=step, **about)


def _is_log(part: Schema) -> bool:
    """Return whether the scale is logarithmic, which is our own extension of JSON schema."""
    return bool(part.get("log", False))


def _multiples(
    part: Schema,
    step: float,
) -> tuple[float, float]:
    """Return the first and the last multiple of the step within the bounds."""
    low, low_excluded, high, high_excluded = _bounds(part)
    first = math.ceil(low / step - _TOLERANCE)
    last = math.floor(high / step + _TOLERANCE)
    if low_excluded and abs(first - low / step) < _TOLERANCE:
        first += 1
    if high_excluded and abs(last - high / step) < _TOLERANCE:
        last -= 1
    low, high = first * step, last * step
    return float(f"{low:.12g}"), float(f"{high:.12g}")


def _bounds(part: Schema) -> tuple[float, bool, float, bool]:
    """Return the lower bound, whether it is excluded, and the same of the upper one."""
    low, low_excluded = _bound(part, "minimum", "exclusiveMinimum", max)
    high, high_excluded = _bound(part, "maximum", "exclusiveMaximum", min)
    return low, low_excluded, high, high_excluded


def _bound(
    part: Schema,
    included: str,
    excluded: str,
    tighter: Callable[..., Any],
) -> tuple[float, bool]:
    """Return a bound and whether it is excluded; of two bounds, the tighter one.

    Since draft 6 an excluded bound is a number of its own; in draft 4 it is a boolean beside the
    included one.
    """
    bounds = []
    exclusive = part.get(excluded)
    if included in part:
        bounds.append((part[included], exclusive is True))
    if is_number(exclusive):
        bounds.append((exclusive, True))
    if not bounds:
        raise UsageError(f"it has no {included}: a search needs both ends of a range")
    bound: tuple[float, bool] = tighter(bounds, key=lambda pair: pair[0])
    return bound
