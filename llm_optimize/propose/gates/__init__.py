"""Gates: they decide for each trial who proposes it, a model or another proposer, and say why.

`fixed_alpha` throws dice; `adaptive` asks the model when the scores stop rising. The proposers of a gate are named, or
given as objects: `optimize.run(..., proposer=gates.adaptive("model", "policy_gradient"))`.
"""

from __future__ import annotations

from ._adaptive import Adaptive, AdaptiveRule
from ._fixed_alpha import FixedAlpha, FixedAlphaRule
from ._gate import Decision, Gate
from ._spec import GateSpec, adaptive, fixed_alpha, read

__all__ = [
    "Adaptive",
    "AdaptiveRule",
    "Decision",
    "FixedAlpha",
    "FixedAlphaRule",
    "Gate",
    "GateSpec",
    "adaptive",
    "fixed_alpha",
    "read",
]
