"""Further scorings of finished trials: before a champion is believed, and after f has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from ..evaluate import Repeats
from ..records import Trial
from .build import Judge
from .state import RunState


class Promotion:
    """Scores trials again, one challenger at a time.

    What it yields is to be written and learned before the next is asked for: what comes next
    depends on the champion by then.

    Args:
        state: of the run.
        judge: scores trials.
        repeats: how often a champion is scored; None: once.
    """

    def __init__(
        self, state: RunState, judge: Judge, repeats: Repeats | None = None
    ) -> None:
        self._state = state
        self._judge = judge
        self._repeats = repeats
        self._one_at_a_time = asyncio.Lock()

    async def before(self, trial: Trial) -> AsyncIterator[Trial]:
        """Yield each trial that a noisy f scores again before this one may become champion.

        First the challenger, then the champion it would beat; then the trial that is best while
        that one lacks scorings.
        """
        repeats, state = self._repeats, self._state
        if repeats is None or not repeats.champion:
            return
        async with self._one_at_a_time:
            champion = state.champion
            if champion is None or not state.beats_champion(trial):
                return
            both = self._full(trial, repeats), self._full(champion, repeats)
            trial, again = await asyncio.gather(*both)
            yield trial
            if again is not champion:
                yield again
            while (best := state.champion) is not None:
                again = await self._full(best, repeats)
                if again is best:
                    return
                yield again

    async def _full(self, trial: Trial, repeats: Repeats) -> Trial:
        """Return a trial after as many scorings as a champion needs; the same where it had them."""
        if trial.x is None:
            return trial
        first_seed = self._state.scoring_seed(trial.number)
        seeds = repeats.seeds(first_seed, trial.evaluation)
        if not seeds:
            return trial
        evaluation = await self._judge.more(trial, seeds)
        return replace(trial, evaluation=evaluation)
