"""Sections of one message: what is known first, the parent and the question last.

What stands first seldom changes, so that successive messages begin alike and providers' caches
serve them. Pure functions of a `Request`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ...records import Trial
from .lines import failures, lessons, ranking
from .templates import CONFIGURATIONS, OTHERS
from .trial_text import (
    Request,
    configuration,
    edits_format,
    first_question,
    may_refer,
    other,
    question,
)

_LINES_PART = 8  # one part in eight of the room is for failures, as much for lessons
# Lengths are rounded up to a sixteenth of the room, so that what is left for the trials stays the
# same when a text changes a little.
_STEPS = 16


def sections(request: Request, room: int) -> str:
    """Return the message, in so many characters.

    Trials that are worth knowing, failures, lessons, and the question. The question always stays;
    trials leave first, the worst before the better ones.
    """
    known = request.known
    context = [trial.number for trial in request.plan.context]
    longest = _last(request, context, may_refer_to_x=False)
    left = room - _rounded(len(longest), room)
    lines_room = min(left // 2, room // _LINES_PART)
    lines = [
        failures(_failures(request), known.changes, lines_room),
        lessons(known.lessons, lines_room),
    ]
    for text in filter(None, lines):
        left -= _rounded(len(text) + 2, room)
    title, between = OTHERS, "\n\n"
    if request.parameters:
        title, between = CONFIGURATIONS, "\n"
    texts = _texts(request)
    kept = _fitting(request, texts, left - len(title) - 2, len(between))
    others = ""
    if kept:
        others = between.join([title, *(texts[number] for number in kept)])
    return "\n\n".join(filter(None, [others, *lines, _last(request, kept)]))


def _rounded(chars: int, room: int) -> int:
    """Return a length, rounded up to the next step."""
    step = max(1, room // _STEPS)
    return -(-chars // step) * step


def _trials(request: Request) -> list[Trial]:
    """Return the trials to show, in the order of showing; none when there is only the parent."""
    tried = request.known.tried if request.parameters else ()
    trials = {trial.number: trial for trial in (*tried, *request.plan.context)}
    if request.parent is not None and set(trials) == {request.parent.number}:
        return []
    return list(trials.values())


def _failures(request: Request) -> list[Trial]:
    """Return the failures that are not among the configurations already."""
    listed: set[int] = set()
    if request.parameters:
        listed = {trial.number for trial in _trials(request)}
    return [trial for trial in request.plan.failures if trial.number not in listed]


def _texts(request: Request) -> dict[int, str]:
    """Return how each trial is shown, by its number."""
    if request.parameters:
        return {trial.number: configuration(trial) for trial in _trials(request)}
    context = request.plan.context
    shown = [trial for trial in (*context, request.parent) if trial]
    return {trial.number: other(request, trial, shown) for trial in context}


def _fitting(
    request: Request, texts: Mapping[int, str], room: int, between: int
) -> list[int]:
    """Return the numbers of the trials that fit, in their order; the best get a place first."""
    trials = _trials(request)
    kept: set[int] = set()
    for trial in sorted(trials, key=request.direction.rank, reverse=True):
        size = len(texts[trial.number]) + between
        if size <= room:
            kept.add(trial.number)
            room -= size
    return [trial.number for trial in trials if trial.number in kept]


def _last(
    request: Request, kept: Collection[int], *, may_refer_to_x: bool = True
) -> str:
    """Return what differs from message to message: the ranking, a hint, the parent, the question.

    Args:
        request: what the prompt is made of.
        kept: the trials that are shown above.
        may_refer_to_x: whether the question may name the x that is shown above instead of
            repeating it; without, the length is the largest that is possible.
    """
    plan, parent = request.plan, request.parent
    if parent is None:
        return "\n\n".join(filter(None, [plan.hint, first_question(request)]))
    shown = [trial for trial in plan.context if trial.number in kept]
    shown.append(parent)
    refers = False
    if may_refer_to_x and parent.number in kept and not request.parameters:
        refers = may_refer(request, parent)
    where = f"(trial {parent.number}, shown above)" if refers else ""
    asked = question(request, parent, shown, above=where, has_feedback_above=refers)
    ranks = ranking(shown, parent, request.direction)
    texts = [ranks, edits_format(request), plan.hint, asked]
    return "\n\n".join(filter(None, texts))
