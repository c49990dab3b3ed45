"""Values of the options: what the flags of a command stand for in Python."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .. import settings
from ..conversions import refuse_no_number
from ..errors import UnknownName, UsageError
from ..loading import functions_of, model_of
from ..records import Budget, Limits
from ..task_file import KINDS, QUESTION, TaskFile, keywords, kinds_of
from .files import file_text, first_x, parameters_of, text_of
from .options import CAPS, LIMITS, TYPES


def arguments(given: Mapping[str, Any], file: TaskFile | None = None) -> dict[str, Any]:
    """Return the keywords of `optimize.run` for the flags of `run`, or those for `compare`.

    Args:
        given: the values of the flags; None where one is not given.
        file: a task file, whose values hold where no flag is given.

    Raises UsageError for what cannot be read, and where there is no task or no f.
    """
    found: dict[str, Any] = {"task_question": QUESTION}
    func: Sequence[str] = ()
    price, names, limits, caps = None, None, {}, {}
    if file is not None:
        found = keywords(file)
        price, names, func = file.price, file.models, file.func
        limits, caps = asdict(file.limits), asdict(file.budget)
    found.update(_plain(given))
    func = given["func"] or func
    for word, value in (("--task", found.get("task_description")), ("--func", func)):
        if not value:
            raise UsageError(
                f"{word} is missing: add it, or name a TASK.toml that has it; "
                "llm-optimize init writes one to start from"
            )
    first = _first_candidates(given, has_space=found.get("space") is not None)
    if first:
        found["x0"] = first
    found["func"] = functions_of(func)
    refuse_no_number("temperature", given["temperature"])
    if given["model"] == ["mutation"]:  # a task file may have what its own model needs
        for name in (*settings.OF_CHAT, "price"):
            if given[name] is not None:
                flag = name.replace("_", "-")
                raise UsageError(
                    f"--{flag} is {given[name]!r}, and mutation asks no model: remove it"
                )
    of_chat = {name: found.pop(name, None) for name in settings.OF_CHAT}
    refuse_no_number("temperature", of_chat["temperature"])
    model = model_of(given["model"] or names, given["price"] or price, of_chat)
    found["model"] = model
    found["limits"] = Limits(**{**limits, **_limits(given)})
    if "usd" in given:  # `compare` has a budget of its own
        found["budget"] = Budget(**{**caps, **_caps(given)})
    return found


def _first_candidates(given: Mapping[str, Any], *, has_space: bool) -> list[Any]:
    found = [first_x(one, has_space=has_space) for one in given["x0"] or []]
    for path in given["x0_file"] or []:
        text = file_text(path)
        if has_space:
            found.append(parameters_of(text, f"the file {path} of --x0-file"))
        else:
            found.append(text)
    return found


def changes(given: Mapping[str, Any], stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `optimize.resume` and `replay`: what the flags change, and f.

    Args:
        given: the values of the flags; None where one is not given.
        stored: the settings of the run.

    Raises UsageError for what cannot be read, and where the run does not say where its f is.
    """
    found = _plain(given)
    func = given["func"]
    if not func and stored["func"]:
        func = [stored["func"]]
    if not func:
        raise UsageError(
            "this run does not know where its f is: add --func FILE.py:NAME"
        )
    found["func"] = functions_of(func)
    names, price = given.get("model"), given.get("price")
    if names or price is not None:
        of_chat: dict[str, Any] = dict.fromkeys(settings.OF_CHAT)
        for name in of_chat:
            if not names:
                of_chat[name] = stored.get(name)
            if name in found:
                of_chat[name] = found.pop(name)
        found["model"] = model_of(names or [stored["model"]], price, of_chat)
    caps, limits = _caps(given), _limits(given)
    if caps:
        found["budget"] = {**stored["budget"], **caps}
    if limits:
        found["limits"] = {**stored["limits"], **limits}
    return found


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options whose value is that of their only flag; tables are read from files."""
    known = settings.options()
    found = {}
    for name, value in given.items():
        if name not in known or name in ("x0", "model") or value is None:
            continue
        if settings.kind_of(name) == "table":
            value = _table(name, value)
        elif settings.kind_of(name) == "rows":
            value = _rows(name, value)
        elif known[name].in_task:
            value = text_of(value)
        found[name] = value
    return found


def _table(name: str, path: Path) -> Any:
    text = file_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        flag = settings.option_of(name).flag
        message = f"the file {path} of {flag} is not JSON: {error}"
        raise UsageError(message) from error


def _rows(name: str, path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(file_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            flag = settings.option_of(name).flag
            raise UsageError(
                f"line {number} of the file {path} of {flag} is not JSON: {error}"
            ) from error
    return rows


def _caps(given: Mapping[str, Any]) -> dict[str, Any]:
    return {cap: given[cap] for cap in CAPS if given.get(cap) is not None}


def _limits(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the limits that are given.

    Raises UnknownName for an unknown one, and UsageError for a value that is not a number.
    """
    found: dict[str, Any] = {}
    for flag in LIMITS:
        value = given.get(flag.name)
        if flag.name != "limit" and value is not None:
            found[flag.name] = tuple(value) if isinstance(value, list) else value
    numbers = {}
    for name, kind in kinds_of(Limits).items():
        if kind in ("int", "float"):
            numbers[name] = kind
    for word in given.get("limit") or ():
        name, _, text = word.partition("=")
        if name not in numbers:
            raise UnknownName("limit", name, numbers)
        kind = numbers[name]
        try:
            found[name] = TYPES[kind](text)
        except ValueError:
            message = f"--limit is {word!r}: {name} takes {KINDS[kind].words}"
            raise UsageError(message) from None
    return found
