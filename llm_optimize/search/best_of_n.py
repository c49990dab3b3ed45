"""Search `best_of_n`: independent attempts, all built on x0; the baseline for every other search.

    parent = x0 (the best, where there are several)
    show     nothing

Source: the plain baseline; for language models, repeated sampling (Brown et al., arXiv 2407.21787).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..records import Plan, Trial, rank


class BestOfN:
    """Always build on x0, the best of several; show nothing else, and remember nothing.

    >>> from llm_optimize.records import Status
    >>> search = BestOfN()
    >>> search.observe(Trial.of(0, "5", Status.COMPLETE, "x0", score=1.0))
    >>> search.observe(Trial.of(1, "6", Status.COMPLETE, "model:m", score=2.0, parent=0))
    >>> search.ask(Random(1), []).parent.x
    '5'
    """

    def __init__(self) -> None:
        self._starts: dict[int, Trial] = {}

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan with x0 as its parent, or with none where there is no x0."""
        return Plan(max(self._starts.values(), key=rank, default=None))

    def observe(self, trial: Trial) -> None:
        """Note the score of x0, and nothing of any other trial."""
        if trial.source == "x0":
            self._starts[trial.number] = trial
