"""A conversation: each x as the model's own answer, and what became of it; the oldest are folded into lines."""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Message, Trial, describe_failure, rank
from ...text import one_line, show_number
from .lines import tried
from .templates import EARLIER
from .trial_text import Request, edits_format, first_question, may_refer, question

_FOLDED_PART = 8  # one part in eight of a conversation is for what is folded into lines
_KEPT_PART = 4  # one part in four stays when it is folded, so that there is room to grow without another folding
_STEP_CHARS = 1_000  # in which the room for what is said last is counted, so that it seldom changes what is folded
_MAX_LESSON_CHARS = 200
_ABOVE = "(your x above)"


def conversation(request: Request, room: int) -> list[Message]:
    """Return the exchanges so far, oldest first, in so many characters; the newest ends with the question.

    When it grows too long, most of it is folded at once, so that until then each conversation begins with the one
    before. The champion at that moment stays, and comes first.
    """
    trials = [trial for trial in (*request.plan.context, request.parent) if trial]
    if not trials:
        return [Message(role="user", content=first_question(request))]
    room_folded = max(0, room // _FOLDED_PART)
    sizes = {trial.number: _size(request, trial) for trial in trials}
    last = _last(request, trials)
    left = room - 4 - -(-len(last) // _STEP_CHARS) * _STEP_CHARS
    kept = _kept(trials, sizes, left - room_folded)
    numbers = {trial.number for trial in kept}
    folded = [trial for trial in trials if trial.number not in numbers]
    room_folded = min(room_folded, left - sum(sizes[number] for number in numbers))
    return _exchanges(request, kept, _earlier(request, folded, room_folded), last)


def _size(request: Request, trial: Trial) -> int:
    """Return how many characters an exchange has, wherever it stands."""
    again = len(_ABOVE) if may_refer(request, trial) else len(_answer(request, trial))
    return len(_asked(request, trial, begins=True)) + again


def _kept(trials: Sequence[Trial], sizes: dict[int, int], room: int) -> list[Trial]:
    """Return the exchanges that stay, as if the conversation had grown from its beginning trial by trial."""
    kept: list[Trial] = []
    size = 0
    for trial in trials:
        kept.append(trial)
        size += sizes[trial.number]
        if size <= room:
            continue
        champion = max(kept, key=rank)
        while size > room // _KEPT_PART and len(kept) > 1:
            oldest = 1 if kept[0] is champion and len(kept) > 2 else 0
            if kept[oldest] is champion and size <= room:
                break
            size -= sizes[kept.pop(oldest).number]
    return kept


def _exchanges(
    request: Request, kept: Sequence[Trial], earlier: str, last: str
) -> list[Message]:
    messages: list[Message] = []
    for place, trial in enumerate(kept):
        if place:
            messages.append(Message(role="assistant", content=_answer(request, trial)))
        notes = [_asked(request, trial, begins=not place), "" if place else earlier]
        notes.append(last if trial is kept[-1] else "")
        messages.append(Message(role="user", content="\n\n".join(filter(None, notes))))
    return messages


def _answer(request: Request, trial: Trial) -> str:
    return request.shown("" if trial.x is None else trial.x)


def _asked(request: Request, trial: Trial, begins: bool) -> str:
    above = "" if begins or not may_refer(request, trial) else _ABOVE
    return question(request, trial, [trial], above=above)


def _last(request: Request, trials: Sequence[Trial]) -> str:
    """Return what is said to the newest exchange alone."""
    best, newest = max(trials, key=rank), trials[-1]
    less = (best.score or 0.0) - (newest.score or 0.0)
    if best.score is None:
        standing = ""
    elif best is newest:
        standing = "This is the best so far." if len(trials) > 1 else ""
    elif newest.score is None:
        standing = f"The best so far has the score {show_number(best.score)}."
    else:
        standing = f"The best so far has the score {show_number(best.score, [newest.score])}, {show_number(less)} more."
    return "\n\n".join(
        filter(None, [standing, edits_format(request), request.plan.hint])
    )


def _earlier(request: Request, folded: Sequence[Trial], room: int) -> str:
    lines: list[str] = []
    size = len(EARLIER)
    for trial in folded:
        lines.append(_line(request, trial))
        size += len(lines[-1]) + 1
        while (
            lines and size > room
        ):  # half of them at once, so that the others begin alike for a while
            size -= sum(len(line) + 1 for line in lines[: len(lines) // 2 + 1])
            del lines[: len(lines) // 2 + 1]
    return "\n".join([EARLIER, *lines]) if lines else ""


def _line(request: Request, trial: Trial) -> str:
    result = (
        describe_failure(trial)
        if trial.score is None
        else f"score {show_number(trial.score)}"
    )
    lesson = f" ({one_line(trial.lesson, _MAX_LESSON_CHARS)})" if trial.lesson else ""
    return f"- {tried(trial, request.known.changes)} -> {result}{lesson}"
