"""The flags of `run`, `resume`, `replay` and `compare`, made from the fields of `RunSettings`.

A command that takes them has the decorator `taking`, and gets their values as keywords; `arguments`
and `changes` return what these stand for in Python.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from .. import settings
from ..errors import UnknownName, UsageError
from ..loading import functions_of, model_of
from ..records import Budget, Limits
from ..task_file import KINDS, QUESTION, kinds_of
from .common import file_text, text_of

Command = TypeVar("Command", bound=Callable[..., None])

_AGAIN = "Repeat it for several."
_TYPES: dict[str, Any] = {
    "bool": bool,
    "float": float,
    "int": int,
    "str": str,
    "str | tuple[str, ...]": list[str],
    "table": Path,
    "x": list[str],
}


@dataclass(frozen=True)
class Flag:
    """One flag of the command line.

    Args:
        option: the option of a run that it belongs to, as Python names it.
        name: of the keyword that has its value.
        word: what is typed, such as --max-usd.
        kind: the type of its value.
        help: what people read of it.
    """

    option: str
    name: str
    word: str
    kind: Any
    help: str

    def parameter(self, default: Any) -> inspect.Parameter:
        """Return it as typer reads it; an empty default makes it required."""
        words = (
            self.word
            if self.kind is not bool
            else f"{self.word}/--no-{self.word.removeprefix('--')}"
        )
        kind = self.kind if default is inspect.Parameter.empty else self.kind | None
        annotation = Annotated[kind, typer.Option(words, help=self.help)]  # type: ignore[valid-type]
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=annotation,
        )


_FUNC = Flag(
    "func",
    "func",
    "--func",
    list[str],
    "f, as FILE.py:NAME or MODULE:NAME; several are stages.",
)
_FURTHER = {  # flags of one option besides its own
    "x0": [
        Flag(
            "x0",
            "x0_file",
            "--x0-file",
            list[Path],
            f"A file that holds the first candidate. {_AGAIN}",
        )
    ],
    "model": [
        Flag(
            "model",
            "price",
            "--price",
            str,
            "Dollars per million tokens of prompt and of reply, such as 0.25/2.",
        )
    ],
}
_CAPS = {  # for each field of a budget, what is typed and what people read
    "scorings": ("--max-scorings", "Calls of f at the most."),
    "seconds": ("--max-seconds", "Wall clock at the most."),
    "calls": ("--max-calls", "Model calls at the most."),
    "tokens": ("--max-tokens", "Tokens at the most."),
    "usd": ("--max-usd", "Dollars to spend at the most, in all sessions together."),
    "stale_steps": ("--stale-steps", "End after so many steps without a new best."),
}
_LIMITS = [
    Flag(
        "limits",
        "readable",
        "--readable",
        list[str],
        f"A file or folder that f may read. {_AGAIN}",
    ),
    Flag(
        "limits",
        "writable",
        "--writable",
        list[str],
        f"A file or folder that f may write to. {_AGAIN}",
    ),
    Flag(
        "limits",
        "env",
        "--env",
        list[str],
        f"An environment variable that f may see. {_AGAIN}",
    ),
    Flag("limits", "network", "--network", bool, "Whether f may use the network."),
    Flag(
        "limits",
        "limit",
        "--limit",
        list[str],
        f"Another limit of one scoring, as NAME=NUMBER, such as memory_mb=512. {_AGAIN}",
    ),
]


def flags_of(name: str) -> list[Flag]:
    """Return the flags of an option; none where the command line does not have it."""
    if name == "budget":
        return [
            Flag(name, cap, _CAPS[cap][0], _TYPES[kind], _CAPS[cap][1])
            for cap, kind in kinds_of(Budget).items()
        ]
    if name == "limits":
        return _LIMITS
    option = settings.option_of(name)
    if not option.flag:
        return []
    kind = _TYPES[settings.kind_of(name)]
    told = [option.help, option.shell, _AGAIN if kind == list[str] else ""]
    return [
        Flag(name, name, option.flag, kind, " ".join(filter(None, told))),
        *_FURTHER.get(name, []),
    ]


def _names(without: Collection[str]) -> list[str]:
    return [name for name in settings.options() if name not in without]


FOR_RUN = _names(())
FOR_COMPARE = _names(
    ("max_steps", "seed", "budget")
)  # which the comparison itself decides
FOR_RESUME = [
    name for name, option in settings.options().items() if not option.no_resume
]
FOR_REPLAY = [
    name for name in FOR_RESUME if name not in ("model", "base_url")
]  # no model is asked


def taking(
    names: Collection[str], *, changing: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator for a command that takes the flags of these options, and --func, as **given.

    Where a command is `changing` what a run has, none is required, and one that is not given is None.
    """

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        hints = get_type_hints(command, include_extras=True)
        own = [
            one.replace(kind=one.KEYWORD_ONLY, annotation=hints[one.name])
            for one in signature.parameters.values()
            if one.kind is not one.VAR_KEYWORD
        ]
        flags = [_FUNC]
        for name in names:
            flags += flags_of(name)
        made = [flag.parameter(None if changing else _default(flag)) for flag in flags]
        at = [one.name for one in own].index(
            "store"
        )  # the flags of the call come after those of the run
        parameters = [*own[:at], *made, *own[at:]]
        parameters.sort(
            key=lambda one: one.default is not one.empty
        )  # those that are required come first
        command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return command

    return decorate


