"""Options of `run`, `resume`, `replay` and `compare`, made from the fields of `RunSettings`.

A command decorated with `with_options` has a typer option for each field, and gets the values as
keywords; `values` turns these into what Python takes. Adding a field to `RunSettings` thus adds
its option everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from .. import settings
from ..records import Budget, Limits
from ..task_file import QUESTION, kinds_of
from .completion import COMPLETIONS

Command = TypeVar("Command", bound=Callable[..., None])

_REPEATABLE = "Repeat it for several."
TYPES: dict[str, Any] = {  # what typer reads, for each kind of value in `settings`
    "bool": bool,
    "float": float,
    "int": int,
    "str": str,
    "str | tuple[str, ...]": list[str],
    "rows": Path,
    "table": Path,
    "x": list[str],
}


@dataclass(frozen=True)
class Flag:
    """One flag of the command line.

    Args:
        option: the option of a run that it belongs to, as Python names it.
        name: the keyword that gets its value.
        word: what the user types, such as --max-usd.
        kind: the type of its value.
        help: its line in the help.
    """

    option: str
    name: str
    word: str
    kind: Any
    help: str

    def parameter(self, default: str) -> inspect.Parameter:
        """Return it as typer reads it: not required, and None where it is not given.

        Args:
            default: what holds then, for the help; "" where there is nothing to say.
        """
        word = self.word
        help_ = f"{self.help}  [default: {default}]" if default else self.help
        metavar: str | None = _METAVARS.get(self.word, _METAVARS.get(self.kind))
        if self.kind is bool:
            word += f"/--no-{word.removeprefix('--')}"
            metavar = None
        option = typer.Option(
            word,
            help=help_,
            metavar=metavar,
            autocompletion=COMPLETIONS.get(self.word),
        )
        return inspect.Parameter(
            self.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[self.kind | None, option],
        )


# What stands for the value in the help: of single flags, else of a kind.
_METAVARS: dict[Any, str] = {
    int: "N",
    float: "NUMBER",
    str: "TEXT",
    Path: "FILE",
    list[str]: "TEXT",
    list[Path]: "FILE",
    "--base-url": "URL",
    "--env": "NAME",
    "--func": "FILE.py:NAME",
    "--limit": "NAME=N",
    "--memory": "MB",
    "--model": "NAME",
    "--price": "IN/OUT",
    "--proposer": "NAME",
    "--readable": "PATH",
    "--sandbox": "NAME",
    "--search": "NAME",
    "--timeout": "SECS",
    "--max-seconds": "SECS",
    "--max-usd": "DOLLARS",
    "--writable": "PATH",
}


_FUNC = Flag(
    option="func",
    name="func",
    word="--func",
    kind=list[str],
    help="f, as FILE.py:NAME or MODULE:NAME. Several are stages, the cheapest first.",
)
_X0_FILE = Flag(
    option="x0",
    name="x0_file",
    word="--x0-file",
    kind=list[Path],
    help=f"A file with the first candidate. {_REPEATABLE}",
)
_PRICE = Flag(
    option="model",
    name="price",
    word="--price",
    kind=str,
    help="Dollars per million prompt tokens and reply tokens, such as 0.25/2.",
)
_BESIDE = {"x0": [_X0_FILE], "model": [_PRICE]}  # further flags of one option

CAPS = {  # for each field of a budget, its flag and help
    "scorings": ("--max-scorings", "End after this many calls of f."),
    "seconds": ("--max-seconds", "End after this many seconds of wall clock."),
    "calls": ("--max-calls", "End after this many model calls."),
    "tokens": ("--max-tokens", "End after this many tokens."),
    "usd": ("--max-usd", "End after this many US dollars, all sessions together."),
    "stale_steps": ("--stale-steps", "End after this many steps without a new best."),
}


def _limit(name: str, kind: Any, help_: str) -> Flag:
    return Flag(option="limits", name=name, word=f"--{name}", kind=kind, help=help_)


LIMITS = [
    _limit("readable", list[str], f"A file or folder that f may read. {_REPEATABLE}"),
    _limit(
        "writable", list[str], f"A file or folder that f may write to. {_REPEATABLE}"
    ),
    _limit("env", list[str], f"An environment variable that f may see. {_REPEATABLE}"),
    _limit("network", bool, "Whether f may use the network."),
    Flag(
        option="limits",
        name="memory_mb",
        word="--memory",
        kind=int,
        help=f"Megabytes that one scoring may use; {Limits().memory_mb} if not given.",
    ),
    _limit(
        "limit",
        list[str],
        "Another limit of one scoring, as NAME=NUMBER, such as processes=64. "
        + _REPEATABLE,
    ),
]


def flags_of(name: str) -> list[Flag]:
    """Return the flags of an option; none where it cannot be given on the command line."""
    if name == "budget":
        flags = []
        for cap, kind in kinds_of(Budget).items():
            word, help_ = CAPS[cap]
            flags.append(Flag(name, cap, word, TYPES[kind], help_))
        return flags
    if name == "limits":
        return LIMITS
    option = settings.option_of(name)
    if not option.flag:
        return []
    kind = TYPES[settings.kind_of(name)]
    sentences = [option.help, option.shell]
    if kind == list[str]:
        sentences.append(_REPEATABLE)
    help_ = " ".join(filter(None, sentences))
    return [Flag(name, name, option.flag, kind, help_), *_BESIDE.get(name, [])]


def flag_of(name: str) -> str:
    """Return the flag of an option, by its name in Python; the name itself where it has none.

    >>> flag_of("timeout_secs"), flag_of("budget.usd"), flag_of("limits.memory_mb")
    ('--timeout', '--max-usd', '--memory')
    """
    record, _, field = name.partition(".")
    if record == "limits":
        for limit in LIMITS:
            if limit.name == field:
                return limit.word
        return f"--limit {field}"
    if record == "budget" and field:
        return CAPS[field][0]
    if name in settings.options():
        return settings.option_of(name).flag or name
    return "--" + name.replace("_", "-")


_DECIDED_BY_COMPARE = ("max_steps", "seed", "budget")
FOR_RUN = list(settings.options())
FOR_COMPARE = [name for name in FOR_RUN if name not in _DECIDED_BY_COMPARE]
FOR_RESUME = [name for name in FOR_RUN if not settings.option_of(name).no_resume]
FOR_REPLAY = [name for name in FOR_RESUME if not settings.option_of(name).of_model]


def with_options(
    names: Collection[str], *, changing: bool = False
) -> Callable[[Command], Command]:
    """Return a decorator that gives a command the flags of these options, and --func.

    The command takes their values as `**given`. Typer reads the signature of a command, so the
    decorator writes a new one in which `**given` is replaced by the flags.

    Args:
        names: options of a run, as Python names them.
        changing: whether the command changes a stored run, whose own values are the defaults.
    """
    flags = [_FUNC]
    for name in names:
        flags += flags_of(name)

    def decorate(command: Command) -> Command:
        made = []
        for flag in flags:
            default = "" if changing else _default(flag)
            made.append(flag.parameter(default))
        own = _own_parameters(command)
        # In the help the flags of the run stand before those of the call, which begin with --store.
        place = [parameter.name for parameter in own].index("store")
        parameters = [*own[:place], *made, *own[place:]]
        # Python wants required ones first; the sort is stable.
        parameters.sort(key=lambda one: one.default is not inspect.Parameter.empty)
        signature = inspect.signature(command).replace(parameters=parameters)
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return decorate


def _own_parameters(command: Command) -> list[inspect.Parameter]:
    """Return the parameters of a command besides `**given`, by keyword and with their types."""
    hints = get_type_hints(command, include_extras=True)
    found = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameter = parameter.replace(
                kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[parameter.name]
            )
            found.append(parameter)
    return found


def _default(flag: Flag) -> str:
    """Return what holds for a new run where a flag is not given, in words; "" for nothing."""
    if flag.name == "task_question":
        return QUESTION
    if flag.name != flag.option or flag.kind in (bool, list[str], Path):
        return ""
    default = settings.default_of(flag.name)
    return "" if default is None else str(default)
