"""What is said of a trial in one line: what it changed, why it failed, what it taught, how it ranks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ...records import Trial, X, describe_failure, rank
from ...text import lines_of, one_line, show_number
from .templates import FAILURES, LESSONS

_MAX_TRIED_CHARS = 100
_MAX_LESSON_CHARS = 400
_MAX_TRIED = 3  # of failures that are alike
_NUMBER = re.compile(
    r"0x[0-9a-f]+|\d+(?:[.,_]\d+)*(?:e[+-]?\d+)?", re.I
)  # addresses and line numbers, too


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
        changed = {
            name: value
            for name, value in x.items()
            if name not in before or before[name] != value
        }
        texts = [
            (name, value)
            for name, value in changed.items()
            if isinstance(value, str) and "\n" in value
        ]
        if texts:
            return one_line(
                f"{texts[0][0]}: {_new_lines(texts[0][1], str(before.get(texts[0][0])))}",
                _MAX_TRIED_CHARS,
            )
        return one_line(json.dumps(changed, default=repr), _MAX_TRIED_CHARS)
    return one_line(
        x if isinstance(x, str) else json.dumps(x, default=repr), _MAX_TRIED_CHARS
    )


def _new_lines(x: str, before: str) -> str:
    new = [line.strip() for line in lines_of(x)]
    old = Counter(line.strip() for line in lines_of(before))
    old.subtract(new)
    added = [line for line in dict.fromkeys(new) if line and old[line] < 0]
    if added:
        more = f" (and {len(added) - 1} more)" if len(added) > 1 else ""
        return one_line(added[0], _MAX_TRIED_CHARS - len(more)) + more
    removed = [line for line, count in old.items() if line and count > 0]
    return (
        one_line(f"without {removed[0]}", _MAX_TRIED_CHARS)
        if removed
        else "other white space or order"
    )


def tried(trial: Trial, changes: Mapping[int, str]) -> str:
    """Return in one line what was tried: the change where it is known, else how x begins."""
    return changes.get(trial.number) or what_changed(
        "" if trial.x is None else trial.x, None
    )


def failure_lines(trials: Iterable[Trial], changes: Mapping[int, str]) -> list[str]:
    """Return why trials failed and what was tried, in a line for each kind of failure, with their number.

    Failures are alike when their reasons differ in nothing but numbers and addresses. A kind stands where its first
    failure does, so that a list which grows keeps its beginning.
    """
    kinds: dict[str, list[Trial]] = {}
    for trial in trials:
        kinds.setdefault(_NUMBER.sub("#", describe_failure(trial)), []).append(trial)
    return [_kind_line(alike, changes) for alike in kinds.values()]


def _kind_line(alike: Sequence[Trial], changes: Mapping[int, str]) -> str:
    times = f" ({len(alike)} times)" if len(alike) > 1 else ""
    attempts = list(
        dict.fromkeys(filter(None, (tried(trial, changes) for trial in alike)))
    )[:_MAX_TRIED]
    return f"- {describe_failure(alike[0])}{times}" + (
        f"; tried: {' | '.join(attempts)}" if attempts else ""
    )


def lesson_lines(trials: Iterable[Trial]) -> list[str]:
    """Return what trials taught, in a line each."""
    return [
        f"- trial {trial.number}: {one_line(trial.lesson, _MAX_LESSON_CHARS)}"
        for trial in trials
        if trial.lesson
    ]


def failures(trials: Iterable[Trial], changes: Mapping[int, str], room: int) -> str:
    """Return the section of failures, the newest kinds that fit."""
    return _section(FAILURES, failure_lines(trials, changes), room)


def lessons(trials: Iterable[Trial], room: int) -> str:
    """Return the section of lessons, the last that fit."""
    return _section(LESSONS, lesson_lines(trials), room)


def _section(title: str, lines: Sequence[str], room: int) -> str:
    kept = last_that_fit(lines, room - len(title))
    return "\n".join([title, *kept]) if kept else ""


def last_that_fit(lines: Sequence[str], room: int) -> list[str]:
    """Return as many of the last lines as fit into so many characters."""
    first = len(lines)
    while first and len(lines[first - 1]) + 1 <= room:
        first -= 1
        room -= len(lines[first]) + 1
    return list(lines[first:])


def ranking(trials: Iterable[Trial], parent: Trial | None) -> str:
    """Return the trials shown in the order of their scores, with the difference to the best; nothing for only one."""
    shown = sorted(
        {trial.number: trial for trial in trials if trial.scored}.values(),
        key=rank,
        reverse=True,
    )
    if len(shown) < 2:
        return ""
    best = shown[0].score or 0.0
    places = [
        f"{place}. {_named(trial, parent)}{_less(trial, best)}"
        for place, trial in enumerate(shown, 1)
    ]
    return f"By score: {'; '.join(places)}."


def _named(trial: Trial, parent: Trial | None) -> str:
    improve = " (the x to improve)" if parent and trial.number == parent.number else ""
    return f"trial {trial.number}{improve}"


def _less(trial: Trial, best: float) -> str:
    less = best - (trial.score or 0.0)
    return f", {show_number(less)} less" if less else ""
