"""Runs of a benchmark, and the moments at which their trials began and were finished."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from llm_optimize import optimize
from llm_optimize.records import Event, TrialFinished, TrialStarted

MODEL = "simulated"
WORDS = (
    "Decrease the value of f(x). x is two numbers in [-10, 10].",
    "What x makes f(x) smaller?",
)


class Clock:
    """A watcher that notes when trials began and when they were finished, by number."""

    def __init__(self) -> None:
        self.begun: dict[int, float] = {}
        self.finished: dict[int, float] = {}

    def __call__(self, event: Event) -> None:
        """Note the time."""
        if isinstance(event, TrialStarted):
            self.begun.setdefault(event.number, time.perf_counter())
        elif isinstance(event, TrialFinished):
            self.finished[event.trial.number] = time.perf_counter()

    def moments(self) -> list[float]:
        """Return when trials were finished, in order."""
        return sorted(self.finished.values())


def run_trials(
    func: Callable[..., Any], steps: int, model: Any, folder: str, **options: Any
) -> Clock:
    """Run trials in a new store, and return when each was finished; each must have a score."""
    clock = Clock()
    store = f"{folder}/{time.monotonic_ns()}.db"
    options = {"x0": "[5, 3]", "sandbox": "inline", "seed": 1, **options}
    result = optimize.run(
        *WORDS,
        func,
        max_steps=steps,
        model=model,
        verbose=False,
        store=store,
        callbacks=[clock],
        **options,
    )
    if len(result.trials) != steps + 1:
        raise RuntimeError(
            f"the run ended after {len(result.trials)} of {steps + 1} trials: {result.stop_reason}"
        )
    return clock
