"""Scoring of whole trials, as a run asks for it."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from ..records import Evaluation, Trial, X
from ._evaluator import Evaluator


class TrialJudge:
    """Scores the trials of a run by an `Evaluator`, which it closes."""

    def __init__(self, evaluator: Evaluator) -> None:
        """Take who calls f."""
        self._evaluator = evaluator

    async def score(self, trial: Trial, parent: Trial | None) -> Evaluation:
        """Return what f says of the trial's x; nothing that f does raises here."""
        return await self._evaluator.score(
            _x(trial), trial.seed or 0, parent, trial.key
        )

    async def more(self, trial: Trial, seeds: Sequence[int]) -> Evaluation:
        """Return what f says of it after one further scoring under each of these seeds."""
        return await self._evaluator.more(_x(trial), trial.evaluation, seeds)

    async def test(self, trial: Trial) -> Evaluation:
        """Return its mean over the test examples."""
        return await self._evaluator.test(_x(trial), trial.seed or 0)

    def close(self) -> None:
        """End all scorings in flight and the sandboxes."""
        self._evaluator.close()


def _x(trial: Trial) -> X:
    if trial.x is None:
        raise UsageError(f"trial {trial.number} has no x: nothing can be scored")
    return trial.x
