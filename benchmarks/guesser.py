"""Simulated model for benchmarks of searches: it sees the text of the prompt, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from llm_optimize.records import Message

from .landscapes import LIMIT

_BLOCK = re.compile(r"^(`{3,}|~{3,})[^\n`]*\n(.*?)\n\1[ \t]*$", re.S | re.M)
_SCORE = re.compile(r"\bscored?\b[^\n\d-]{0,12}(-?\d[\d.]*(?:e[-+]?\d+)?)", re.I)
_NUMBER = re.compile(r"-?\d+\.?\d*(?:e[-+]?\d+)?")
_PARENT = re.compile(
    r"(?:improve|parent|build on)[^\n]{0,80}?\btrial (\d+)|\btrial (\d+)\b[^\n]{0,20}\babove",
    re.I,
)
_NAME = re.compile(r"\btrial (\d+)\b", re.I)


@dataclass(frozen=True)
class Shown:
    """One x that stands in the prompt."""

    x: tuple[float, ...]
    score: float | None
    number: int | None


def read(messages: Sequence[Message]) -> tuple[list[Shown], Shown | None]:
    """Return all x that are shown, each once, and the one that is to be improved."""
    text = "\n".join(
        message["content"] for message in messages if message["role"] != "system"
    )
    blocks = [
        block for block in _BLOCK.finditer(text) if block[2].lstrip().startswith("[")
    ]
    shown: dict[tuple[float, ...], Shown] = {}
    last = None
    for place, block in enumerate(blocks):
        x = tuple(map(float, _NUMBER.findall(block[2])))
        before = (
            text[blocks[place - 1].end() if place else 0 : block.start()]
            .strip()
            .rpartition("\n")[2]
        )
        after = text[
            block.end() : blocks[place + 1].start()
            if place + 1 < len(blocks)
            else len(text)
        ]
        score, name = (
            _SCORE.search(before) or _SCORE.search(after),
            _NAME.search(before),
        )
        last = Shown(
            x, float(score[1]) if score else None, int(name[1]) if name else None
        )
        known = shown.get(x)
        shown[x] = last if known is None or known.score is None else known
    tail = text[blocks[-1].end() :] if blocks else ""
    named = _PARENT.search(tail)
    if named:
        number = int(named[1] or named[2])
        last = next((one for one in shown.values() if one.number == number), last)
    return list(shown.values()), last


class Guesser:
    """Moves numbers of one x that is shown, by local steps and by differences between shown x."""

    def __init__(self, seed: int, focus: float = 0.7, differences: float = 0.6) -> None:
        """Build on the x to improve in a share of `focus`, else on one of the better ones shown."""
        self._rng = Random(f"model/{seed}")
        self._focus = focus
        self._differences = differences

    def __call__(self, messages: Sequence[Message]) -> str:
        """Return a reply with the next x."""
        shown, parent = read(messages)
        if parent is None:
            raise ValueError("the prompt shows no x")
        scored = sorted(
            (one for one in shown if one.score is not None),
            key=lambda one: one.score or 0.0,
        )
        base = (
            parent
            if not scored or self._rng.random() < self._focus
            else self._better(scored)
        )
        x = list(base.x)
        used = False
        if len(scored) >= 3 and self._rng.random() < self._differences:
            self._step_along(x, scored)
            used = True
        if not used or self._rng.random() < 0.3:
            self._step_aside(x)
        numbers = ", ".join(f"{max(-LIMIT, min(LIMIT, a)):.5g}" for a in x)
        return f"The scores teach something.\n\n```\n[{numbers}]\n```"

    def _better(self, scored: Sequence[Shown]) -> Shown:
        """Return one of the shown, the better the likelier."""
        return scored[max(self._rng.randrange(len(scored)) for _ in range(2))]

    def _step_along(self, x: list[float], scored: Sequence[Shown]) -> None:
        """Go a part of the way from one that is shown to another that is better."""
        worse, better = sorted(self._rng.sample(range(len(scored)), 2))
        length, share = self._rng.uniform(0.3, 1.0), self._rng.choice([0.3, 1.0])
        for place, (a, b) in enumerate(
            zip(scored[better].x, scored[worse].x, strict=True)
        ):
            if self._rng.random() < share:
                x[place] += length * (a - b)

    def _step_aside(self, x: list[float]) -> None:
        """Move some numbers at random, by steps of a size that suits nobody in particular."""
        size = LIMIT * 10 ** self._rng.uniform(-2.5, -0.3)
        share = self._rng.choice([1 / len(x), 0.3, 1.0])
        moved = [place for place in range(len(x)) if self._rng.random() < share] or [
            self._rng.randrange(len(x))
        ]
        for place in moved:
            x[place] += self._rng.gauss(0, size)
