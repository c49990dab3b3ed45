"""The next x as a reply carries it: a text, edits of one, some of several named texts, or parameters."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..records import Reply, X
from ..space import Space
from ..text import is_parts
from .language import EDITS_ANSWER, JSON_ANSWER, PARTS_ANSWER, WHOLE_ANSWER, is_long
from .language.fences import (
    after_thinking,
    is_cut_off,
    last_json_object,
    read_x,
    why_no_answer,
)
from .language.protected import check_regions
from .language.replies import read_change, read_parts


@dataclass(frozen=True)
class Answer:
    """What a reply carries: x, with what was mended in it; or why there is none."""

    x: X | None
    problem: str = ""
    note: str = ""
    whole: bool = True  # whether the reply came to its end and was an answer at all


def read_answer(reply: Reply, parent: X | None, space: Space | None) -> Answer:
    """Read the x that a reply makes of its parent; an answer counts only if it is whole."""
    problem = reply.incomplete or why_no_answer(reply.text, reply.finish_reason)
    if problem:
        return Answer(None, problem, whole=False)
    try:
        if space is not None:
            return _parameters(reply.text, parent, space)
        return _x(reply.text, parent)
    except UsageError as error:
        return Answer(None, str(error))


def _x(text: str, parent: X | None) -> Answer:
    if isinstance(parent, dict) and not is_parts(parent):
        values = _object(text)
        return Answer(values) if values is not None else Answer(None, _NO_OBJECT)
    if isinstance(parent, dict):
        parts = read_parts(text, parent)
        return _checked(parts.x, parts.problem)
    reading = read_x(text) if parent is None else read_change(text, parent)
    return _checked(reading.x, reading.problem)


def _checked(x: X | None, problem: str) -> Answer:
    """Refuse an x whose regions could not be told apart when it becomes a parent. Raises UsageError."""
    if x is not None:
        check_regions(x)
    return Answer(x, problem)


_NO_OBJECT = "the reply holds no whole JSON object"


def _parameters(text: str, parent: X | None, space: Space) -> Answer:
    values = _object(text)
    if values is None:
        return Answer(None, _NO_OBJECT)
    inner = values.get("x")
    if (
        isinstance(inner, dict) and "x" not in space.parameters
    ):  # as the prompt lists those that were tried
        values = inner
    x, note = space.repair(values, parent if isinstance(parent, dict) else None)
    return Answer(x, note=note)


def _object(text: str) -> dict[str, object] | None:
    return None if is_cut_off(text) else last_json_object(after_thinking(text))


def is_edited(reply: Reply) -> bool:
    """Return whether a reply tries to edit."""
    return "<<<<< " in reply.text and "SEARCH" in reply.text


def how_to_answer(parent: X | None, space: Space | None, failed_edits: int) -> str:
    """Return what to ask for after a reply that cannot be used; edits that failed twice are not asked for again."""
    if space is not None or (isinstance(parent, dict) and not is_parts(parent)):
        return JSON_ANSWER
    if isinstance(parent, dict):
        return PARTS_ANSWER
    may_edit = is_long(parent) or failed_edits == 1
    return EDITS_ANSWER if may_edit and failed_edits < 2 else WHOLE_ANSWER
