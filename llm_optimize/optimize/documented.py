"""Signature and docstring of `run`, completed with the options for help() and for editors."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any, TypeVar

from ..settings import RunOptions, default_of, keywords, options

Function = TypeVar("Function", bound=Callable[..., Any])


def documented(function: Function) -> Function:
    """Add the options to the signature and the docstring of a function that takes **options.

    In the docstring a line `options:` is replaced by all of them, and a line with nothing but the
    name of an option by the help of that option.
    """
    signature = inspect.signature(function)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            parameters.append(parameter)
    for name, kind in RunOptions.__annotations__.items():
        parameter = inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default_of(name),
            annotation=kind.__forward_arg__,
        )
        parameters.append(parameter)
    complete = signature.replace(parameters=parameters)
    function.__signature__ = complete  # type: ignore[attr-defined]
    if function.__doc__:  # None with python -OO
        lines = function.__doc__.splitlines()
        function.__doc__ = "\n".join(map(_completed, lines))
    return function


def _completed(line: str) -> str:
    """Return a line of a docstring, or the help of the option that it names."""
    name, colon, rest = line.strip().partition(":")
    if not colon or rest:
        return line
    if name == "options":
        return "\n".join(map(_help_of, keywords()))
    if name in options():
        return _help_of(name)
    return line


def _help_of(name: str) -> str:
    option = options()[name]
    text = f"{name}: {option.help} {option.python}".strip()
    return textwrap.fill(
        text,
        100,
        initial_indent=" " * 8,
        subsequent_indent=" " * 12,
        break_long_words=False,
    )
