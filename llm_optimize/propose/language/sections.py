"""One message with sections: what is known first, since it seldom changes; the parent and the question last."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ...records import Trial, rank
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
_STEPS = 16  # into which the room is divided: what is left changes seldom when a text changes a little


def sections(request: Request, room: int) -> str:
    """Return the message: trials that are worth knowing, failures, lessons, and the question, in so many characters.

    What is left out for want of room depends little on the length of what changes from message to message, so that
    successive messages begin alike.
    """
    known = request.known
    longest = _last(
        request, [trial.number for trial in request.plan.context], may_refer_to_x=False
    )
    left = room - _rounded(len(longest), room)
    lines_room = min(left // 2, room // _LINES_PART)
    lines = [
        failures(_failures(request), known.changes, lines_room),
        lessons(known.lessons, lines_room),
    ]
    left -= sum(_rounded(len(text) + 2, room) for text in lines if text)
    title, between = (CONFIGURATIONS, "\n") if request.parameters else (OTHERS, "\n\n")
    texts = _texts(request)
    kept = _fitting(_trials(request), texts, left - len(title) - 2, len(between))
    others = between.join([title, *(texts[number] for number in kept)]) if kept else ""
    return "\n\n".join(filter(None, [others, *lines, _last(request, kept)]))


def _rounded(chars: int, room: int) -> int:
    step = max(1, room // _STEPS)
    return -(-chars // step) * step


def _trials(request: Request) -> list[Trial]:
    """Return the trials to show, in the order of showing; none when there is only the parent."""
    tried = request.known.tried if request.parameters else ()
    trials = {trial.number: trial for trial in (*tried, *request.plan.context)}
    alone = request.parent is not None and set(trials) == {request.parent.number}
    return [] if alone else list(trials.values())


def _failures(request: Request) -> list[Trial]:
    """Return the failures that are not among the configurations already."""
    listed = (
        {trial.number for trial in _trials(request)} if request.parameters else set()
    )
    return [trial for trial in request.plan.failures if trial.number not in listed]


def _texts(request: Request) -> dict[int, str]:
    if request.parameters:
        return {trial.number: configuration(trial) for trial in _trials(request)}
    shown = [trial for trial in (*request.plan.context, request.parent) if trial]
    return {
        trial.number: other(request, trial, shown) for trial in request.plan.context
    }


def _fitting(
    trials: Sequence[Trial], texts: Mapping[int, str], room: int, between: int
) -> list[int]:
    """Return the numbers of those that fit, the best ones first to get a place, in the given order."""
    kept: set[int] = set()
    for trial in sorted(trials, key=rank, reverse=True):
        size = len(texts[trial.number]) + between
        if size <= room:
            kept.add(trial.number)
            room -= size
    return [trial.number for trial in trials if trial.number in kept]


def _last(
    request: Request, kept: Collection[int], *, may_refer_to_x: bool = True
) -> str:
    """Return what differs from message to message: how the shown trials rank, a hint, the parent, the question."""
    plan, parent = request.plan, request.parent
    if parent is None:
        return "\n\n".join(filter(None, [plan.hint, first_question(request)]))
    shown = [*(trial for trial in plan.context if trial.number in kept), parent]
    above = parent.number in kept and not request.parameters
    refers = above and may_refer_to_x and may_refer(request, parent)
    where = f"(trial {parent.number}, shown above)" if refers else ""
    asked = question(request, parent, shown, above=where, told=refers)
    return "\n\n".join(
        filter(None, [ranking(shown, parent), edits_format(request), plan.hint, asked])
    )
