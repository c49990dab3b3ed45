"""The user's f as bytes for a fresh process: by reference where it can be imported, else by value."""

from __future__ import annotations

import dis
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from ..errors import FunctionUnusable

_LOOKS_AROUND = {"globals", "locals", "vars", "eval", "exec", "exec_unsafe"}


def pack(func: Callable[..., Any]) -> bytes:
    """Return a pickle of f, and of the surroundings that it may look for by name.

    Raises FunctionUnusable when it cannot be pickled, with the two ways out.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps((func, _surroundings(func))))
    except (
        Exception
    ) as error:  # pickling runs the user's own __reduce__ and __getstate__
        name = getattr(func, "__qualname__", repr(func))
        raise FunctionUnusable(
            f"{name} cannot be sent to a sandbox ({type(error).__name__}: {error}): define it at the top of a module "
            "without open files, locks or connections, or pass sandbox='inline', which runs it in this process"
        ) from error


def unpack(payload: bytes, imports: Iterable[str]) -> Callable[..., Any]:
    """Return f as it was packed, with its surroundings and its imports. Only for what this program itself packed."""
    import pickle

    func, surroundings = pickle.loads(payload)  # noqa: S301, from parent to child
    namespace = getattr(inspect.unwrap(func), "__globals__", {})
    for name, value in surroundings.items():
        namespace.setdefault(name, pickle.loads(value))  # noqa: S301
    for module in imports:
        with suppress(Exception):  # f itself will say so when it imports it and cannot
            importlib.import_module(module)
    return func  # type: ignore[no-any-return]


def imported_modules(func: Callable[..., Any]) -> list[str]:
    """Return the modules that f imports when it is called, or its script before, for a warm process to have them."""
    functions = _functions(func)
    inside = {name for mate in functions for name in _imported(mate.__code__)}
    return sorted(inside | (_modules_beside(functions[0]) if functions else set()))


def _modules_beside(func: types.FunctionType) -> set[str]:
    """Return the modules of what the main script imported: a fresh process does not run the script."""
    if func.__module__ != "__main__":
        return set()
    values = [
        value for name, value in func.__globals__.items() if not name.startswith("__")
    ]
    names = {
        value.__name__ if isinstance(value, types.ModuleType) else _module_of(value)
        for value in values
    }
    return {name for name in names if name in sys.modules and name != "__main__"}


def _module_of(value: Any) -> str:
    """Return where a function or class comes from; nothing for other values, whose attributes may be code."""
    return (
        str(value.__module__)
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | type)
        else ""
    )


def _functions(func: Callable[..., Any]) -> list[types.FunctionType]:
    """Return f, or the methods of its class, and the functions beside it."""
    inner = inspect.unwrap(func)
    own = (
        [inner]
        if isinstance(inner, types.FunctionType)
        else list(vars(type(inner)).values())
    )
    found = [one for one in own if isinstance(one, types.FunctionType)]
    mates = [
        value
        for one in found[:1]
        for value in one.__globals__.values()
        if isinstance(value, types.FunctionType)
    ]
    return found + [
        mate
        for mate in mates
        if mate.__globals__ is found[0].__globals__ and mate not in found
    ]


def _imported(code: types.CodeType) -> set[str]:
    """Return what `import` and `from ... import` name in some code; not what is relative, its package is another's."""
    inner = [
        constant for constant in code.co_consts if isinstance(constant, types.CodeType)
    ]
    steps = [
        step for step in dis.get_instructions(code) if step.opname != "EXTENDED_ARG"
    ]
    absolute = {  # the number of dots is pushed two steps before
        step.argval
        for dots, step in zip(steps, steps[2:], strict=False)
        if step.opname == "IMPORT_NAME" and dots.argval == 0
    }
    return absolute.union(*map(_imported, inner))


def _surroundings(func: Callable[..., Any]) -> dict[str, bytes]:
    """Return the global names of a script's f, where f or its helpers look around by `globals()` and the like.

    A function of the main script travels by value and takes only the names that it mentions; code that it executes
    may mention others, such as modules that only the script's top level imports.
    """
    import cloudpickle

    inner = inspect.unwrap(func)
    if (
        not isinstance(inner, types.FunctionType)
        or inner.__module__ != "__main__"
        or not _looks_around(inner)
    ):
        return {}
    found: dict[str, bytes] = {}
    for name, value in inner.__globals__.items():
        if name.startswith("__") and name.endswith("__"):
            continue
        try:
            found[name] = cloudpickle.dumps(value)
        except Exception:  # an open file, a lock: what cannot travel stays behind
            continue
    return found


def _looks_around(func: types.FunctionType) -> bool:
    return any(_LOOKS_AROUND & _names(mate.__code__) for mate in _functions(func))


def _names(code: types.CodeType) -> set[str]:
    inner = [
        constant for constant in code.co_consts if isinstance(constant, types.CodeType)
    ]
    return set(code.co_names).union(*map(_names, inner))
