"""Python objects for the words of a command line or of a task file: f by its place, models by their names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from . import llm
from .errors import FunctionUnusable, UsageError, suggestion


def load(where: str) -> Callable[[Any], Any]:
    """Return the function. Raises FunctionUnusable, which says what is missing where."""
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise FunctionUnusable(
            f"--func {where!r} names no function: write FILE.py:NAME or MODULE:NAME"
        )
    module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
    func = getattr(module, name, None)
    if func is None:
        known = [
            word
            for word, value in vars(module).items()
            if callable(value) and not word.startswith("_")
        ]
        raise FunctionUnusable(
            f"{source} has no function {name!r}: {suggestion(name, known)}"
        )
    if not callable(func):
        raise FunctionUnusable(
            f"{name} in {source} is a {type(func).__name__}, no function"
        )
    return func  # type: ignore[no-any-return]


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, so that a fresh process with the same path finds it, too."""
    if not path.is_file():
        raise FunctionUnusable(f"the file {path} of --func does not exist")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise FunctionUnusable(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's file may raise anything
        raise _unusable(str(path), error) from error
    return module


def _from_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # the user's module may raise anything
        raise _unusable(name, error) from error


def _unusable(source: str, error: Exception) -> FunctionUnusable:
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "importlib" not in frame.filename
    ]
    place = (
        f" ({frames[-1].filename}, line {frames[-1].lineno})"
        if frames and frames[-1].filename != __file__
        else ""
    )
    return FunctionUnusable(
        f"{source} cannot be imported: {type(error).__name__}: {error}{place}"
    )


def functions_of(where: list[str]) -> Any:
    """Return f, or its stages."""
    return load(where[0]) if len(where) == 1 else [load(one) for one in where]


def model_of(names: list[str] | None, base_url: str | None, price: str | None) -> Any:
    """Return what optimize.run takes for a model: nothing, a name, or chats."""
    wanted: list[str | None] = [*names] if names else [None]
    if names == ["mutation"] or (base_url is None and price is None):
        chosen: list[Any] = wanted
    else:
        chosen = [
            llm.Chat(name, base_url=base_url, price=_price(price)) for name in wanted
        ]
    return chosen if len(chosen) > 1 else chosen[0]


def _price(text: str | None) -> llm.Price | None:
    if text is None:
        return None
    prompt, _, reply = text.partition("/")
    try:
        return llm.Price(float(prompt), float(reply))
    except ValueError as error:
        raise UsageError(
            f"--price is {text!r}: write dollars per million tokens of prompt and of reply, as 0.25/2"
        ) from error
