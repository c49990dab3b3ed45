"""A gate as it is written down: its proposers by name or as objects, its options, and its text in a store."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, overload

from ...errors import UnknownName, UsageError
from ...records import Proposer
from ._adaptive import Adaptive, AdaptiveRule
from ._fixed_alpha import FixedAlpha, FixedAlphaRule
from ._gate import Gate

_RULES: dict[str, type[AdaptiveRule] | type[FixedAlphaRule]] = {
    "adaptive": AdaptiveRule,
    "fixed_alpha": FixedAlphaRule,
}
_ALIASES = {
    "adaptive": {
        "performance_threshold": "threshold",
        "slope_threshold": "threshold",
        "min_episodes": "min_trials",
    },
    "fixed_alpha": {"llm_alpha": "alpha"},
}


@dataclass(frozen=True)
class GateSpec:
    """A gate, before its names stand for proposers; its text is what `read` reads.

    Raises UnknownName for another gate or option, UsageError for an option that cannot be, or for a gate in a gate.

    >>> str(GateSpec("adaptive", "model", "tpe", {"min_episodes": 8}))
    'adaptive(model, tpe, min_trials=8)'
    """

    gate: str  # adaptive | fixed_alpha
    model: str | Proposer  # who is asked now and then
    other: str | Proposer  # who is asked otherwise
    options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.gate not in _RULES:
            raise UnknownName("gate", self.gate, _RULES)
        for part in (self.model, self.other):
            if isinstance(part, GateSpec | Gate):
                raise UsageError(
                    "a gate stands inside a gate: give two proposers that are none"
                )
        object.__setattr__(self, "options", _known(self.gate, self.options))
        _RULES[self.gate](**self.options)

    @property
    def parts(self) -> tuple[str | Proposer, str | Proposer]:
        """The model and the other proposer."""
        return self.model, self.other

    def resolve(self, make: Callable[[str], Proposer]) -> Gate:
        """Return the gate, with the proposers that `make` returns for their names."""
        model, other = (
            make(part) if isinstance(part, str) else part for part in self.parts
        )
        gate: type[Adaptive] | type[FixedAlpha] = (
            Adaptive if self.gate == "adaptive" else FixedAlpha
        )
        return gate(model, other, **self.options)

    def __str__(self) -> str:
        names = [
            part if isinstance(part, str) else type(part).__name__
            for part in self.parts
        ]
        return f"{self.gate}({', '.join([*names, *(f'{name}={value!r}' for name, value in self.options.items())])})"


def _known(gate: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options by the names that we know them by. Raises UnknownName with the nearest."""
    names = [field.name for field in fields(_RULES[gate])]
    for word in options:
        if word not in names and word not in _ALIASES[gate]:
            raise UnknownName(
                f"option of the gate {gate}", word, [*names, *_ALIASES[gate]]
            )
    return {_ALIASES[gate].get(word, word): value for word, value in options.items()}


@overload
def fixed_alpha(
    model: str = ..., other: str | Proposer = ..., **options: Any
) -> GateSpec: ...
@overload
def fixed_alpha(model: Proposer, other: str = ..., **options: Any) -> GateSpec: ...
@overload
def fixed_alpha(model: Proposer, other: Proposer, **options: Any) -> Gate: ...
def fixed_alpha(
    model: str | Proposer = "model",
    other: str | Proposer = "policy_gradient",
    **options: Any,
) -> GateSpec | Gate:
    """Return a gate that lets the model propose with the probability alpha, for `optimize.run(..., proposer=...)`.

    Of two proposers it is the gate itself; where one is named, it is a `GateSpec`, and the run makes the gate of it.

    Args:
        model: asked with that probability: the name of a proposer, or one.
        other: asked otherwise, and where the model fails.
        options: those of `FixedAlpha`: alpha, blend, cooldown; `llm_alpha` means alpha.

    Raises UnknownName with the nearest name, and UsageError for an option that cannot be.

    >>> str(fixed_alpha("model", "mutation", llm_alpha=0.5))
    'fixed_alpha(model, mutation, alpha=0.5)'
    """
    return _made_if_it_can(GateSpec("fixed_alpha", model, other, options))


@overload
def adaptive(
    model: str = ..., other: str | Proposer = ..., **options: Any
) -> GateSpec: ...
@overload
def adaptive(model: Proposer, other: str = ..., **options: Any) -> GateSpec: ...
@overload
def adaptive(model: Proposer, other: Proposer, **options: Any) -> Gate: ...
def adaptive(
    model: str | Proposer = "model",
    other: str | Proposer = "policy_gradient",
    **options: Any,
) -> GateSpec | Gate:
    """Return a gate that asks the model when the scores stop rising, for `optimize.run(..., proposer=...)`.

    Of two proposers it is the gate itself; where one is named, it is a `GateSpec`, and the run makes the gate of it.

    Args:
        model: asked on a plateau: the name of a proposer, or one.
        other: asked otherwise, and where the model fails.
        options: those of `Adaptive`: threshold, window, min_trials, cooldown, slope_scale, max_model_fraction,
            max_model_trials. `performance_threshold` and `slope_threshold` mean threshold, `min_episodes` min_trials.

    Raises UnknownName with the nearest name, and UsageError for an option that cannot be.

    >>> adaptive(coldown=3)
    Traceback (most recent call last):
    llm_optimize.errors.UnknownName: unknown option of the gate adaptive 'coldown': did you mean 'cooldown'?
    """
    return _made_if_it_can(GateSpec("adaptive", model, other, options))


def _made_if_it_can(spec: GateSpec) -> GateSpec | Gate:
    def unknown(name: str) -> Proposer:
        raise UsageError(f"{name!r} is a name, which only a run can look up")

    return (
        spec
        if any(isinstance(part, str) for part in spec.parts)
        else spec.resolve(unknown)
    )


def read(text: str) -> GateSpec:
    """Return the gate that a text such as "adaptive(model, tpe, threshold=0.02)" stands for.

    Raises UsageError for any other text, and what `adaptive` and `fixed_alpha` raise.

    >>> read("fixed_alpha(model, tpe, alpha=0.5)").options
    {'alpha': 0.5}
    """
    wrong = UsageError(
        f"{text!r} is no gate: write adaptive(model, tpe, threshold=0.02), or fixed_alpha(...)"
    )
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if (
            not isinstance(call, ast.Call)
            or not isinstance(call.func, ast.Name)
            or len(call.args) != 2
        ):
            raise wrong
        model, other = (
            arg.id if isinstance(arg, ast.Name) else str(ast.literal_eval(arg))
            for arg in call.args
        )
        options = {
            str(keyword.arg): ast.literal_eval(keyword.value)
            for keyword in call.keywords
        }
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise wrong from None
    return GateSpec(call.func.id, model, other, options)
