"""Gates: they decide for each trial which of two proposers writes it, and why.

`fixed_alpha` draws at random; `adaptive` asks the model when the scores stop rising. Both
describe a gate by the names of its proposers, or by the proposers: `optimize.run(...,
proposer=gates.adaptive("model", "policy_gradient"))`. The run makes a `Gate` of that.
"""

from __future__ import annotations

from ._gate import Gate
from ._rules import AdaptiveRule, Decision, FixedAlphaRule, Rule
from ._spec import GateSpec, adaptive, fixed_alpha, read

__all__ = [
    "AdaptiveRule",
    "Decision",
    "FixedAlphaRule",
    "Gate",
    "GateSpec",
    "Rule",
    "adaptive",
    "fixed_alpha",
    "read",
]
