"""Types of the keywords that take the options of a run, for type checkers and editors.

`settings.RunSettings` has the same names, with their documentation, defaults and checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from .records import Budget, Limits


class RunOptions(TypedDict, total=False):
    """The options that `optimize.run` takes by name only; for type checkers and editors."""

    known: Sequence[Any]
    space: Any
    base_url: str | None
    temperature: float | None
    reasoning_effort: str | None
    direction: str
    workers: int
    model_slots: int | None
    timeout_secs: float
    max_score: float | None
    budget: Budget | Mapping[str, Any] | None
    search: Any
    proposer: Any
    repeats: Any
    reflect: bool
    tune: int
    max_prompt_tokens: int
    func_version: str | None
    catch: bool
    sandbox: str
    limits: Limits | Mapping[str, Any] | None
    seed: int | None
    executor: Any
    stop: Any
    examples: Any


class Options(RunOptions, total=False):
    """The options of `optimize.Optimizer`, which refuses those that concern how f is called."""

    max_steps: int
    stop_score: float | None
    system_prompt: str
    human_prompt: str


class Changes(Options, total=False):
    """The options that may change when a run is resumed or replayed."""

    model: Any
