"""TASK.toml: all that a human decides of a run, in a file. Its keys are the arguments of `optimize.run`.

    task = "Decrease the value of f(x). x is two numbers in [-10, 10]."
    func = "judge.py:f"
    x0 = "[5, 3]"

Paths are relative to the file. `KEYS` and the fields of the records behind the tables say which keys there are; an
unknown one raises, with the nearest.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import settings
from .errors import TaskFileError, UnknownName, UsageError
from .records import Budget, Limits, X

_MAX_BYTES = 1_000_000  # of a TASK.toml
_MAX_SHOWN_CHARS = 100
QUESTION = "What is a better x?"  # where a file asks none
MAX_STEPS: int = settings.default_of(
    "max_steps"
)  # where a file says nothing, as for optimize.run
MAY_SET = (
    "budget",
    "hint",
    "max_steps",
    "model",
    "search",
    "seed",
    "x0",
)  # what a file may leave to an agent
Record = TypeVar("Record")


@dataclass(frozen=True)
class Agent:
    """The table [agent]: what an agent may decide of a task. Raises UsageError for words and numbers that cannot be."""

    may_set: tuple[str, ...] = (
        "budget",
        "max_steps",
    )  # a budget only lower than the file's
    max_steps: int | None = (
        None  # the most that it may ask for; None: the file's own max_steps
    )
    max_runs: int = 20  # of this task in the store
    models: tuple[str, ...] = ()  # those that it may choose from

    def __post_init__(self) -> None:
        for word in self.may_set:
            if word not in MAY_SET:
                raise UnknownName("word in may_set", word, MAY_SET)
        if self.max_steps is not None and self.max_steps < 0:
            raise UsageError(
                f"max_steps is {self.max_steps}: give 0 (score x0 only) or more"
            )
        if self.max_runs < 1:
            raise UsageError(f"max_runs is {self.max_runs}: give 1 or more")
        if "model" in self.may_set and not self.models:
            raise UsageError(
                'may_set holds "model" and no model is named: add models = ["..."] to choose from'
            )


@dataclass(frozen=True)
class TaskFile:
    """A TASK.toml that was read. `options` are arguments of `optimize.run` by name, as the file has them."""

    path: Path
    name: str
    title: str
    task: str
    func: tuple[str, ...]  # FILE.py:NAME, with the whole path; several are stages
    question: str = QUESTION
    x0: tuple[X, ...] = ()
    max_steps: int = MAX_STEPS
    models: tuple[
        str, ...
    ] = ()  # names; several are an ensemble; none is the usual model
    base_url: str | None = None
    price: str | None = (
        None  # dollars per million tokens of prompt and of reply, as 0.25/2
    )
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    agent: Agent = field(default_factory=Agent)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most_steps(self) -> int:
        """How many steps an agent may ask for at the most."""
        return self.max_steps if self.agent.max_steps is None else self.agent.max_steps


@dataclass(frozen=True)
class Kind:
    """What a value must be: in words for the error, and as a test."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_x(value: Any) -> bool:
    return isinstance(value, str | dict)


KINDS = {  # by the annotation of a field, without "| None"
    "bool": Kind("true or false", lambda value: isinstance(value, bool)),
    "float": Kind("a number", _is_number),
    "int": Kind("a whole number", _is_whole),
    "str": Kind("a text", _is_text),
    "tuple[str, ...]": Kind("a list of texts", _are_texts),
    "str | tuple[str, ...]": Kind(
        "a text or a list of texts", lambda value: _is_text(value) or _are_texts(value)
    ),
    "table": Kind("a table", lambda value: isinstance(value, dict)),
    "x": Kind(
        "a text, a table, or a list of these",
        lambda value: (
            _is_x(value) or (isinstance(value, list) and all(map(_is_x, value)))
        ),
    ),
}

_OWN_FIELDS = {  # options of a run that have fields of their own in a `TaskFile`
    *(
        "task_description",
        "task_question",
        "base_url",
        "max_steps",
        "model",
        "x0",
        "budget",
        "limits",
    ),
}
OPTIONS = {  # handed to optimize.run as they are
    name: settings.kind_of(name)
    for name, option in settings.options().items()
    if not option.no_flag and name not in _OWN_FIELDS
}
# How f is called holds also when a run is resumed: a human decides it, and the store is not asked.
DEFAULTS = {
    name: settings.default_of(name)
    for name in OPTIONS
    if settings.option_of(name).of_func
}
KEYS = {
    **OPTIONS,
    **{
        name: settings.kind_of(name)
        for name in ("base_url", "max_steps", "model", "x0")
    },
    "func": "str | tuple[str, ...]",
    "name": "str",
    "price": "str",
    "question": "str",
    "task": "str",
    "title": "str",
    "x0_file": "str | tuple[str, ...]",
}
TABLES = {"agent": Agent, "budget": Budget, "limits": Limits}


def read(path: Path) -> TaskFile:
    """Read a TASK.toml, and the files that it names.

    Raises TaskFileError where the file, a key or a value cannot be, and UnknownName for an unknown key; each names the
    file.
    """
    return parse(_text(path, f"the file {path}"), path)


