"""The user's f as bytes for a fresh process: by reference where it can be imported, else by value."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable
from typing import Any

from ..errors import FunctionUnusable

_LOOKS_AROUND = {"globals", "locals", "vars", "eval", "exec", "exec_unsafe"}


def pack(func: Callable[..., Any]) -> bytes:
    """Return a pickle of f and of the surroundings that it may look for by name.

    Raises FunctionUnusable when it cannot be pickled, with the two ways out.
    """
    import cloudpickle

    try:
        return bytes(cloudpickle.dumps((func, _surroundings(func))))
    except Exception as error:  # pickling runs the user's own __reduce__ and __getstate__
        name = getattr(func, "__qualname__", repr(func))
        raise FunctionUnusable(
            f"{name} cannot be sent to a sandbox ({type(error).__name__}: {error}): define it at the top of a module "
            "without open files, locks or connections, or pass sandbox='inline', which runs it in this process"
        ) from error


def unpack(payload: bytes) -> Callable[..., Any]:
    """Return f as it was packed, with its surroundings. Only for what this program itself packed."""
    import pickle

    func, surroundings = pickle.loads(payload)  # noqa: S301, from parent to child
    namespace = getattr(inspect.unwrap(func), "__globals__", {})
    for name, value in surroundings.items():
        namespace.setdefault(name, pickle.loads(value))  # noqa: S301
    return func  # type: ignore[no-any-return]


def _surroundings(func: Callable[..., Any]) -> dict[str, bytes]:
    """Return the global names of a script's f, where f or its helpers look around by `globals()` and the like.

    A function of the main script travels by value and takes only the names that it mentions; code that it executes
    may mention others, such as modules that only the script's top level imports.
    """
    import cloudpickle

    inner = inspect.unwrap(func)
    if not isinstance(inner, types.FunctionType) or inner.__module__ != "__main__" or not _looks_around(inner):
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
    mates = [func, *(value for value in func.__globals__.values() if isinstance(value, types.FunctionType))]
    return any(_LOOKS_AROUND & _names(mate.__code__) for mate in mates if mate.__globals__ is func.__globals__)


def _names(code: types.CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))
