"""Answers: the next x as a reply carries it.

The one place in which a reply is read and judged, in this order: is it whole, where does its
thinking end, which blocks does it hold, which x do they make of the parent, and may that x be? A
pure function of the reply and of what x is: no model, no store. What cannot be read becomes a
sentence for the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import EditFailed, UsageError
from ...records import Reply, X
from ...space import Space
from ...text import is_parts
from .blocks import Block, Edit, find_blocks
from .edits import apply_edits
from .fences import holds_fence
from .json_object import last_json_object
from .parts import read_parts
from .protected import check_change, check_regions, in_only_region
from .templates import EDITS_ANSWER, JSON_ANSWER, PARTS_ANSWER, WHOLE_ANSWER
from .thinking import after_thinking, behind_last_thought, why_no_answer
from .trial_text import is_long
from .whole import as_written, is_whole_python, read_whole


@dataclass(frozen=True)
class Answer:
    """What a reply carries: x, with a note on what was mended in it; or why there is none."""

    x: X | None
    problem: str = ""
    note: str = ""
    whole: bool = True  # whether the reply came to its end and was an answer at all


def read(reply: Reply, parent: X | None, space: Space | None = None) -> Answer:
    """Return the x that a reply makes of its parent.

    Args:
        reply: of the model, with why it ended.
        parent: what x is built on: a text, named texts, or parameters; None for the first x.
        space: the parameters, when x is a set of these.
    """
    problem = reply.incomplete or why_no_answer(reply.text, reply.finish_reason)
    if problem:
        return Answer(None, problem, whole=False)
    try:
        if space is not None:
            return _parameters(reply.text, parent, space)
        x = _x(reply.text, parent)
        if parent is not None:
            problem = check_change(parent, x) or ""
        if problem:
            return Answer(None, problem)
        # So that the regions of x can be distinguished when it is a parent itself.
        check_regions(x)
        return Answer(x)
    except (EditFailed, UsageError) as error:
        return Answer(None, str(error))


def _x(text: str, parent: X | None) -> X:
    """Return x. Raises EditFailed where the reply holds none."""
    if isinstance(parent, dict) and not is_parts(parent):
        return _object(text)
    if isinstance(parent, dict):
        blocks = _blocks(text, "\n".join(parent.values()))
        if len(parent) == 1:
            return _only_part(blocks, parent)
        return read_parts(blocks, parent)
    if parent is None:
        return read_whole(_blocks(text, ""), None)
    return _text(text, _blocks(text, parent), parent)


def _only_part(blocks: list[Block], parent: Mapping[str, str]) -> dict[str, str]:
    """Return the only part of x, whose name may be missing."""
    try:
        return read_parts(blocks, parent)
    except EditFailed:
        [(name, text)] = parent.items()
        return {name: _text("", blocks, text)}


def _text(reply: str, blocks: list[Block], parent: str) -> str:
    """Return a text as the reply edits it, or writes it anew."""
    edits: list[Edit] = []
    for block in blocks:
        edits += block.edits
    if edits:
        return apply_edits(parent, edits)
    if not blocks and is_whole_python(reply, parent):
        return as_written(after_thinking(reply), parent)
    x = read_whole(blocks, parent)
    return as_written(in_only_region(x, parent) or x, parent)


def _blocks(text: str, parent: str) -> list[Block]:
    """Return the blocks of a reply behind its thinking.

    The last mark that ends some model's thinking counts only where blocks follow: it may also
    stand in x, or be mentioned behind it.
    """
    nested = holds_fence(parent)
    answer = behind_last_thought(text)
    has_mark = answer != text and behind_last_thought(parent) == parent
    if has_mark and answer.strip():
        try:
            blocks = find_blocks(answer, nested=nested)
        except EditFailed:
            blocks = []
        if blocks:
            return blocks
    return find_blocks(after_thinking(text), nested=nested)


def _object(text: str) -> dict[str, Any]:
    """Return the last object behind the thinking. Raises EditFailed where there is none."""
    answer, whole = behind_last_thought(text), after_thinking(text)
    values = last_json_object(answer)
    if values is None and answer != whole:
        values = last_json_object(whole)
    if values is None:
        raise EditFailed("the reply holds no whole JSON object")
    return values


# Parameters.


def _parameters(text: str, parent: X | None, space: Space) -> Answer:
    """Return parameters, with what was mended. Raises UsageError for what cannot be."""
    values = _unwrapped(_object(text), space)
    x, note = space.repair(values, parent if isinstance(parent, dict) else None)
    return Answer(x, note=note)


def _unwrapped(values: Mapping[str, Any], space: Space) -> Mapping[str, Any]:
    """Return the parameters within an object, such as a call of a tool, that has none itself."""
    if not values.keys().isdisjoint(space.parameters):
        return values
    for inner in values.values():
        if isinstance(inner, dict) and not inner.keys().isdisjoint(space.parameters):
            return inner
    return values


# What to say after a reply that cannot be used.


def is_edited(reply: Reply) -> bool:
    """Return whether a reply tries to edit."""
    return "<<<<< " in reply.text and "SEARCH" in reply.text


def how_to_answer(parent: X | None, space: Space | None, failed_edits: int) -> str:
    """Return what to ask for; edits that failed twice are not asked for again."""
    if space is not None or (isinstance(parent, dict) and not is_parts(parent)):
        return JSON_ANSWER
    if isinstance(parent, dict):
        return PARTS_ANSWER
    may_edit = is_long(parent) or failed_edits == 1
    return EDITS_ANSWER if may_edit and failed_edits < 2 else WHOLE_ANSWER
