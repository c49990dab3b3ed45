"""All that is known of one trial, and how the champion came about step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import inf
from typing import Any

from ...records import Trial
from ...store import Call
from ...text import clip
from .colours import Colours
from .diffs import changed, changes, parts
from .facts import plain

_MAX_STORY = 40  # steps

Clip = Callable[[str], str]


def clipper(max_chars: int | None) -> Clip:
    """Return a function that keeps head and tail of a long text; None keeps all of it."""
    return (
        (lambda text: text)
        if max_chars is None
        else (lambda text: clip(text, max_chars))
    )


def detail(
    trial: Trial,
    parent: Trial | None,
    calls: Sequence[Call],
    colours: Colours,
    cut: Clip = clipper(None),
) -> dict[str, Any]:
    """Return a trial with its texts, their colours, what changed from its parent, and its model calls."""
    texts = {name: cut(text) for name, text in parts(trial.x).items()}
    old = (
        None
        if parent is None
        else {name: cut(text) for name, text in parts(parent.x).items()}
    )
    facts = ("number", "stage", "seed", "scorings", "finished_at")
    return {
        **{name: getattr(trial, name) for name in facts},
        "error": trial.standard_error,
        "lesson": cut(trial.lesson),
        "feedback": cut(trial.feedback),
        "output": cut(trial.output),
        "metrics": plain(trial.metrics),
        "instances": plain(trial.instances),
        "usage": asdict(trial.usage),
        "decision": plain(trial.decision),
        "parts": [
            {"name": name, "text": text, "runs": colours.of(name, text)}
            for name, text in texts.items()
        ],
        "change": None if old is None or trial.x is None else changed(old, texts),
        "calls": [_call(call, cut) for call in calls],
    }


def _call(call: Call, cut: Clip) -> dict[str, Any]:
    reply = call.reply
    return {
        "model": call.model,
        "messages": [
            {"role": message["role"], "content": cut(message["content"])}
            for message in call.messages
        ],
        "sent_at": call.sent_at,
        "cost": call.cost_usd,
        "error": cut(call.error),
        "uncertain": call.uncertain,
        "reply": None
        if reply is None
        else {
            "text": cut(reply.text),
            "reasoning": cut(reply.reasoning),
            "model": reply.model,
            "seconds": reply.seconds,
            "finish_reason": reply.finish_reason,
            "usage": asdict(reply.usage),
        },
    }


def story(
    told: Mapping[str, Sequence[Any]], read: Callable[[int], Trial]
) -> dict[str, Any]:
    """Return the ancestors of the champion that raised the score, oldest first, each with what it changed.

    `told` are the columns of the trials, `read` returns one of them whole. A long story keeps the steps that gained
    most; `left_out` counts all ancestors that it passes over.
    """
    scores = dict(zip(told["number"], told["score"], strict=True))
    scored = [number for number, score in scores.items() if score is not None]
    champion = max(scored, key=lambda number: (scores[number], -number), default=None)
    line = ancestors(dict(zip(told["number"], told["parent"], strict=True)), champion)
    kept = [read(number) for number in _raising(line, scores)]
    steps = []
    for before, trial in zip([None, *kept], kept, strict=False):
        change = None if before is None else changes(before.x, trial.x)
        steps.append(
            {
                "number": trial.number,
                "on": None if before is None else before.number,
                "change": change,
            }
        )
    return {"steps": steps, "left_out": len(line) - len(kept)}


def ancestors(parents: Mapping[int, int | None], number: int | None) -> list[int]:
    """Return a trial and those that it was built on, the first one first.

    >>> ancestors({0: None, 1: 0, 2: 1, 3: 0}, 2)
    [0, 1, 2]
    """
    line: dict[int, None] = {}  # which keeps its order
    while number is not None and number in parents and number not in line:
        line[number] = None
        number = parents[number]
    return list(line)[::-1]


def _raising(line: Sequence[int], scores: Mapping[int, float | None]) -> list[int]:
    """Return the first trial, the last, and of those that were better than all before them the largest steps."""
    gains: dict[int, float] = {}
    best: float | None = None
    for place, number in enumerate(line):
        score = scores[number]
        if place in (0, len(line) - 1):
            gains[place] = inf
        elif score is not None and (best is None or score > best):
            gains[place] = inf if best is None else score - best
        best = score if best is None or (score is not None and score > best) else best
    kept = sorted(
        sorted(gains, key=lambda place: gains[place], reverse=True)[:_MAX_STORY]
    )
    return [line[place] for place in kept]
