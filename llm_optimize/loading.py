"""Loading of what text names: f by FILE.py:NAME or MODULE:NAME, and models by their names.

The command line and the server for agents get text and need objects. Loading f imports, and thus
runs, the user's file.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import FunctionUnusable, OptionName, UsageError, suggestion
from .llm import Chat, Price

_LIBRARIES = (
    "stdlib",
    "platstdlib",
    "purelib",
    "platlib",
)  # folders, as sysconfig has them


def functions_of(where: Sequence[str]) -> Any:
    """Return f, or its stages. Raises FunctionUnusable."""
    if len(where) == 1:
        return load(where[0])
    return [load(one) for one in where]


def load(where: str) -> Callable[[Any], Any]:
    """Return the function at FILE.py:NAME or MODULE:NAME.

    Raises FunctionUnusable, which says what is missing where.
    """
    source, _, name = where.rpartition(":")
    if not source or not name:
        raise FunctionUnusable(
            OptionName("func"),
            f" is {where!r}, which names no function: write FILE.py:NAME or MODULE:NAME",
        )
    if source.endswith(".py"):
        module = _module_from_file(Path(source))
    else:
        sys.path.insert(0, str(Path.cwd()))
        with _as_imported(source):
            module = importlib.import_module(source)
    func = getattr(module, name, None)
    if func is None:
        hint = suggestion(name, _public_functions(module))
        raise FunctionUnusable(f"{source} has no function {name!r}: {hint}")
    if not callable(func):
        kind = type(func).__name__
        raise FunctionUnusable(f"{name} in {source} is of type {kind}, not a function")
    return func  # type: ignore[no-any-return]


def _public_functions(module: ModuleType) -> list[str]:
    found = []
    for name, value in vars(module).items():
        if callable(value) and not name.startswith("_"):
            found.append(name)
    return found


def _module_from_file(path: Path) -> ModuleType:
    """Import a file under its own name, with its folder on the path.

    So the process of a scoring, which gets the same path, finds it under that name.
    """
    if not path.is_file():
        raise FunctionUnusable(
            f"the file {path} of ", OptionName("func"), " does not exist"
        )
    _refuse_name_of_module(path)
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise FunctionUnusable(f"{path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    with _as_imported(str(path)):
        spec.loader.exec_module(module)
    return module


def _refuse_name_of_module(path: Path) -> None:
    """Raise FunctionUnusable for a file such as random.py, which would hide that module.

    A library that imports the module would get the file, here and in the process of a scoring.
    """
    if path.stem == "test":  # of the standard library, and imported by nobody
        return
    if path.stem not in sys.stdlib_module_names:
        folders = [sysconfig.get_path(name) for name in ("purelib", "platlib")]
        spec = PathFinder.find_spec(path.stem, folders)
        if spec is None or spec.origin is None:
            return
        if Path(spec.origin).resolve() == path.resolve():
            return
    raise FunctionUnusable(
        f"the file {path} of ",
        OptionName("func"),
        f" has the name of the module {path.stem!r}, which it would hide: rename it, "
        f"such as my_{path.name}",
    )


@contextmanager
def _as_imported(source: str) -> Iterator[None]:
    """Run the user's file or module as an import: it sees no arguments of the command line.

    Raises FunctionUnusable for whatever it raises.
    """
    arguments = sys.argv
    sys.argv = [source]
    try:
        yield
    except SystemExit as error:
        raise FunctionUnusable(
            f"{source} ends the program when it is imported (exit code {error.code}): "
            'put what only a script should do under if __name__ == "__main__":'
        ) from error
    except Exception as error:  # the user's file may raise anything
        raise _import_failure(source, error) from error
    finally:
        sys.argv = arguments


def _import_failure(source: str, error: Exception) -> FunctionUnusable:
    """Return the error, with the line of the user's file that raised."""
    sentence = f"{source} cannot be imported: {type(error).__name__}: {error}"
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        if "importlib" not in frame.filename:
            frames.append(frame)
    if frames and frames[-1].filename != __file__:
        sentence += f" ({frames[-1].filename}, line {frames[-1].lineno})"
    return FunctionUnusable(sentence)


def model_of(
    names: Sequence[str] | None, price: str | None, of_chat: Mapping[str, Any]
) -> Any:
    """Return what `optimize.run` takes for a model: None, a name, a chat, or a list of these.

    Args:
        names: of the models; none is the usual model.
        price: dollars per million tokens of prompt and of reply, as 0.25/2, for all of them.
        of_chat: further arguments of `llm.Chat`, for all of them; None where one is not given.

    Raises UsageError for a price that is not a pair of numbers.
    """
    several: list[Any] = [*names] if names else [None]
    is_given = [value is not None for value in (price, *of_chat.values())]
    if any(is_given) and several != ["mutation"]:
        known = _price(price)
        several = [Chat(name, price=known, **of_chat) for name in several]
    return several if len(several) > 1 else several[0]


def _price(text: str | None) -> Price | None:
    if text is None:
        return None
    prompt, _, reply = text.partition("/")
    try:
        return Price(float(prompt), float(reply))
    except ValueError as error:
        raise UsageError(
            f"--price is {text!r}: write dollars per million prompt tokens and "
            "reply tokens, such as 0.25/2"
        ) from error