def _default(flag: Flag) -> Any:
    """Return what a flag of a new run is where it is not given; an empty one is required."""
    if flag.name in ("func", "task_description"):
        return inspect.Parameter.empty
    if flag.name == "task_question":
        return QUESTION
    if flag.name != flag.option or flag.kind == list[str]:
        return None
    return settings.default_of(flag.name)


def arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags of `run` and `compare` stand for; options that are not given are left out.

    Raises UsageError for what cannot be read.
    """
    found = _plain(given)
    first = [*map(first_x, given["x0"] or []), *map(file_text, given["x0_file"] or [])]
    found |= {"x0": first or None, "func": functions_of(given["func"])}
    found["model"] = model_of(given["model"], given["base_url"], given["price"])
    found.pop("base_url", None)
    found["limits"] = Limits(**_limits(given))
    if "usd" in given:
        found["budget"] = Budget(**_caps(given))
    return found


def changes(given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the flags of `resume` and `replay` change of a stored run, with its f.

    Raises UsageError for what cannot be read, and where nobody knows where f is.
    """
    found = _plain(given)
    func = given["func"] or ([stored["func"]] if stored["func"] else [])
    if not func:
        raise UsageError(
            "this run does not know where its f is: add --func FILE.py:NAME"
        )
    found["func"] = functions_of(func)
    names, base_url, price = (
        given.get(name) for name in ("model", "base_url", "price")
    )
    if names or base_url is not None or price is not None:
        found["model"] = model_of(
            names or [stored["model"]], base_url or stored["base_url"], price
        )
        found.pop("base_url", None)
    caps, limits = _caps(given), _limits(given)
    if caps:
        found["budget"] = {**stored["budget"], **caps}
    if limits:
        found["limits"] = {**stored["limits"], **limits}
    return found


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options whose only flag holds their value; a table is read from its file."""
    known = {
        name: value
        for name, value in given.items()
        if name in settings.options() and value is not None
    }
    found = {
        name: value for name, value in known.items() if name not in ("x0", "model")
    }
    for name in found:
        kind = settings.kind_of(name)
        if kind == "table":
            found[name] = _table(name, found[name])
        elif settings.option_of(name).in_task:
            found[name] = text_of(found[name])
    return found


def _caps(given: Mapping[str, Any]) -> dict[str, Any]:
    return {cap: given[cap] for cap in _CAPS if given.get(cap) is not None}


def _limits(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that are given. Raises UnknownName for one that there is not, UsageError for no number."""
    found: dict[str, Any] = {}
    for flag in _LIMITS:
        if flag.name != "limit" and given.get(flag.name) is not None:
            value = given[flag.name]
            found[flag.name] = tuple(value) if isinstance(value, list) else value
    numbers = {
        name: kind
        for name, kind in kinds_of(Limits).items()
        if kind in ("int", "float")
    }
    for word in given.get("limit") or ():
        name, _, text = word.partition("=")
        if name not in numbers:
            raise UnknownName("limit", name, numbers)
        try:
            found[name] = _TYPES[numbers[name]](text)
        except ValueError:
            raise UsageError(
                f"--limit is {word!r}: {name} takes {KINDS[numbers[name]].words}"
            ) from None
    return found


def first_x(given: str) -> Any:
    """Return a text, or the files of a folder by their names. Raises UsageError for a folder without any text."""
    folder = Path(given) if "\n" not in given and len(given) < 1000 else None
    if folder is None or not folder.is_dir():
        return given
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not _hidden(path.relative_to(folder))
    )
    if not files:
        raise UsageError(f"the folder {folder} of --x0 holds no file")
    return {path.relative_to(folder).as_posix(): file_text(path) for path in files}


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__pycache__" for part in path.parts)


def _table(name: str, path: Path) -> Any:
    try:
        return json.loads(file_text(path))
    except ValueError as error:
        raise UsageError(
            f"the file {path} of {settings.option_of(name).flag} is no JSON: {error}"
        ) from error
