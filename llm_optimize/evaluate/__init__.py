"""f and x to a score, or to what went wrong; f's answer is never trusted, a failure has no number.

One `Evaluator` scores the candidates of a run, each in a sandbox under its deadline. How f is asked is said by plain
records: `Stage`s, cheap ones first; `Examples`, where f is f(x, example); `Repeats`, where f is noisy; a `Judging`
holds what goes beyond one call of f.
"""

from __future__ import annotations

from ..records import Evaluation
from ._evaluation import IMPOSSIBLE, MINIBATCH, SYNTAX
from ._evaluator import Evaluator, Judging
from ._examples import Examples
from ._format_3 import Mean
from ._repeats import Repeats, mean_of
from ._score import as_score, judge
from ._stages import Stage, as_stages
from ._trials import TrialJudge

__all__ = [
    "IMPOSSIBLE",
    "MINIBATCH",
    "SYNTAX",
    "Evaluation",
    "Evaluator",
    "Examples",
    "Judging",
    "Mean",
    "Repeats",
    "Stage",
    "TrialJudge",
    "as_score",
    "as_stages",
    "judge",
    "mean_of",
]
