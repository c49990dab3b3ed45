"""Who scores the candidates of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..evaluate import Evaluator, Stage
from ..store import Store
from ._parts import Parts

Func = Callable[..., Any] | Stage | Sequence[Stage | Callable[..., Any] | tuple[Callable[..., Any], float]]


def open_evaluator(func: Func, parts: Parts, store: Store) -> Evaluator:
    """Return who scores with f, under the settings of a run. Raises what `Evaluator` raises."""
    settings = parts.settings
    return Evaluator(
        func,
        sandbox=settings.sandbox,
        limits=settings.limits,
        workers=settings.workers,
        timeout_secs=settings.timeout_secs,
        hidden=store.files,
        judging=parts.judging,
    )
