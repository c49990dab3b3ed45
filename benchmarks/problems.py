"""Two toy problems for proposers of parameters, both with the maximum 1.0."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llm_optimize.space import Bool, Choice, Float, Int, Space

_ACTIVATIONS = {"relu": 1.0, "gelu": 0.9, "tanh": 0.7, "none": 0.3}


@dataclass(frozen=True)
class Problem:
    """A space and the score of its x; `best` is an x with the highest score there is, 1.0."""

    name: str
    space: Space
    f: Callable[[Mapping[str, Any]], float]
    best: Mapping[str, Any]


def bowl(x: Mapping[str, Any]) -> float:
    """Problem A: three numbers, each with one best value."""
    return float(1 - ((x["a"] - 0.3) ** 2 + (x["b"] - 0.7) ** 2 + (x["c"] - 0.5) ** 2))


def network(x: Mapping[str, Any]) -> float:
    """Problem B: a network's accuracy; the best learning rate and dropout depend on the choices."""
    act, norm = x["act"], x["norm"]
    score: float = math.exp(
        -((math.log10(x["lr"]) - (-2 if act == "relu" else -3)) ** 2)
    )
    score *= 1 - 0.8 * abs(x["drop"] - (0.1 if norm else 0.5))
    score *= 1 - 0.15 * abs(math.log2(x["width"]) - 7)
    score *= _ACTIVATIONS[act]
    return score if norm or act != "relu" else 0.8 * score


A = Problem(
    "A",
    Space({name: Float(0, 1) for name in "abc"}),
    bowl,
    {"a": 0.3, "b": 0.7, "c": 0.5},
)
B = Problem(
    "B",
    Space(
        {
            "lr": Float(1e-5, 1e-1, log=True),
            "drop": Float(0, 0.9),
            "width": Int(8, 512, log=True),
            "act": Choice(*_ACTIVATIONS),
            "norm": Bool(),
        }
    ),
    network,
    {"lr": 1e-2, "drop": 0.1, "width": 128, "act": "relu", "norm": True},
)
