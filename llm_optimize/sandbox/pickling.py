"""Pickling of f for a fresh process: by reference where it can be imported, else by value.

Pickles go from the optimizer to its own processes only, never back.
"""

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

_NAMESPACE_READERS = {"globals", "locals", "vars", "eval", "exec", "exec_unsafe"}


def pickle_function(func: Callable[..., Any]) -> bytes:
    """Return a pickle of f, and of the globals that it may look up by name.

    Raises FunctionUnusable when it cannot be pickled, with the two ways out.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps((func, _globals_by_name(func))))
    except Exception as error:  # pickling runs the user's __reduce__ and __getstate__
        name = getattr(func, "__qualname__", repr(func))
        raise FunctionUnusable(
            f"{name} cannot be sent to a sandbox ({type(error).__name__}: {error}): "
            "define it at the top of a module without open files, locks or connections, "
            "or pass sandbox='inline', which runs it in this process"
        ) from error


def unpickle_function(payload: bytes, imports: Iterable[str]) -> Callable[..., Any]:
    """Return f as it was pickled, with its globals, after importing the modules that it uses.

    Only for what this program itself pickled.
    """
    import pickle

    func, found_globals = pickle.loads(payload)  # noqa: S301, from parent to child
    namespace = getattr(inspect.unwrap(func), "__globals__", {})
    for name, value in found_globals.items():
        namespace.setdefault(name, pickle.loads(value))  # noqa: S301
    for module in imports:
        with suppress(Exception):  # f itself will fail when it imports the module
            importlib.import_module(module)
    return func  # type: ignore[no-any-return]


def imported_modules(func: Callable[..., Any]) -> list[str]:
    """Return the modules that f imports when it is called, or its script before.

    The fork server imports them once, so that its children have them.
    """
    functions = _functions(func)
    names: set[str] = set()
    for function in functions:
        names |= _imports_in(function.__code__)
    if functions:
        names |= _imports_of_script(functions[0])
    return sorted(names)


def _imports_of_script(func: types.FunctionType) -> set[str]:
    """Return the modules that the main script imported: a fresh process does not run the script."""
    if func.__module__ != "__main__":
        return set()
    names: set[str] = set()
    for name, value in func.__globals__.items():
        if name.startswith("__"):
            continue
        if isinstance(value, types.ModuleType):
            names.add(value.__name__)
        elif isinstance(value, types.FunctionType | types.BuiltinFunctionType | type):
            # Of other values not even an attribute is read: that may run code.
            names.add(str(value.__module__))
    return {name for name in names if name in sys.modules and name != "__main__"}


def _functions(func: Callable[..., Any]) -> list[types.FunctionType]:
    """Return f, or the methods of its class, and the functions of the same module."""
    inner = inspect.unwrap(func)
    own: list[Any] = [inner]
    if not isinstance(inner, types.FunctionType):
        own = list(vars(type(inner)).values())
    found = [one for one in own if isinstance(one, types.FunctionType)]
    if not found:
        return []
    namespace = found[0].__globals__
    for value in list(namespace.values()):
        if not isinstance(value, types.FunctionType) or value in found:
            continue
        if value.__globals__ is namespace:
            found.append(value)
    return found


def _imports_in(code: types.CodeType) -> set[str]:
    """Return the absolute imports in some code and the code within it.

    Relative ones are left out: they need the package that they stand in. In bytecode, the number of
    dots is pushed two instructions before IMPORT_NAME.
    """
    steps = []
    for step in dis.get_instructions(code):
        if step.opname != "EXTENDED_ARG":
            steps.append(step)
    names: set[str] = set()
    for dots, step in zip(steps, steps[2:], strict=False):
        if step.opname == "IMPORT_NAME" and dots.argval == 0:
            names.add(step.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _imports_in(constant)
    return names


def _globals_by_name(func: Callable[..., Any]) -> dict[str, bytes]:
    """Return the pickled globals of a script whose f looks names up by `globals()` and the like.

    A function of the main script travels by value and takes only the globals that it mentions; code
    that it executes may mention others, such as modules that only the script's top level imports.
    """
    import cloudpickle

    inner = inspect.unwrap(func)
    if not isinstance(inner, types.FunctionType) or inner.__module__ != "__main__":
        return {}
    if not _reads_namespaces(inner):
        return {}
    found: dict[str, bytes] = {}
    for name, value in inner.__globals__.items():
        if name.startswith("__") and name.endswith("__"):
            continue
        try:
            found[name] = cloudpickle.dumps(value)
        except Exception:  # an open file, a lock: what cannot be pickled stays behind
            continue
    return found


def _reads_namespaces(func: types.FunctionType) -> bool:
    names: set[str] = set()
    for function in _functions(func):
        names |= _names_in(function.__code__)
    return bool(_NAMESPACE_READERS & names)


def _names_in(code: types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _names_in(constant)
    return names