def parse(text: str, path: Path) -> TaskFile:
    """Read the text of a TASK.toml that stands at `path`; raises as `read`.

    >>> parse('task = "Raise f(x)."\\nfunk = "judge.py:f"', Path("digits.toml"))
    Traceback (most recent call last):
    ...
    llm_optimize.errors.UnknownName: unknown key in digits.toml 'funk': did you mean 'func'?
    """
    try:
        data = tomllib.loads(text)
    except (
        ValueError,
        RecursionError,
    ) as error:  # of which some come from numbers of thousands of digits
        raise TaskFileError(f"{path.name} is no TOML: {error}") from error
    values = checked(
        {key: value for key, value in data.items() if key not in TABLES},
        KEYS,
        path.name,
    )
    for key in ("task", "func"):
        if not values.get(key):
            raise TaskFileError(f"{path.name} has no {key!r}, which every task needs")
    _refuse_impossible(values, path.name)
    name = values.get("name", path.stem)
    return TaskFile(
        path=path.resolve(),
        name=name,
        title=values.get("title", name),
        task=_words(values["task"], path),
        func=tuple(_func(where, path) for where in _several(values["func"])),
        question=_words(values.get("question", QUESTION), path),
        x0=_first(values, path),
        max_steps=values.get("max_steps", MAX_STEPS),
        models=_several(values.get("model", ())),
        base_url=values.get("base_url"),
        price=values.get("price"),
        limits=_from_here(
            _record(Limits, data.get("limits", {}), "limits", path.name), path
        ),
        budget=_record(Budget, data.get("budget", {}), "budget", path.name),
        agent=_record(Agent, data.get("agent", {}), "agent", path.name),
        options={key: values[key] for key in OPTIONS if key in values},
    )


def checked(
    values: Mapping[str, Any], keys: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Return the values whose keys are known and whose kinds fit.

    Raises UnknownName for another key, with the nearest, and TaskFileError for a value of another kind.

    >>> checked({"workers": "two"}, {"workers": "int"}, "digits.toml")
    Traceback (most recent call last):
    ...
    llm_optimize.errors.TaskFileError: digits.toml: workers is 'two': give a whole number
    """
    for key, value in values.items():
        if key not in keys:
            raise UnknownName(
                f"key in {where}", key, [*keys, *(TABLES if keys is KEYS else ())]
            )
        kind = KINDS[keys[key]]
        if not kind.fits(value):
            raise TaskFileError(f"{where}: {key} is {shown(value)}: give {kind.words}")
    return dict(values)


def shown(value: Any) -> str:
    """Return a value as an error shows it: the beginning of a long one."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_SHOWN_CHARS else text[:_MAX_SHOWN_CHARS] + "..."


def kinds_of(record: Any) -> dict[str, str]:
    """Return the kind of each field of a record.

    >>> kinds_of(Budget)["usd"]
    'float'
    """
    return {
        part.name: str(part.type).removesuffix(" | None")
        for part in dataclasses.fields(record)
    }


def _record(
    record: Callable[..., Record], values: Any, table: str, file: str
) -> Record:
    """Return the record that a table of the file stands for."""
    where = f"[{table}] of {file}"
    if not isinstance(values, dict):
        raise TaskFileError(
            f"{file}: {table} is {shown(values)}: write a table, [{table}]"
        )
    given = checked(values, kinds_of(record), where)
    try:
        return record(
            **{
                key: tuple(value) if isinstance(value, list) else value
                for key, value in given.items()
            }
        )
    except UsageError as error:
        raise TaskFileError(f"{where}: {error}") from error


def _from_here(limits: Limits, path: Path) -> Limits:
    """Return limits whose paths no longer depend on the working directory; `~` is left to the sandbox."""

    def absolute(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(
            name if name.startswith("~") else str(path.parent.resolve() / name)
            for name in names
        )

    return dataclasses.replace(
        limits, readable=absolute(limits.readable), writable=absolute(limits.writable)
    )


def _refuse_impossible(values: Mapping[str, Any], file: str) -> None:
    if values.get("max_steps", 0) < 0:
        raise TaskFileError(
            f"{file}: max_steps is {values['max_steps']}: give 0 (score x0 only) or more"
        )
    if "x0" in values and "x0_file" in values:
        raise TaskFileError(f"{file} has both x0 and x0_file: keep one of them")


def _several(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _words(text: str, path: Path) -> str:
    """Return words, or the text of the file that @FILE names, as on the command line."""
    return (
        _text(path.parent / text[1:], f"{path.name}: the file {text[1:]}")
        if text.startswith("@")
        else text
    )


def _func(where: str, path: Path) -> str:
    file, _, name = where.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise TaskFileError(
            f"{path.name}: func is {where!r}: write FILE.py:NAME, the file relative to {path.name}"
        )
    found = (path.parent / file).resolve()
    if not found.is_file():
        raise TaskFileError(
            f"{path.name}: the file {file} of func does not exist beside it"
        )
    return f"{found}:{name}"


def _first(values: Mapping[str, Any], path: Path) -> tuple[X, ...]:
    if "x0_file" in values:
        files = _several(values["x0_file"])
        return tuple(
            _text(path.parent / file, f"{path.name}: the file {file} of x0_file")
            for file in files
        )
    x0 = values.get("x0", [])
    return tuple(x0) if isinstance(x0, list) else (x0,)


def _text(path: Path, named: str) -> str:
    """Return the text of a file, to the byte."""
    if path.exists() and not path.is_file():
        raise TaskFileError(
            f"{named} is no file that can be read"
        )  # a pipe would hold us up
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise TaskFileError(f"{named} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise TaskFileError(
            f"{named} is no UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    if len(data) > _MAX_BYTES:
        raise TaskFileError(f"{named} is longer than {_MAX_BYTES:,} bytes")
    return text
