"""What the child of a judged script or function does: run it, and return what was asked for. It never sees f."""

from __future__ import annotations

from typing import Any

MISSING = "missing"  # the key of the answer that names a variable that was never set
UNKNOWN = "unknown"  # that names a function that the script does not define


def perform(order: dict[str, Any]) -> dict[str, Any]:
    """Run the script of an order with its inputs as globals; return its outputs, or what its function returns."""
    names: dict[str, Any] = {
        "__name__": "__main__",
        "__builtins__": __builtins__,
        **order["inputs"],
    }
    exec(compile(order["script"], "<script>", "exec"), names)  # noqa: S102, this is what the sandbox is for
    if order["function"] is None:
        missing = [name for name in order["outputs"] if name not in names]
        return (
            {MISSING: missing[0]}
            if missing
            else {"outputs": {name: names[name] for name in order["outputs"]}}
        )
    function = names.get(order["function"])
    if not callable(function):
        return {UNKNOWN: order["function"]}
    return {"value": function(*order["args"], **order["kwargs"])}
