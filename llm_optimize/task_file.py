"""TASK.toml: a file in which a human decides all options of a run, and what an agent may change.

    task = "Decrease the value of f(x). x is two numbers in [-10, 10]."
    func = "judge.py:f"
    x0 = "[5, 3]"

Its keys are the arguments of `optimize.run`, its tables the fields of the records `Limits`,
`Budget` and `Agent`; an unknown key raises, with the nearest known one. Paths are relative to the
file. Reading a task file runs nothing of it: f is imported where a run starts.
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
from .checks import is_number, is_whole_number
from .errors import TaskFileError, UnknownName, UsageError
from .records import Budget, Limits, X

_MAX_BYTES = 1_000_000  # of a TASK.toml, and of each file that it names
_MAX_SHOWN_CHARS = 100  # of a wrong value in an error
QUESTION = "What is a better x?"  # of a file without one
MAX_STEPS: int = settings.default_of("max_steps")  # of a file without one

# Arguments of `start_run` that a task may leave to an agent.
MAY_SET = ("budget", "hint", "max_steps", "model", "search", "seed", "x0")
Record = TypeVar("Record")


@dataclass(frozen=True)
class Agent:
    """The table [agent]: what an agent may decide about the runs of a task.

    Args:
        may_set: the arguments that it may give, of `MAY_SET`. A budget it can only lower.
        max_steps: the most steps of a run that it may ask for; None is the task's own max_steps.
        max_runs: how many runs of this task the store may hold.
        models: the models that it may choose from, where `may_set` holds "model".

    Raises UnknownName and UsageError for words and numbers that cannot be.
    """

    may_set: tuple[str, ...] = ("budget", "max_steps")
    max_steps: int | None = None
    max_runs: int = 20
    models: tuple[str, ...] = ()

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
                'may_set holds "model" but no model is named: '
                'add models = ["..."] to choose from'
            )


@dataclass(frozen=True)
class TaskFile:
    """A task file that was read and checked.

    Args:
        path: of the file, absolute.
        name: of the task; the name of the file where it gives none.
        title: one line for people.
        task: what is wanted, in words.
        func: FILE.py:NAME with absolute paths; several are stages.
        question: what is asked of the model at each step.
        x0: the first candidates.
        max_steps: candidates beyond x0.
        models: names; several are an ensemble, none is the usual model.
        base_url: the address of an OpenAI-compatible endpoint.
        price: dollars per million tokens of prompt and of reply, as 0.25/2.
        limits: what one scoring may use; its paths are absolute.
        budget: when a run ends besides max_steps.
        agent: what an agent may decide.
        options: further arguments of `optimize.run` by name, as the file has them.
    """

    path: Path
    name: str
    title: str
    task: str
    func: tuple[str, ...]
    question: str = QUESTION
    x0: tuple[X, ...] = ()
    max_steps: int = MAX_STEPS
    models: tuple[str, ...] = ()
    base_url: str | None = None
    price: str | None = None
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    agent: Agent = field(default_factory=Agent)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most_steps(self) -> int:
        """The most steps of a run that an agent may ask for."""
        if self.agent.max_steps is None:
            return self.max_steps
        return self.agent.max_steps


# The kinds of values that a key may have.


@dataclass(frozen=True)
class Kind:
    """What a value must be: in words for the error, and as a test."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    if not is_number(value):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def _is_whole(value: Any) -> bool:
    if not is_whole_number(value):
        return False
    return abs(value) < 2**63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_x(value: Any) -> bool:
    return isinstance(value, str | dict)


def _is_x_or_several(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_x, value))
    return _is_x(value)


KINDS = {  # by the annotation of a field, without "| None"
    "bool": Kind("true or false", lambda value: isinstance(value, bool)),
    "float": Kind("a number", _is_number),
    "int": Kind("a whole number", _is_whole),
    "str": Kind("a text", _is_text),
    "tuple[str, ...]": Kind("a list of texts", _are_texts),
    "str | tuple[str, ...]": Kind(
        "a text or a list of texts",
        lambda value: _is_text(value) or _are_texts(value),
    ),
    "rows": Kind("a list of lists", lambda value: isinstance(value, list)),
    "table": Kind("a table", lambda value: isinstance(value, dict)),
    "x": Kind("a text, a table, or a list of these", _is_x_or_several),
}


