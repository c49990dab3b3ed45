"""Conversation: each x as the model's own answer, with its result as the reply.

The oldest exchanges are folded into one line each. Pure functions of a `Request`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...records import Direction, Message, Trial, describe_failure
from ...text import one_line, show_number
from .lines import tried
from .templates import EARLIER
from .trial_text import Request, edits_format, first_question, may_refer, question

_FOLDED_PART = 8  # one part in eight of a conversation is for what is folded into lines
_KEPT_PART = 4  # one part in four stays when it is folded, to leave room to grow
# The room for the last message is counted in steps, so that it seldom changes what is folded.
_STEP_CHARS = 1_000
_MAX_LESSON_CHARS = 200
_ABOVE = "(your x above)"


def conversation(request: Request, room: int) -> list[Message]:
    """Return the exchanges so far, oldest first, in so many characters.

    The newest ends with the question. When the conversation grows too long, most of it is folded
    at once, so that until then each conversation begins with the one before. The champion at that
    moment stays, and comes first.
    """
    trials = [trial for trial in (*request.plan.context, request.parent) if trial]
    if not trials:
        return [Message(role="user", content=first_question(request))]
    room_folded = max(0, room // _FOLDED_PART)
    sizes = {trial.number: _size(request, trial) for trial in trials}
    last = _last(request, trials)
    steps = -(-len(last) // _STEP_CHARS)  # rounded up
    left = room - 4 - steps * _STEP_CHARS
    kept = _kept(trials, sizes, left - room_folded, request.direction)
    numbers = {trial.number for trial in kept}
    folded = [trial for trial in trials if trial.number not in numbers]
    room_folded = min(room_folded, left - sum(sizes[number] for number in numbers))
    return _exchanges(request, kept, _earlier(request, folded, room_folded), last)


def _size(request: Request, trial: Trial) -> int:
    """Return how many characters an exchange has, wherever it stands."""
    if may_refer(request, trial):
        again = len(_ABOVE)
    else:
        again = len(_answer(request, trial))
    return len(_asked(request, trial, begins=True)) + again


def _kept(
    trials: Sequence[Trial], sizes: dict[int, int], room: int, direction: Direction
) -> list[Trial]:
    """Return the exchanges that stay, as if the conversation had grown trial by trial."""
    kept: list[Trial] = []
    size = 0
    for trial in trials:
        kept.append(trial)
        size += sizes[trial.number]
        if size <= room:
            continue
        champion = max(kept, key=direction.rank)
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
        begins = place == 0
        if not begins:
            messages.append(Message(role="assistant", content=_answer(request, trial)))
        notes = [_asked(request, trial, begins=begins)]
        if begins:
            notes.append(earlier)
        if trial is kept[-1]:
            notes.append(last)
        messages.append(Message(role="user", content="\n\n".join(filter(None, notes))))
    return messages


def _answer(request: Request, trial: Trial) -> str:
    return request.shown("" if trial.x is None else trial.x)


def _asked(request: Request, trial: Trial, begins: bool) -> str:
    above = "" if begins or not may_refer(request, trial) else _ABOVE
    return question(request, trial, [trial], above=above)


def _last(request: Request, trials: Sequence[Trial]) -> str:
    """Return what is added to the newest exchange alone."""
    standing = _standing(trials, request.direction)
    texts = [standing, edits_format(request), request.plan.hint]
    return "\n\n".join(filter(None, texts))


def _standing(trials: Sequence[Trial], direction: Direction) -> str:
    """Return how the newest trial compares with the best."""
    best, newest = max(trials, key=direction.rank), trials[-1]
    if best.score is None:
        return ""
    if best is newest:
        return "This is the best so far." if len(trials) > 1 else ""
    if newest.score is None:
        return f"The best so far has the score {show_number(best.score)}."
    score = show_number(best.score, [newest.score])
    ahead = show_number(direction.gain(best.score, newest.score))
    word = "less" if direction is Direction.MINIMIZE else "more"
    return f"The best so far has the score {score}, {ahead} {word}."


def _earlier(request: Request, folded: Sequence[Trial], room: int) -> str:
    """Return the folded trials that fit, one per line.

    Half of the lines leave at once, so that the others begin alike for a while.
    """
    lines: list[str] = []
    size = len(EARLIER)
    for trial in folded:
        lines.append(_line(request, trial))
        size += len(lines[-1]) + 1
        while lines and size > room:
            leaving = len(lines) // 2 + 1
            size -= sum(len(line) + 1 for line in lines[:leaving])
            del lines[:leaving]
    return "\n".join([EARLIER, *lines]) if lines else ""


def _line(request: Request, trial: Trial) -> str:
    if trial.score is None:
        result = describe_failure(trial)
    else:
        result = f"score {show_number(trial.score)}"
    line = f"- {tried(trial, request.known.changes)} -> {result}"
    if trial.lesson:
        line += f" ({one_line(trial.lesson, _MAX_LESSON_CHARS)})"
    return line
