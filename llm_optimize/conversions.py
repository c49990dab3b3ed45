"""Conversions: what users give for an option of a run, made into exactly one type.

Pure functions, used by `settings` and by all that checks an argument before a run begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .checks import is_number, is_whole_number
from .errors import InPython, OptionName, UnknownName, UsageError
from .identity import X, key_of

__all__ = [
    "WHOLE_NUMBERS",
    "as_known",
    "as_record",
    "as_whole",
    "as_x0",
    "refuse_no_number",
    "refuse_no_text",
    "refuse_other",
]
_PAIR = "pairs of an x and its score, or triples with the feedback"
_OR_NONE = InPython(", or None", shell="")
# The least, and what to give instead of a wrong value.
WHOLE_NUMBERS: dict[str, tuple[int | None, str]] = {
    "max_steps": (0, "give 0 (score x0 only) or more"),
    "tune": (0, "give how many scorings to spend on the knobs of a champion, or 0"),
    "workers": (1, "give how many scorings may run concurrently, at least 1"),
    "model_slots": (1, "give how many candidates to write concurrently, at least 1"),
    "max_prompt_tokens": (1, "give how many tokens a prompt may have, at least 1"),
    "seed": (None, "give a whole number, or None for a new one"),
}


def as_x0(x0: Any) -> tuple[X, ...]:
    """Return the first candidates: none, one, or several. Raises UsageError for anything else.

    >>> as_x0("[5, 3]")
    ('[5, 3]',)
    >>> as_x0(["a", "b"])
    ('a', 'b')
    """
    if x0 is None:
        return ()
    candidates = tuple(x0) if isinstance(x0, list | tuple) else (x0,)
    for x in candidates:
        if not isinstance(x, str | dict):
            raise UsageError(
                OptionName("x0"),
                f" holds {x!r}, a {type(x).__name__}: "
                "x is a text or a dict; write it as text",
            )
    return candidates


def as_known(known: Any) -> tuple[tuple[X, float, str], ...]:
    """Return known scores as (x, score, feedback), from pairs and triples. Raises UsageError.

    >>> as_known([("a", 1), ["b", 2.5, "better"]])
    (('a', 1.0, ''), ('b', 2.5, 'better'))
    """
    if not isinstance(known, list | tuple):
        raise UsageError(OptionName("known"), f" is {known!r}: give a list of {_PAIR}")
    found: dict[str, tuple[X, float, str]] = {}
    for one in known:
        x, score, feedback = None, None, None
        if isinstance(one, list | tuple) and len(one) in (2, 3):
            x, score, feedback = [*one, ""][:3]
        if not isinstance(x, str | dict) or not isinstance(feedback, str):
            raise UsageError(OptionName("known"), f" holds {one!r}: give {_PAIR}")
        if not is_number(score) or not math.isfinite(score):
            raise UsageError(
                OptionName("known"),
                f" says that the score of {x!r:.60} is {score!r}: give a finite number",
            )
        if key_of(x) in found:
            raise UsageError(
                OptionName("known"),
                f" has two scores of {x!r:.60}: give one, such as their mean",
            )
        found[key_of(x)] = (x, float(score), feedback)
    return tuple(found.values())


def as_record(name: str, kind: type[Any], given: Any) -> Any:
    """Return limits or a budget, also from a dict of its fields. Raises UsageError otherwise."""
    if given is None:
        return kind()
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise UsageError(
            OptionName(name),
            f" is {given!r}: give records.{kind.__name__}(...), or a dict of its fields",
        )
    known = [one.name for one in fields(kind)]
    for word in given:
        if word not in known:
            raise UnknownName(f"field of {name}", str(word), known)
    return kind(**given)


def as_whole(name: str, value: Any, least: int | None, repair: str) -> int:
    """Return a whole number of at least so much.

    Raises UsageError for anything else, with what to give instead.

    >>> as_whole("workers", 2, 1, "give at least 1")
    2
    """
    if not is_whole_number(value) or (least is not None and value < least):
        raise UsageError(OptionName(name), f" is {value!r}: {repair}")
    return int(value)


def refuse_no_number(name: str, value: Any) -> None:
    """Raise UsageError for what is neither a number nor None; NaN is not a number."""
    if value is None:
        return
    if not is_number(value) or math.isnan(value):
        raise UsageError(OptionName(name), f" is {value!r}: give a number", _OR_NONE)


def refuse_no_text(name: str, value: Any) -> None:
    """Raise UsageError for what is neither a text nor None."""
    if not isinstance(value, str | None):
        raise UsageError(OptionName(name), f" is {value!r}: give a text", _OR_NONE)


def refuse_other(name: str, value: Any, kind: type, repair: str) -> None:
    """Raise UsageError for a value of another type, with what to give instead."""
    if not isinstance(value, kind):
        raise UsageError(OptionName(name), f" is {value!r}: give {repair}")
