"""Lines about trials: what one changed, why it failed, what it taught, how it ranks.

Pure functions of trials.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...records import Direction, Trial, X, describe_failure
from ...text import lines_of, one_line, show_number
from .templates import FAILURES, LESSONS

_MAX_TRIED_CHARS = 100
_MAX_LESSON_CHARS = 400
_MAX_TRIED = 3  # of failures that are alike
_NUMBER = re.compile(  # also addresses and line numbers
    r"0x[0-9a-f]+|\d+(?:[.,_]\d+)*(?:e[+-]?\d+)?", re.I
)


def what_changed(x: X, before: X | None) -> str:
    """Return in one line what x has and the x that it was built on has not.

    >>> what_changed("a = 1\\nb = 2\\n", "a = 1\\n")
    'b = 2'
    >>> what_changed({"lr": 0.1, "layers": 2}, {"lr": 0.1, "layers": 3})
    '{"layers": 2}'
    """
    if isinstance(x, str) and isinstance(before, str):
        return _new_lines(x, before)
    if isinstance(x, dict) and isinstance(before, dict):
        return _new_values(x, before)
    text = x if isinstance(x, str) else json.dumps(x, default=repr)
    return one_line(text, _MAX_TRIED_CHARS)


def _new_values(x: Mapping[str, object], before: Mapping[str, object]) -> str:
    """Return the values that changed, or the new lines of the first long text that did."""
    changed: dict[str, object] = {}
    for name, value in x.items():
        if name not in before or before[name] != value:
            changed[name] = value
    for name, value in changed.items():
        if isinstance(value, str) and "\n" in value:
            new = _new_lines(value, str(before.get(name)))
            return one_line(f"{name}: {new}", _MAX_TRIED_CHARS)
    return one_line(json.dumps(changed, default=repr), _MAX_TRIED_CHARS)


def _new_lines(x: str, before: str) -> str:
    new = [line.strip() for line in lines_of(x)]
    old = Counter(line.strip() for line in lines_of(before))
    old.subtract(new)
    distinct = filter(None, dict.fromkeys(new))
    added = [line for line in distinct if old[line] < 0]
    if added:
        more = ""
        if len(added) > 1:
            more = f" (and {len(added) - 1} more)"
        max_chars = _MAX_TRIED_CHARS - len(more)
        return one_line(added[0], max_chars) + more
    for line, count in old.items():
        if line and count > 0:
            return one_line(f"without {line}", _MAX_TRIED_CHARS)
    return "other white space or order"


def tried(trial: Trial, changes: Mapping[int, str]) -> str:
    """Return in one line what was tried: the change where it is known, else how x begins."""
    known = changes.get(trial.number)
    if known:
        return known
    return what_changed("" if trial.x is None else trial.x, None)


def failure_lines(trials: Iterable[Trial], changes: Mapping[int, str]) -> list[str]:
    """Return why trials failed and what was tried, in a line for each kind of failure.

    Failures are alike when their reasons differ in nothing but numbers and addresses. A kind stays
    in the place of its first failure, so that a list which grows keeps its beginning.
    """
    kinds: dict[str, list[Trial]] = {}
    for trial in trials:
        kind = _NUMBER.sub("#", describe_failure(trial))
        kinds.setdefault(kind, []).append(trial)
    return [_kind_line(alike, changes) for alike in kinds.values()]


def _kind_line(alike: Sequence[Trial], changes: Mapping[int, str]) -> str:
    line = f"- {describe_failure(alike[0])}"
    if len(alike) > 1:
        line += f" ({len(alike)} times)"
    attempts: list[str] = []
    for trial in alike:
        attempt = tried(trial, changes)
        if attempt and attempt not in attempts:
            attempts.append(attempt)
    if attempts:
        line += f"; tried: {' | '.join(attempts[:_MAX_TRIED])}"
    return line


def lesson_lines(trials: Iterable[Trial]) -> list[str]:
    """Return what trials taught, one per line."""
    lines: list[str] = []
    for trial in trials:
        if trial.lesson:
            lesson = one_line(trial.lesson, _MAX_LESSON_CHARS)
            lines.append(f"- trial {trial.number}: {lesson}")
    return lines


def failures(trials: Iterable[Trial], changes: Mapping[int, str], room: int) -> str:
    """Return the section of failures, the newest kinds that fit."""
    return _section(FAILURES, failure_lines(trials, changes), room)


def lessons(trials: Iterable[Trial], room: int) -> str:
    """Return the section of lessons, the last that fit."""
    return _section(LESSONS, lesson_lines(trials), room)


def _section(title: str, lines: Sequence[str], room: int) -> str:
    kept = last_that_fit(lines, room - len(title))
    if not kept:
        return ""
    return "\n".join([title, *kept])


def last_that_fit(lines: Sequence[str], room: int) -> list[str]:
    """Return as many of the last lines as fit into so many characters."""
    first = len(lines)
    while first and len(lines[first - 1]) + 1 <= room:
        first -= 1
        room -= len(lines[first]) + 1
    return list(lines[first:])


def ranking(
    trials: Iterable[Trial],
    parent: Trial | None,
    direction: Direction = Direction.MAXIMIZE,
) -> str:
    """Return the trials shown by their scores, best first; nothing for only one.

    Each but the best has its difference to the best.
    """
    scored = {trial.number: trial for trial in trials if trial.scored}
    shown = sorted(scored.values(), key=direction.rank, reverse=True)
    if len(shown) < 2:
        return ""
    title, word = "By score", "less"
    if direction is Direction.MINIMIZE:
        title, word = "By score, the lowest first", "more"
    best = shown[0].score or 0.0
    places: list[str] = []
    for place, trial in enumerate(shown, 1):
        entry = f"{place}. trial {trial.number}"
        if parent is not None and trial.number == parent.number:
            entry += " (the x to improve)"
        behind = direction.gain(best, trial.score or 0.0)
        if behind:
            entry += f", {show_number(behind)} {word}"
        places.append(entry)
    return f"{title}: {'; '.join(places)}."
