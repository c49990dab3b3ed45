"""With noisy f: a trial that beats the champion is scored again together with it before it is crowned."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from ..evaluate import Evaluator, Repeats
from ..records import Trial
from ._loop import Loop


class Crown:
    """Settles who is best, one challenge at a time."""

    def __init__(self, loop: Loop, evaluator: Evaluator, repeats: Repeats) -> None:
        """Take the run, who scores, and how often."""
        self._loop = loop
        self._evaluator = evaluator
        self._repeats = repeats
        self._lock = asyncio.Lock()

    async def challenged(self, trial: Trial) -> Trial:
        """Return the trial after as many scorings as its rank needs; the champion's are stored and told."""
        if not trial.scored:
            return trial
        async with self._lock:
            champion = self._loop.champion
            if champion is None or not _better(trial, champion):
                return trial
            trial, again = await asyncio.gather(self._full(trial), self._full(champion))
            self._loop.keep(trial)
            self._tell(champion, again)
            await self._settle()
            return trial

    async def _settle(self) -> None:
        """Score again whoever is best now that the champion's mean may have fallen."""
        while (best := self._loop.champion) is not None and self._tell(best, await self._full(best)):
            continue

    def _tell(self, before: Trial, again: Trial) -> bool:
        """Store further scorings of a finished trial; return whether there were any."""
        changed = again.scorings != before.scorings
        if changed:
            self._loop.scored_again(again)
        return changed

    async def _full(self, trial: Trial) -> Trial:
        """Return a trial with all the scorings that a champion needs."""
        if trial.x is None:
            return trial
        seeds = self._repeats.seeds(self._loop.seed(trial.number), trial.evaluation)
        return replace(trial, evaluation=await self._evaluator.more(trial.x, trial.evaluation, seeds))


def _better(trial: Trial, champion: Trial) -> bool:
    return trial.score is not None and champion.score is not None and trial.score > champion.score
