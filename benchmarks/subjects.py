"""What is scored in the benchmarks: small functions of the kinds that users write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def closeness(x: str) -> tuple[float, str]:
    """Return how near two numbers, such as "[5, 3]", are to zero."""
    a, b = map(float, x.strip("[] \n").split(","))
    return -(a * a + b * b), f"f(x) = {a * a + b * b:.6g}"


async def closeness_at_once(x: str) -> tuple[float, str]:
    """Return the same on the event loop, without a thread or process."""
    return closeness(x)


def slow_closeness(x: str) -> tuple[float, str]:
    """Return the same after 0.3 s."""
    time.sleep(0.3)
    return closeness(x)


def length(x: str) -> float:
    """Return the length of x: as little as f can do."""
    return float(len(x))


def endless(x: str) -> float:
    """Never return: busy, asleep, or with a child that hides in a session of its own."""
    if x == "hide" and os.fork() == 0:
        os.setsid()
        os.fork()
    while x != "busy":
        time.sleep(60)
    while True:
        pass


@dataclass(frozen=True)
class Noted:
    """An f that writes into a file when it begins and ends, from inside its sandbox."""

    f: Callable[[str], Any]
    path: Path
    seconds: float

    def __call__(self, x: str) -> Any:
        """Return f(x) after some seconds."""
        self._note("scoring", x)
        time.sleep(self.seconds)
        result = self.f(x)
        self._note("scored", x)
        return result

    def _note(self, word: str, x: str) -> None:
        with self.path.open("a") as file:
            file.write(f"{word} {x}\n")
