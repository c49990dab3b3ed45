"""Details of one trial, and the story of the champion: its ancestors, step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from ...records import Direction, Reply, Trial
from ...store import Call
from ...text import clip
from .colors import Colors
from .diffs import changed, changes, parts
from .facts import plain

_MAX_STORY = 40  # steps

Clip = Callable[[str], str]


def clipper(max_chars: int | None) -> Clip:
    """Return a function that keeps head and tail of a long text; None keeps all of it."""
    if max_chars is None:
        return lambda text: text
    return lambda text: clip(text, max_chars)


def detail(
    trial: Trial,
    parent: Trial | None,
    calls: Sequence[Call],
    colors: Colors,
    cut: Clip = clipper(None),
) -> dict[str, Any]:
    """Return a trial with its texts, their colors, its change from the parent, and its calls."""
    texts = _clipped(trial, cut)
    colored = []
    for name, text in texts.items():
        runs = colors.of(name, text)
        colored.append({"name": name, "text": text, "runs": runs})
    change = None
    if parent is not None and trial.x is not None:
        change = changed(_clipped(parent, cut), texts)
    return {
        "number": trial.number,
        "stage": trial.stage,
        "seed": trial.seed,
        "scorings": trial.scorings,
        "finished_at": trial.finished_at,
        "error": trial.standard_error,
        "lesson": cut(trial.lesson),
        "feedback": cut(trial.feedback),
        "output": cut(trial.output),
        "metrics": plain(trial.metrics),
        "instances": plain(trial.instances),
        "usage": asdict(trial.usage),
        "decision": plain(trial.decision),
        "parts": colored,
        "change": change,
        "calls": [_call(call, cut) for call in calls],
    }


def _clipped(
    trial: Trial,
    cut: Clip,
) -> dict[str, str]:
    return {name: cut(text) for name, text in parts(trial.x).items()}


def _call(
    call: Call,
    cut: Clip,
) -> dict[str, Any]:
    messages = []
    for message in call.messages:
        content = cut(message["content"])
        messages.append({"role": message["role"], "content": content})
    return {
        "model": call.model,
        "messages": messages,
        "sent_at": call.sent_at,
        "cost": call.cost_usd,
        "error": cut(call.error),
        "uncertain": call.uncertain,
        "reply": None if call.reply is None else _reply(call.reply, cut),
    }


def _reply(
    reply: Reply,
    cut: Clip,
) -> dict[str, Any]:
    return {
        "text": cut(reply.text),
        "reasoning": cut(reply.reasoning),
        "model": reply.model,
        "seconds": reply.seconds,
        "finish_reason": reply.finish_reason,
        "usage": asdict(reply.usage),
    }


def story(
    columns: Mapping[str, Sequence[Any]],
    read: Callable[[int], Trial],
    direction: Direction = Direction.MAXIMIZE,
) -> dict[str, Any]:
    """Return the ancestors of the champion that bettered the score, each with what it changed.

    The oldest comes first. A long story keeps the steps that gained most; `left_out` counts all
    ancestors that are not in it. `best` has the change from x0, or from the first trial with a
    score, to the champion; None where there is no champion.

    Args:
        columns: of the trials, see `facts.columns`.
        read: returns a trial with its texts, by its number.
        direction: of the scores.
    """
    numbers = columns["number"]
    scores: dict[int, float | None] = {}  # a higher one is better
    for number, score in zip(numbers, columns["score"], strict=True):
        scores[number] = None if score is None else direction.turned(score)
    parents = dict(zip(numbers, columns["parent"], strict=True))
    champion = _champion(scores)
    line = ancestors(parents, champion)
    steps: list[dict[str, Any]] = []
    before: Trial | None = None
    for number in _raising(line, scores):
        trial = read(number)
        step: dict[str, Any] = {"number": number, "on": None, "change": None}
        if before is not None:
            step["on"] = before.number
            step["change"] = changes(before.x, trial.x)
        steps.append(step)
        before = trial
    return {
        "steps": steps,
        "left_out": len(line) - len(steps),
        "best": _best(columns, scores, champion, read),
    }


def _best(
    columns: Mapping[str, Sequence[Any]],
    scores: Mapping[int, float | None],
    champion: int | None,
    read: Callable[[int], Trial],
) -> dict[str, Any] | None:
    """Return the champion, the trial that it is compared with, and the change between them."""
    if champion is None:
        return None
    sources = dict(zip(columns["number"], columns["source"], strict=True))
    base = 0
    if sources.get(0) != "x0":
        base = min(number for number, score in scores.items() if score is not None)
    change = None
    if base != champion:
        change = changes(read(base).x, read(champion).x)
    return {"number": champion, "on": base, "change": change}


def _champion(scores: Mapping[int, float | None]) -> int | None:
    """Return the trial with the best score, the earliest of equals; None without scores."""
    found: int | None = None
    best = -inf
    for number in sorted(scores):
        score = scores[number]
        if score is not None and score > best:
            found = number
            best = score
    return found


def ancestors(
    parents: Mapping[int, int | None],
    number: int | None,
) -> list[int]:
    """Return a trial and those that it was built on, the first one first.

    >>> ancestors({0: None, 1: 0, 2: 1, 3: 0}, 2)
    [0, 1, 2]
    """
    line: dict[int, None] = {}  # a set in the order of insertion
    while number is not None and number in parents and number not in line:
        line[number] = None
        number = parents[number]
    return list(line)[::-1]


def _raising(
    line: Sequence[int],
    scores: Mapping[int, float | None],
) -> list[int]:
    """Return the first trial, the last, and the largest steps between them.

    A step is a trial that was better than all before it in the line.
    """
    gains: dict[int, float] = {}  # by place in the line
    best = -inf
    for place, number in enumerate(line):
        score = scores[number]
        if score is not None and score > best:
            gains[place] = score - best  # infinite for the first score
            best = score
        if place in (0, len(line) - 1):
            gains[place] = inf
    by_gain = sorted(gains, key=lambda place: gains[place], reverse=True)
    kept = sorted(by_gain[:_MAX_STORY])
    return [line[place] for place in kept]
