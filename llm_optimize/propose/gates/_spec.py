"""Gate specification: two proposers, the options of a rule, and their text in a store."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ...errors import UnknownName, UsageError
from ...records import Proposer
from ._gate import Gate
from ._rules import AdaptiveRule, FixedAlphaRule

_RULES: dict[str, type[AdaptiveRule | FixedAlphaRule]] = {
    "adaptive": AdaptiveRule,
    "fixed_alpha": FixedAlphaRule,
}
_ALIASES = {  # the names of MAT-HPO
    "adaptive": {
        "performance_threshold": "threshold",
        "slope_threshold": "threshold",
        "min_episodes": "min_trials",
    },
    "fixed_alpha": {"llm_alpha": "alpha"},
}


@dataclass(frozen=True)
class GateSpec:
    """A gate whose proposers may be names; `read` reads its text.

    Raises UnknownName for another gate or option, UsageError for an option that is not possible,
    or for a gate as one of the two proposers.

    >>> str(GateSpec("adaptive", "model", "tpe", {"min_episodes": 8}))
    'adaptive(model, tpe, min_trials=8)'
    """

    gate: str  # adaptive | fixed_alpha
    model: str | Proposer  # asked now and then
    other: str | Proposer  # asked otherwise
    options: Mapping[str, Any]
    rule: AdaptiveRule | FixedAlphaRule = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.gate not in _RULES:
            raise UnknownName("gate", self.gate, _RULES)
        for part in self.parts:
            if isinstance(part, GateSpec | Gate):
                raise UsageError(
                    "a gate stands inside a gate: give two proposers that are no gates"
                )
        options = _without_aliases(self.gate, self.options)
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "rule", _RULES[self.gate](**options))

    @property
    def parts(self) -> tuple[str | Proposer, str | Proposer]:
        """The model and the other proposer."""
        return self.model, self.other

    def resolve(self, make: Callable[[str], Proposer]) -> Gate:
        """Return the gate, with the proposers that `make` returns for their names."""
        model, other = self.parts
        if isinstance(model, str):
            model = make(model)
        if isinstance(other, str):
            other = make(other)
        return Gate(model, other, self.rule)

    def __str__(self) -> str:
        words = []
        for part in self.parts:
            name = part if isinstance(part, str) else type(part).__name__
            words.append(name)
        for name, value in self.options.items():
            words.append(f"{name}={value!r}")
        return f"{self.gate}({', '.join(words)})"


def _without_aliases(
    gate: str,
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the options by our own names. Raises UnknownName with the nearest one."""
    names = [field.name for field in fields(_RULES[gate])]
    aliases = _ALIASES[gate]
    for word in options:
        if word not in names and word not in aliases:
            kind = f"option of the gate {gate}"
            raise UnknownName(kind, word, [*names, *aliases])
    renamed = {}
    for word, value in options.items():
        renamed[aliases.get(word, word)] = value
    return renamed


def fixed_alpha(
    model: str | Proposer = "model",
    other: str | Proposer = "policy_gradient",
    **options: Any,
) -> GateSpec:
    """Return a gate that asks the model with the probability alpha: a proposer for a run.

    Args:
        model: asked with that probability: the name of a proposer, or one.
        other: asked otherwise, and where the model fails.
        options: those of `FixedAlphaRule`: alpha, blend, cooldown; `llm_alpha` means alpha.

    Raises UnknownName with the nearest name, and UsageError for an option that is not possible.

    >>> str(fixed_alpha("model", "mutation", llm_alpha=0.5))
    'fixed_alpha(model, mutation, alpha=0.5)'
    """
    return GateSpec("fixed_alpha", model, other, options)


def adaptive(
    model: str | Proposer = "model",
    other: str | Proposer = "policy_gradient",
    **options: Any,
) -> GateSpec:
    """Return a gate that asks the model when the scores stop rising: a proposer for a run.

    Args:
        model: asked on a plateau: the name of a proposer, or one.
        other: asked otherwise, and where the model fails.
        options: those of `AdaptiveRule`: threshold, window, min_trials, cooldown, slope_scale,
            max_model_fraction, max_model_trials. `performance_threshold` and `slope_threshold`
            mean threshold, `min_episodes` min_trials.

    Raises UnknownName with the nearest name, and UsageError for an option that is not possible.

    >>> str(adaptive("model", "tpe", performance_threshold=0.02))
    'adaptive(model, tpe, threshold=0.02)'
    """
    return GateSpec("adaptive", model, other, options)


def read(text: str) -> GateSpec:
    """Return the gate of a text such as "adaptive(model, tpe, threshold=0.02)".

    Raises UsageError for any other text, and what `adaptive` and `fixed_alpha` raise.

    >>> read("fixed_alpha(model, tpe, alpha=0.5)").options
    {'alpha': 0.5}
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not isinstance(call, ast.Call):
            raise ValueError("not a call")
        if not isinstance(call.func, ast.Name):
            raise ValueError("not a call of a name")
        names = []
        for argument in call.args:
            if isinstance(argument, ast.Name):  # a name without quotes
                names.append(argument.id)
            else:
                names.append(str(ast.literal_eval(argument)))
        model, other = names
        options = {}
        for keyword in call.keywords:
            name = str(keyword.arg)
            options[name] = ast.literal_eval(keyword.value)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(
            f"{text!r} is not a gate: write adaptive(model, tpe, threshold=0.02), "
            "or fixed_alpha(...)"
        ) from None
    return GateSpec(call.func.id, model, other, options)