def kinds_of(record: Any) -> dict[str, str]:
    """Return the kind of each field of a record.

    >>> kinds_of(Budget)["usd"]
    'float'
    """
    kinds = {}
    for part in dataclasses.fields(record):
        kinds[part.name] = str(part.type).removesuffix(" | None")
    return kinds


# The keys of a file, and the kind of each.

_IN_OTHER_FIELDS = {  # options of a run that have a field of their own in a `TaskFile`
    *("task_description", "task_question", "base_url", "max_steps"),
    *("model", "x0", "budget", "limits"),
}


def _options() -> dict[str, str]:
    """Return the kinds of the options that go to `optimize.run` unchanged."""
    kinds = {}
    for name, option in settings.options().items():
        if not option.no_flag and name not in _IN_OTHER_FIELDS:
            kinds[name] = settings.kind_of(name)
    return kinds


def _defaults() -> dict[str, Any]:
    defaults = {}
    for name in OPTIONS:
        if settings.option_of(name).of_func:
            defaults[name] = settings.default_of(name)
    return defaults


OPTIONS = _options()
# How f is called holds also when a run is resumed: a human decides it, and the store is not asked.
DEFAULTS = _defaults()
KEYS = {
    **OPTIONS,
    "base_url": settings.kind_of("base_url"),
    "max_steps": settings.kind_of("max_steps"),
    "model": settings.kind_of("model"),
    "x0": settings.kind_of("x0"),
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

    Raises UnknownName for an unknown key, and TaskFileError where a file, a key or a value cannot
    be; each names the file.
    """
    return parse(_text(path, f"the file {path}"), path)


def parse(text: str, path: Path) -> TaskFile:
    """Read the text of a TASK.toml that stands at `path`; raises as `read`.

    >>> parse('task = "Raise f(x)."\\nfunk = "judge.py:f"', Path("digits.toml"))
    Traceback (most recent call last):
    ...
    llm_optimize.errors.UnknownName: unknown key in digits.toml 'funk': did you mean 'func'?
    """
    file = path.name
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Besides TOMLDecodeError: a number of thousands of digits, and brackets nested as deep.
        raise TaskFileError(f"{file} is not TOML: {error}") from error
    values = {key: value for key, value in data.items() if key not in TABLES}
    values = checked(values, KEYS, file)
    _refuse_impossible(values, file)
    limits = _record(Limits, data, "limits", file)
    name = values.get("name", path.stem)
    return TaskFile(
        path=path.resolve(),
        name=name,
        title=values.get("title", name),
        task=_words(values["task"], path),
        func=_functions(values["func"], path),
        question=_words(values.get("question", QUESTION), path),
        x0=_first(values, path),
        max_steps=values.get("max_steps", MAX_STEPS),
        models=_several(values.get("model", ())),
        base_url=values.get("base_url"),
        price=values.get("price"),
        limits=_with_absolute_paths(limits, path.parent.resolve()),
        budget=_record(Budget, data, "budget", file),
        agent=_record(Agent, data, "agent", file),
        options={key: values[key] for key in OPTIONS if key in values},
    )


def keywords(task: TaskFile) -> dict[str, Any]:
    """Return the keywords of `optimize.run` for a task, besides func, model, limits and budget.

    Of these text is not enough: f is imported, and a model may need a price.
    """
    found: dict[str, Any] = {
        **task.options,
        "task_description": task.task,
        "task_question": task.question,
        "max_steps": task.max_steps,
        "base_url": task.base_url,
    }
    if task.x0:
        found["x0"] = list(task.x0)
    return found


def checked(
    values: Mapping[str, Any], keys: Mapping[str, str], where: str
) -> dict[str, Any]:
    """Return the values, all of whose keys are known and whose kinds fit.

    Raises UnknownName for another key, with the nearest, and TaskFileError for a value of another
    kind.

    >>> checked({"workers": "two"}, {"workers": "int"}, "digits.toml")
    Traceback (most recent call last):
    ...
    llm_optimize.errors.TaskFileError: digits.toml: workers is 'two': give a whole number
    """
    for key, value in values.items():
        if key not in keys:
            known = [*keys]
            if keys is KEYS:
                known += TABLES
            raise UnknownName(f"key in {where}", key, known)
        kind = KINDS[keys[key]]
        if not kind.fits(value):
            raise TaskFileError(f"{where}: {key} is {shown(value)}: give {kind.words}")
    return dict(values)


def shown(value: Any) -> str:
    """Return a value for an error: the beginning of a long one."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    if len(text) > _MAX_SHOWN_CHARS:
        return text[:_MAX_SHOWN_CHARS] + "..."
    return text


def _refuse_impossible(values: Mapping[str, Any], file: str) -> None:
    for key in ("task", "func"):
        if not values.get(key):
            raise TaskFileError(f"{file} has no {key!r}, which every task needs")
    steps = values.get("max_steps", 0)
    if steps < 0:
        raise TaskFileError(
            f"{file}: max_steps is {steps}: give 0 (score x0 only) or more"
        )
    if "x0" in values and "x0_file" in values:
        raise TaskFileError(f"{file} has both x0 and x0_file: keep one of them")


def _record(
    record: Callable[..., Record], data: Mapping[str, Any], table: str, file: str
) -> Record:
    """Return the record for a table of the file; a table that is not there is empty."""
    where = f"[{table}] of {file}"
    values = data.get(table, {})
    if not isinstance(values, dict):
        raise TaskFileError(
            f"{file}: {table} is {shown(values)}: write a table, [{table}]"
        )
    fields = {}
    for key, value in checked(values, kinds_of(record), where).items():
        fields[key] = tuple(value) if isinstance(value, list) else value
    try:
        return record(**fields)
    except UsageError as error:
        raise TaskFileError(f"{where}: {error}") from error


def _with_absolute_paths(limits: Limits, folder: Path) -> Limits:
    """Return the limits with paths that do not depend on the working directory."""

    def absolute(name: str) -> str:
        if name.startswith("~"):  # the sandbox knows whose home it is
            return name
        return str(folder / name)

    return dataclasses.replace(
        limits,
        readable=tuple(map(absolute, limits.readable)),
        writable=tuple(map(absolute, limits.writable)),
    )


def _several(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _words(text: str, path: Path) -> str:
    """Return words, or the text of the file that @FILE names, as on the command line."""
    if not text.startswith("@"):
        return text
    name = text[1:]
    return _text(path.parent / name, f"{path.name}: the file {name}")


def _functions(where: str | list[str], path: Path) -> tuple[str, ...]:
    """Return f, or its stages, as FILE.py:NAME with absolute paths."""
    found = []
    for one in _several(where):
        file, _, name = one.rpartition(":")
        if not file.endswith(".py") or not name.isidentifier():
            raise TaskFileError(
                f"{path.name}: func is {one!r}: write FILE.py:NAME, "
                f"the file relative to {path.name}"
            )
        source = (path.parent / file).resolve()
        if not source.is_file():
            raise TaskFileError(
                f"{path.name}: the file {file} of func does not exist beside it"
            )
        found.append(f"{source}:{name}")
    return tuple(found)


def _first(values: Mapping[str, Any], path: Path) -> tuple[X, ...]:
    """Return the first candidates."""
    if "x0_file" in values:
        texts = []
        for file in _several(values["x0_file"]):
            named = f"{path.name}: the file {file} of x0_file"
            texts.append(_text(path.parent / file, named))
        return tuple(texts)
    x0 = values.get("x0", [])
    return tuple(x0) if isinstance(x0, list) else (x0,)


def _text(path: Path, named: str) -> str:
    """Return the text of a file, unchanged; `named` is the subject of the error."""
    if path.exists() and not path.is_file():
        # A pipe, for one, would never end.
        raise TaskFileError(f"{named} is not a regular file")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise TaskFileError(f"{named} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        place = f"{error.reason} at byte {error.start}"
        raise TaskFileError(f"{named} is not UTF-8 text ({place})") from error
    if len(data) > _MAX_BYTES:
        raise TaskFileError(f"{named} is longer than {_MAX_BYTES:,} bytes")
    return text
