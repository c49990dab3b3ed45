"""Knob comments: values in a text whose line declares how they may vary. Pure functions.

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

_MAX_CHARS = 300  # of a line that may declare a knob
_LINE = re.compile(r"[^\r\n]+")
# Such a line sets nothing.
_COMMENT_ONLY = re.compile(r"[\ufeff\s]*(?:\#|//|--|%|;|\Z)")
_DECLARED = re.compile(
    r"(?P<code>.*?)(?P<sign>\#+|//+|--+|%+|;+)[ \t]*tune:(?P<declaration>.*)"
)
_NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_STRING = r""""[^"'\\]*"|'[^"'\\]*'"""
_ASSIGNMENT = re.compile(  # name = value, name: type = value, "name": value, at the end of the code
    rf"""(?<![\w.-])(?P<name>[\w.-]*\w)["']?\]?\s*(?::\s*[\w.\[\], |]+?\s*)?(?::=|<-|=>|=|:)\s*
    (?P<value>{_NUMBER}|{_STRING}|(?i:true|false))[ \t]*[,;)\]}}]*[ \t]*$""",
    re.X,
)
_RANGE = re.compile(
    rf"(?P<kind>int|float)?\s*(?P<low>{_NUMBER})\s*\.\.\s*(?P<high>{_NUMBER})"
    rf"(?P<log>\s+log)?(?:\s+step\s+(?P<step>{_NUMBER}))?"
)
_OPTION = re.compile(rf"\s*(?P<value>{_STRING}|{_NUMBER}|(?i:true|false))\s*(?:,|$)")


@dataclass(frozen=True)
class Knob:
    """A value in a text, its legal values, and where it stands."""

    parameter: Parameter
    value: Any
    span: tuple[int, int]  # of the characters that are the value
    # The name of one of several texts; None where x is one text.
    part: str | None = None


@dataclass(frozen=True)
class _Problem:
    """A line whose declaration is ill-formed, and why."""

    line: str
    reason: str


def find_knobs(x: X) -> dict[str, Knob]:
    """Return the knobs of x by name; the second one of a name is called NAME_2, and so on.

    Text outside of EVOLVE-BLOCK regions must not change and has no knobs. Ill-formed
    declarations are left out: see `knob_problems`.

    >>> x = 'lr = 0.1  # tune: 1e-4..1 log'
    >>> knob = find_knobs(x)["lr"]
    >>> (knob.parameter.low, knob.parameter.high), knob.value, x[slice(*knob.span)]
    ((0.0001, 1.0), 0.1, '0.1')
    """
    knobs: dict[str, Knob] = {}
    for part, text in _texts(x):
        for found in _read(text):
            if not isinstance(found, _Problem):
                name, knob = found
                free = _free_name(name, knobs)
                knobs[free] = replace(knob, part=part)
    return knobs


def knob_problems(x: X) -> list[str]:
    """Return a sentence for each ill-formed declaration, for a model to read.

    >>> knob_problems("lr = 0.1  # tune: 1..2")
    ['the knob of "lr = 0.1 # tune: 1..2" is not tuned: its value 0.1 is not in its range']
    """
    problems = []
    for _, text in _texts(x):
        for found in _read(text):
            if isinstance(found, _Problem):
                line = one_line(found.line)
                quoted = json.dumps(line, ensure_ascii=False)
                problems.append(f"the knob of {quoted} is not tuned: {found.reason}")
    return problems


def with_values(
    x: X,
    values: Mapping[str, Any],
) -> X:
    """Return x with other values of some of its knobs; all other text is unchanged.

    Raises UnknownName for a name that is not a knob of x, UsageError for a value that is not legal.

    >>> with_values("n = 100;  // tune: int 10..1000", {"n": 64})
    'n = 64;  // tune: int 10..1000'
    """
    knobs = find_knobs(x)
    for name in values:
        if name not in knobs:
            raise UnknownName("knob", name, knobs)
    texts = dict(_texts(x))
    # The last one first, so that the spans of those before it stay right.
    names = sorted(values, key=lambda name: knobs[name].span, reverse=True)
    for name in names:
        knob = knobs[name]
        if values[name] == knob.value:
            continue
        value = knob.parameter.check(values[name])
        text = texts[knob.part]
        begin, end = knob.span
        literal = _literal(value, text[begin:end])
        texts[knob.part] = text[:begin] + literal + text[end:]
    if isinstance(x, str):
        return texts[None]
    changed = dict(x)
    for part, text in texts.items():
        changed[str(part)] = text
    return changed


def _texts(x: X) -> Iterator[tuple[str | None, str]]:
    """Yield the name and the text of each part of x that is a text."""
    if isinstance(x, str):
        yield None, x
        return
    for name, part in x.items():
        if isinstance(part, str):
            yield name, part


def _free_name(
    name: str,
    taken: Mapping[str, Any],
) -> str:
    if name not in taken:
        return name
    count = 2
    while f"{name}_{count}" in taken:
        count += 1
    return f"{name}_{count}"


def _read(text: str) -> Iterator[tuple[str, Knob] | _Problem]:
    """Yield what each line that declares a knob holds: its name and the knob, or a problem."""
    if "tune:" not in text:
        return
    guarded = has_protected(text)
    for line in _LINE.finditer(text):
        if len(line[0]) > _MAX_CHARS:
            continue
        declared = _DECLARED.fullmatch(line[0])
        if declared is None or _COMMENT_ONLY.match(declared["code"]):
            continue
        code = declared["code"]
        assignment = _ASSIGNMENT.search(code)
        in_string = any(code.count(quote) % 2 for quote in "\"'")
        if assignment is None or in_string:
            yield _Problem(
                line[0],
                "write name = value before the comment, with a number, a quoted text or a boolean",
            )
            continue
        begin = line.start() + assignment.start("value")
        end = begin + len(assignment["value"])
        changed = text[:end] + "0" + text[end:]
        if guarded and check_protected(text, changed) is not None:
            continue
        try:
            declaration = declared["declaration"].strip()
            knob = _knob(assignment["value"], declaration, (begin, end))
        except UsageError as error:
            yield _Problem(line[0], str(error))
        else:
            _, _, name = assignment["name"].rpartition(".")
            yield name.strip("-"), knob


def _knob(
    literal: str,
    declaration: str,
    span: tuple[int, int],
) -> Knob:
    """Return the knob of a literal. Raises UsageError for a declaration that it does not fit."""
    value = _value(literal)
    parameter = _parameter(declaration)
    if isinstance(value, str) and not isinstance(parameter, Choice):
        raise UsageError(f"its value {literal} is not in its range")
    legal = parameter.check(value)
    if legal != value or _type(legal) is not _type(value):
        raise UsageError(f"its value {literal} is not in its range")
    return Knob(parameter, legal, span)


def _type(value: Any) -> type:
    """Return text, boolean, or number; to Python, 1 and True are equal."""
    if isinstance(value, bool | str):
        return type(value)
    return float


def _parameter(declaration: str) -> Parameter:
    """Return the parameter of a declaration. Raises UsageError for one that cannot be read."""
    if declaration.lower() in ("bool", "boolean"):
        return Bool()
    match = _RANGE.fullmatch(declaration)
    if match is None:
        return Choice(*_options(declaration))
    low = _value(match["low"])
    high = _value(match["high"])
    log = match["log"] is not None
    step = None
    if match["step"] is not None:
        step = _value(match["step"])
    kind = Int if match["kind"] == "int" else Float
    return kind(low, high, log, step=step)


def _options(declaration: str) -> list[Any]:
    """Return the values of a list of at least two options. Raises UsageError."""
    options = []
    position = 0
    while position < len(declaration):
        match = _OPTION.match(declaration, position)
        if match is None:
            raise UsageError(
                f"{declaration!r} is not a range: write LOW..HIGH, LOW..HIGH log, int LOW..HIGH, "
                'bool, or options as "a", "b"'
            )
        options.append(_value(match["value"]))
        position = match.end()
    if len(options) < 2:
        raise UsageError(
            f"{declaration!r} leaves no choice: write LOW..HIGH, or at least two options"
        )
    return options


def _value(literal: str) -> Any:
    """Return the value of a string, a boolean or a number in the text."""
    if literal[0] in "\"'":
        return literal[1:-1]
    if literal.lower() in ("true", "false"):
        return literal.lower() == "true"
    try:
        return int(literal)
    except ValueError:
        return float(literal)


def _literal(value: Any, before: str) -> str:
    """Return a value as source text, in the style of the literal that it replaces."""
    if isinstance(value, bool):
        word = str(value)
        if before.islower():
            return word.lower()
        return word.upper() if before.isupper() else word
    if isinstance(value, str):
        quote = before[0] if before[0] in "\"'" else '"'
        return f"{quote}{value}{quote}"
    return repr(value)
