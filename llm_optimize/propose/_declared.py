"""Knobs: values inside a text whose line says how they may vary. Pure functions.

lr = 0.1  # tune: 1e-4..1 log
n = 100  # tune: int 10..1000 step 10
kernel = "rbf"  # tune: "rbf", "poly"
bag = True  # tune: bool
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UnknownName, UsageError
from ..records import X
from ..space import Bool, Choice, Float, Int, Parameter
from ..text import one_line
from .language.protected import check_protected, has_protected

_LINE = re.compile(r"[^\r\n]+")
_DECLARED = re.compile(
    r"(?P<head>.*?)(?P<sign>\#+|//+|--+|%+|;+)[ \t]*tune:(?P<says>.*)"
)
_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_TEXT = r""""[^"'\\]*"|'[^"'\\]*'"""
_SET = re.compile(  # name = value, name: type = value, "name": value, at the end of what stands before the comment
    rf"""(?<![\w.-])(?P<name>[\w.-]*\w)["']?\]?\s*(?::\s*[\w.\[\], |]+?\s*)?(?::=|<-|=>|=|:)\s*
    (?P<value>{_NUMBER}|{_TEXT}|(?i:true|false))[ \t]*[,;)\]}}]*[ \t]*$""",
    re.X,
)
_RANGE = re.compile(
    rf"(?P<kind>int|float)?\s*(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})"
    rf"(?P<log>\s+log)?(?:\s+step\s+(?P<step>{_NUMBER}))?"
)
_OPTION = re.compile(rf"\s*(?P<value>{_TEXT}|{_NUMBER}|(?i:true|false))\s*(?:,|$)")
_COMMENT = re.compile(
    r"[\ufeff\s]*(?:\#|//|--|%|;|\Z)"
)  # a line of comment alone sets nothing
_MAX_CHARS = 300  # of a line that may declare a knob


@dataclass(frozen=True)
class Knob:
    """A value in a text, what it may be, and where it stands."""

    parameter: Parameter
    value: Any
    span: tuple[int, int]  # of the characters that are the value
    part: str | None = None  # in which of several named texts; None where x is one text


def find_knobs(x: X) -> dict[str, Knob]:
    """Return the knobs of x by name, in their order; a second one of a name is called NAME_2, and so on.

    What stands outside of EVOLVE-BLOCK regions must not change and holds none. Declarations that are ill-formed are
    left out: see `knob_problems`.

    >>> x = 'lr = 0.1  # tune: 1e-4..1 log'
    >>> knob = find_knobs(x)["lr"]
    >>> knob.parameter, knob.value, x[slice(*knob.span)]
    (Float(low=0.0001, high=1.0, log=True, description='', step=None, when={}, default=None), 0.1, '0.1')
    """
    found: dict[str, Knob] = {}
    for part, text in _texts(x):
        for name, knob in _read(text):
            if isinstance(knob, Knob):
                found[_free(name, found)] = replace(knob, part=part)
    return found


def knob_problems(x: X) -> list[str]:
    """Return a sentence for each declaration that is ill-formed, for a model to read.

    >>> knob_problems("lr = 0.1  # tune: 1..2")
    ['the knob of "lr = 0.1 # tune: 1..2" is left as it is: its value 0.1 is not in its range']
    """
    problems = []
    for _, text in _texts(x):
        for line, problem in _read(text):
            if isinstance(problem, str):
                problems.append(
                    f"the knob of {json.dumps(one_line(line), ensure_ascii=False)} is left as it is: {problem}"
                )
    return problems


def with_values(x: X, values: Mapping[str, Any]) -> X:
    """Return x with other values of some of its knobs; all else stays as it is, byte for byte.

    Raises UnknownName for a name that is no knob of x, UsageError for a value that the knob cannot have.

    >>> with_values("n = 100;  // tune: int 10..1000", {"n": 64})
    'n = 64;  // tune: int 10..1000'
    """
    knobs = find_knobs(x)
    texts: dict[str | None, str] = dict(_texts(x))
    for name in values:
        if name not in knobs:
            raise UnknownName("knob", name, knobs)
    for name, knob in sorted(
        knobs.items(), key=lambda pair: pair[1].span, reverse=True
    ):  # the last first
        if name in values and values[name] != knob.value:
            text, (start, end) = texts[knob.part], knob.span
            written = _written(knob.parameter.check(values[name]), text[start:end])
            texts[knob.part] = text[:start] + written + text[end:]
    return (
        texts[None]
        if isinstance(x, str)
        else {name: texts.get(name, part) for name, part in x.items()}
    )


def _texts(x: X) -> Iterator[tuple[str | None, str]]:
    if isinstance(x, str):
        yield None, x
    else:
        yield from ((name, part) for name, part in x.items() if isinstance(part, str))


def _free(name: str, taken: Mapping[str, Any]) -> str:
    count, free = 1, name
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    return free


def _read(text: str) -> Iterator[tuple[str, Knob | str]]:
    """Yield name and knob, or the line and why it holds none, for each line that declares one."""
    if "tune:" not in text:
        return
    guarded = has_protected(text)
    for line in _LINE.finditer(text):
        declared = _DECLARED.fullmatch(line[0]) if len(line[0]) <= _MAX_CHARS else None
        if declared is None or _COMMENT.match(declared["head"]):
            continue
        setting = _SET.search(declared["head"])
        if (
            setting is None
            or declared["head"].count('"') % 2
            or declared["head"].count("'") % 2
        ):
            yield (
                line[0],
                "write name = value before the comment, with a number, a quoted text or a boolean",
            )
            continue
        start = line.start() + setting.start("value")
        span = (start, start + len(setting["value"]))
        if guarded and _is_protected(text, span):
            continue
        yield _knob(line[0], setting, declared["says"].strip(), span)


def _is_protected(text: str, span: tuple[int, int]) -> bool:
    start, end = span
    return (
        check_protected(text, f"{text[:start]}{text[start:end]}0{text[end:]}")
        is not None
    )


def _knob(
    line: str, setting: re.Match[str], says: str, span: tuple[int, int]
) -> tuple[str, Knob | str]:
    """Return name and knob, or the line and why it holds none."""
    value = _literal(setting["value"])
    try:
        parameter = _parameter(says)
        legal = (
            None
            if isinstance(value, str) and not isinstance(parameter, Choice)
            else parameter.check(value)
        )
    except UsageError as error:
        return line, str(error)
    if legal != value or _kind(legal) is not _kind(value):
        return line, f"its value {setting['value']} is not in its range"
    return setting["name"].rpartition(".")[2].strip("-"), Knob(parameter, legal, span)


def _kind(value: Any) -> type:
    """Return text, truth value, or number; Python finds 1 and True equal."""
    return bool if isinstance(value, bool) else str if isinstance(value, str) else float


def _parameter(says: str) -> Parameter:
    """Return what a declaration says. Raises UsageError where it says nothing that can be read."""
    if says.lower() in ("bool", "boolean"):
        return Bool()
    match = _RANGE.fullmatch(says)
    if match is None:
        return Choice(*_options(says))
    step = None if match["step"] is None else _literal(match["step"])
    kind = Int if match["kind"] == "int" else Float
    return kind(
        _literal(match["low"]),
        _literal(match["high"]),
        match["log"] is not None,
        step=step,
    )


def _options(says: str) -> list[Any]:
    options, at = [], 0
    while at < len(says):
        match = _OPTION.match(says, at)
        if match is None:
            raise UsageError(
                f'{says!r} is no range: write LOW..HIGH, LOW..HIGH log, int LOW..HIGH, bool, or options as "a", "b"'
            )
        options.append(_literal(match["value"]))
        at = match.end()
    if len(options) < 2:
        raise UsageError(
            f"{says!r} leaves no choice: write LOW..HIGH, or two options at least"
        )
    return options


def _literal(text: str) -> Any:
    if text[0] in "\"'":
        return text[1:-1]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _written(value: Any, before: str) -> str:
    """Return a value as source text, in the manner of the one that stood there."""
    if isinstance(value, bool):
        word = str(value)
        return (
            word.lower()
            if before.islower()
            else word.upper()
            if before.isupper()
            else word
        )
    if isinstance(value, str):
        quote = before[0] if before[0] in "\"'" else '"'
        return f"{quote}{value}{quote}"
    return repr(value)
