"""Draw the pictures of the docs anew: `make pictures`, or `python tests/pictures.py`.

Real runs with a scripted model, so that everybody gets the same ones.
"""

from __future__ import annotations

import io
import random
import tempfile
import time
from pathlib import Path

from llm_optimize import optimize
from llm_optimize.records import (
    Budget,
    Event,
    Result,
    Status,
    Trial,
    TrialProposed,
    Usage,
)
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch.console import Console

DOCS = Path(__file__).resolve().parents[1] / "docs"
TASK = "Write primes(n), which returns all primes below n. It is timed for n = 200,000."
X0 = """\
def primes(n):
    found = []
    for number in range(2, n):
        if all(number % prime for prime in found if prime * prime <= number):
            found.append(number)
    return found
"""
BREAKING = """\
def primes(n):
    found = []
    for number in range(2, n):
        for prime in found:
            if prime * prime > number:
                found.append(number)
                break
            if number % prime == 0:
                break
        else:
            found.append(number)
    return found
"""
SIEVE = """\
def primes(n):
    sieve = [True] * n
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            for multiple in range(number * number, n, number):
                sieve[multiple] = False
    return [number for number in range(2, n) if sieve[number]]
"""
BYTES = """\
def primes(n):
    sieve = bytearray([1]) * n
    for number in range(2, int(n**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, n, number)))
    return [number for number in range(2, n) if sieve[number]]
"""
ODD = """\
def primes(n):
    sieve = bytearray([1]) * (n // 2)  # of odd numbers
    for number in range(3, int(n**0.5) + 1, 2):
        if sieve[number // 2]:
            start = number * number // 2
            sieve[start::number] = bytes(len(range(start, n // 2, number)))
    return [2] + [2 * place + 1 for place in range(1, n // 2) if sieve[place]]
"""
WRONG = SIEVE.replace("n**0.5) + 1", "n**0.5)").replace(
    "range(2, n) if", "range(1, n) if"
)
REPLIES = (
    BREAKING,
    "oops(",
    SIEVE,
    WRONG,
    BYTES,
    BREAKING,
    ODD,
    ODD + "\n# done",
    BYTES,
)


def f(script: str) -> tuple[float, str]:
    """Score a script by how many times faster than a second it is."""
    names: dict[str, object] = {}
    exec(script, names)
    begun = time.perf_counter()
    found = names["primes"](30_000)  # type: ignore[operator]
    taken = 50 * (time.perf_counter() - begun)
    if len(found) != 3245 or found[0] != 2:
        raise ValueError(
            f"there are 3245 primes below 30,000 and the first is 2, not {found[0]}"
        )
    return 1 / taken, f"all are right, {taken:.3f} s"


class Drawing:
    """A watcher that draws the terminal in the middle of a run."""

    def __init__(
        self, console: Console, at_trial: int, sizes: dict[str, tuple[int, int]]
    ) -> None:
        self.console, self.at_trial, self.sizes = console, at_trial, sizes

    def __call__(self, event: Event) -> None:
        self.console(event)
        if isinstance(event, TrialProposed) and event.number == self.at_trial:
            for name, (width, height) in self.sizes.items():
                picture = self.console.svg("llm-optimize", width=width, height=height)
                (DOCS / name).write_text(picture, encoding="utf-8")


def draw_terminal(folder: str) -> None:
    """Draw `docs/terminal.svg`, and how it looks on a wide screen."""
    replies = [f"Better:\n```python\n{script}\n```" for script in REPLIES]
    sizes = {"terminal.svg": (100, 32), "terminal_wide.svg": (160, 40)}
    drawing = Drawing(Console(io.StringIO()), len(REPLIES) - 1, sizes)
    optimize.run(
        TASK,
        "How is it faster?",
        f,
        X0,
        20,
        ScriptedChat(*replies),
        False,
        sandbox="inline",
        budget=Budget(calls=30, seconds=600),
        store=f"{folder}/runs.db",
        name="amber-birch",
        callbacks=[drawing],
    )


def draw_chart() -> None:
    """Draw `docs/plot.svg`: what `result.plot()` shows of a run of 40 trials."""
    import matplotlib

    matplotlib.use("agg")
    rng, trials, best = random.Random(2), [], 0.0
    for number in range(40):
        score = (
            None
            if rng.random() < 0.15
            else best - abs(rng.gauss(0, 0.08)) + (rng.random() < 0.25) * 0.12
        )
        best = max(best, score or best)
        status = Status.FAILED if score is None else Status.COMPLETE
        trials.append(Trial.of(number, "x", status, "model:scripted", score=score))
    drawn = Result("amber-birch", trials, Usage(), "max_steps").plot()
    drawn.figure.savefig(DOCS / "plot.svg", metadata={"Date": None})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        draw_terminal(folder)
    draw_chart()
