"""What a run was asked to do, as the store keeps it: all that a resume needs except f, the model and the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import UsageError
from ..records import Budget, Limits, Task, X


@dataclass(frozen=True)
class Settings:
    """The settings of a run. Raises UsageError for a value that cannot be."""

    task: Task
    x0: tuple[X, ...] = ()
    func: str | None = None  # where f is: FILE.py:NAME, when it is found again by that
    model: str = ""  # its name
    is_chat: bool = True  # whether the model is found again by its name and base_url
    base_url: str | None = None
    proposer: str = "model"
    search: str = "best"
    space: Mapping[str, Any] | None = None
    tune: int = 0
    max_steps: int = 10
    stop_score: float | None = None
    workers: int = 1
    timeout_secs: float = 600.0
    sandbox: str = "process"
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    model_slots: int | None = None  # None: adapts
    max_prompt_tokens: int = 16_000
    max_score: float | None = None
    reflect: bool = False

    def __post_init__(self) -> None:
        if self.max_steps < 0:
            raise UsageError(f"max_steps is {self.max_steps}: give 0 (score x0 only) or more")
        if self.tune < 0:
            raise UsageError(f"tune is {self.tune}: give how many scorings to spend on the knobs of a champion, or 0")
        if self.workers < 1:
            raise UsageError(f"workers is {self.workers}: at least 1 scoring at a time is needed")
        if self.model_slots is not None and self.model_slots < 1:
            raise UsageError(f"model_slots is {self.model_slots}: at least 1 model call at a time is needed")
        if not self.timeout_secs > 0:
            raise UsageError(f"timeout_secs is {self.timeout_secs}: a scoring needs more than 0 s")

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Settings:
        """Read what `to_json` wrote; keys of other versions are left aside."""
        known = {name: data[name] for name in cls.__dataclass_fields__ if name in data}
        known["limits"] = Limits(**known["limits"])
        return cls(
            **{
                **known,
                "task": Task(**known["task"]),
                "x0": tuple(known["x0"]),
                "budget": Budget(**known["budget"]),
            }
        )


def as_x0(x0: Any) -> tuple[X, ...]:
    """Return the first candidates: none, one, or several. Raises UsageError for what is no candidate.

    >>> as_x0("[5, 3]")
    ('[5, 3]',)
    >>> as_x0(["a", "b"])
    ('a', 'b')
    """
    if x0 is None:
        return ()
    several = tuple(x0) if isinstance(x0, list | tuple) else (x0,)
    for x in several:
        if not isinstance(x, str | dict):
            raise UsageError(f"x0 holds {x!r}, a {type(x).__name__}: x is a text or a dict; write it as text")
    return several
