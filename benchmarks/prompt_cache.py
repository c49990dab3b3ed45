"""How much of a prompt repeats the beginning of an earlier one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from random import Random
from statistics import mean, median
from tempfile import TemporaryDirectory

from llm_optimize.records import Message

from .bars import Bar
from .runs import run_trials


def cacheable(trials: int = 180, first: int = 100, lines: int = 40) -> list[Bar]:
    """Return how much of the prompts repeats the beginning of an earlier one."""
    bars = []
    for search in ("chat", "best"):
        author = Author(lines)
        with TemporaryDirectory() as folder:
            run_trials(
                author.judge,
                trials,
                author,
                folder,
                search=search,
                x0=author.program(0.0),
            )
        shares = _shared(author.prompts)[first:]
        share = sum(same for same, _ in shares) / sum(size for _, size in shares)
        typical = median(same / size for same, size in shares)
        note = f"median {typical:.2f}, {mean(size for _, size in shares):.0f} characters a prompt"
        bars.append(
            Bar(
                f"cacheable share of prompts, {search}",
                share,
                0.8,
                at_least=True,
                note=note,
            )
        )
    return bars


class Author:
    """A model that changes programs: one in 20 is a new best, one in 10 fails."""

    def __init__(self, lines: int) -> None:
        self.prompts: list[str] = []
        self._lines = lines
        self._rng = Random(4)
        self._best = 0.0

    async def __call__(self, messages: Sequence[Message]) -> str:
        """Return a program."""
        self.prompts.append(
            "\0".join(
                f"{message['role']}\0{message['content']}" for message in messages
            )
        )
        score = self._best + self._rng.gauss(-1.65, 1.0)
        self._best = max(self._best, score)
        fails = self._rng.random() < 0.1
        program = self.program(float("nan") if fails else score)
        return f"Better by another loop.\n\n```python\n{program}\n```"

    def program(self, score: float) -> str:
        """Return a program of so many lines that carries its score."""
        body = (
            f"    total += weights[{line}] * {self._rng.random():.6f}"
            for line in range(self._lines)
        )
        return "\n".join(
            [
                f"def solve(weights):  # {score:.6f}",
                "    total = 0.0",
                *body,
                "    return total",
            ]
        )

    async def judge(self, x: str) -> tuple[float, str]:
        """Return the score of a program, or fail."""
        score = float(x.split("\n")[0].rpartition("#")[2])
        if score != score:
            raise ValueError(f"the loop of {len(x)} characters does not end")
        return score, f"cases right: {score:.3f}\nslowest case: {len(x)} steps"


def _shared(prompts: Iterable[str]) -> list[tuple[int, int]]:
    """Return for each prompt how much of it begins an earlier one, and its size, in characters."""
    earlier: list[str] = []
    found = []
    for prompt in prompts:
        place = bisect_left(
            earlier, prompt
        )  # the longest common beginning is with a neighbour in the alphabet
        near = earlier[max(0, place - 1) : place + 1]
        found.append(
            (
                max((_common_chars(prompt, other) for other in near), default=0),
                len(prompt),
            )
        )
        earlier.insert(place, prompt)
    return found


def _common_chars(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next(
        (place for place, (left, right) in pairs if left != right),
        min(len(one), len(other)),
    )
