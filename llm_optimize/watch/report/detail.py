"""All that is known of one trial, and how the champion came about step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...records import Trial, rank
from ...store import Call
from ...text import clip
from .colours import Colours
from .diffs import changes, parts
from .facts import plain

_MAX_STORY = 40  # steps

Clip = Callable[[str], str]


def clipper(max_chars: int | None) -> Clip:
    """Return a function that keeps head and tail of a long text; None keeps all of it."""
    return (lambda text: text) if max_chars is None else (lambda text: clip(text, max_chars))


def detail(
    trial: Trial, parent: Trial | None, calls: Sequence[Call], colours: Colours, cut: Clip = clipper(None)
) -> dict[str, Any]:
    """Return a trial with its texts, their colours, what changed from its parent, and its model calls."""
    texts = {name: cut(text) for name, text in parts(trial.x).items()}
    old = None if parent is None else {name: cut(text) for name, text in parts(parent.x).items()}
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
        "parts": [{"name": name, "text": text, "runs": colours.of(name, text)} for name, text in texts.items()],
        "change": None if old is None or trial.x is None else changes(old, texts),
        "calls": [_call(call, cut) for call in calls],
    }


def _call(call: Call, cut: Clip) -> dict[str, Any]:
    reply = call.reply
    return {
        "model": call.model,
        "messages": [{"role": message["role"], "content": cut(message["content"])} for message in call.messages],
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


def story(trials: Mapping[int, Trial]) -> dict[str, Any]:
    """Return the ancestors of the champion that raised the score, oldest first, each with what it changed.

    A long story keeps the steps that gained most; `left_out` counts all ancestors that it passes over.
    """
    champion = max((trial for trial in trials.values() if trial.scored), key=rank, default=None)
    line = ancestors(trials, champion)
    told = _raising(line)
    steps = []
    for before, trial in zip([None, *told], told, strict=False):
        change = None if before is None else changes(before.x, trial.x)
        steps.append({"number": trial.number, "on": None if before is None else before.number, "change": change})
    return {"steps": steps, "left_out": len(line) - len(told)}


def ancestors(trials: Mapping[int, Trial], trial: Trial | None) -> list[Trial]:
    """Return a trial and those that it was built on, the first one first."""
    line: list[Trial] = []
    seen: set[int] = set()
    while trial is not None and trial.number not in seen:
        seen.add(trial.number)
        line.append(trial)
        trial = None if trial.parent is None else trials.get(trial.parent)
    return line[::-1]


def _raising(line: Sequence[Trial]) -> list[Trial]:
    """Return the first trial, the last, and of those that were better than all before them the largest steps."""
    gains: dict[int, float] = {}
    best: float | None = None
    for place, trial in enumerate(line):
        if place == 0 or (trial.score is not None and (best is None or trial.score > best)):
            gains[place] = float("inf") if best is None or trial.score is None else trial.score - best
            best = trial.score
    if line:
        gains[len(line) - 1] = float("inf")
    kept = sorted(sorted(gains, key=lambda place: gains[place], reverse=True)[:_MAX_STORY])
    return [line[place] for place in kept]
