"""Scoring of candidates: from f and x to a score, or to what went wrong.

What f returns is never trusted, and a failure has no number. One `Evaluator` scores the candidates
of a run, each in a sandbox under its deadline. How f is called is described by plain records:
`Stage`s, cheap ones first; `Examples`, where f is f(x, example); `Repeats`, where f is noisy; a
`Judging` holds what goes beyond one call of f.

    evaluator    the way of one candidate: stages, then examples or repeats
    backends     one call of f, in a sandbox or by an executor -> Outcome
    evaluation   one Outcome -> Evaluation
    stages, examples, challenge, repeats    what several of these amount to
"""

from __future__ import annotations

from ..records import Evaluation
from .evaluation import IMPOSSIBLE, MINIBATCH, SYNTAX, as_score, judge
from .evaluator import Evaluator, Judging, TrialJudge
from .examples import Examples
from .repeats import Mean, Repeats, mean_of
from .stages import Stage, as_stages

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
