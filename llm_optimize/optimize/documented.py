"""The options of a run in the signature and the docstring of `run`, for help() and for editors."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from ..settings import RunOptions, default_of, keywords, options

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(function: Function) -> Function:
    """Show the options in the signature and the docstring of a function that takes them as **options.

    In the docstring they stand for a line `options:`, and each that has parameters of its own for
    a line that names it only.
    """
    signature = inspect.signature(function)
    own = [
        one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD
    ]
    further = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default_of(name),
            annotation=kind.__forward_arg__,
        )
        for name, kind in RunOptions.__annotations__.items()
    ]
    function.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
    if function.__doc__:  # none at all with python -OO
        function.__doc__ = "\n".join(
            _told(line) for line in function.__doc__.splitlines()
        )
    return function


def _told(line: str) -> str:
    """Return a line of a docstring; where it only names an option, what is told of that."""
    name, colon, rest = line.strip().partition(":")
    if not colon or rest:
        return line
    if name == "options":
        return "\n".join(map(_documentation, keywords()))
    return _documentation(name) if name in options() else line


def _documentation(name: str) -> str:
    option = options()[name]
    told = f"{name}: {option.help} {option.python}".strip()
    return textwrap.fill(
        told,
        100,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
    )
