"""Who scores the candidates of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any

from ..evaluate import Evaluator, Examples, Stage
from ..store import Store
from ._settings import Settings

Func = Callable[..., Any] | Sequence[Stage | Callable[..., Any] | tuple[Callable[..., Any], float]]


def open_evaluator(
    func: Func, settings: Settings, store: Store, examples: Examples | None, executor: Executor | None
) -> Evaluator:
    """Return who scores with f, under the settings of a run. Raises what `Evaluator` raises."""
    return Evaluator(
        func,
        sandbox=settings.sandbox,
        limits=settings.limits,
        workers=settings.workers,
        timeout_secs=settings.timeout_secs,
        hidden=store.files,
    )
