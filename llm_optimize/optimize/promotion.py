"""Further scorings of finished trials: before a champion is believed, and after f has changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

from ..errors import SandboxError
from ..evaluate import Repeats
from ..records import Trial, describe_failure, rank
from .build import Judge
from .state import RunState

_MAX_FAILURES = 3  # trials in a row without a score by a changed f


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

    async def anew(self) -> AsyncIterator[Trial]:
        """Yield trials that a changed f has scored anew, until the champion is one that it scored.

        Other scores of the former f are lower than that, and are left as they are. Where no trial
        has a score, those of x0 are scored anew.

        Raises SandboxError where f gives no score to three trials in a row, or to none at all: then
        it may be broken, and these trials keep their scores.
        """
        state = self._state
        if state.champion is None:
            for number in range(len(state.settings.x0)):
                if number in state.former:
                    yield await self._by_present_f(state.trials[number])
        failed: list[Trial] = []
        while (best := self._best_without(failed)) is not None:
            if best.number not in state.former:
                break
            again = await self._by_present_f(best)
            if not again.scored:
                failed.append(again)
                if len(failed) == _MAX_FAILURES:
                    raise _no_score(failed)
                continue
            for one in (*failed, again):
                yield one
            failed = []
        if best is None and failed:
            raise _no_score(failed)
        for one in failed:
            yield one

    def _best_without(self, failed: Collection[Trial]) -> Trial | None:
        """Return the best trial but for some that have failed since."""
        if not failed:
            return self._state.champion
        numbers = {trial.number for trial in failed}
        trials = self._state.trials.values()
        left = [one for one in trials if one.scored and one.number not in numbers]
        return max(left, key=rank, default=None)

    async def _by_present_f(self, trial: Trial) -> Trial:
        """Return a trial as if it had not been scored before."""
        evaluation = await self._judge.score(trial, None)
        again = replace(trial, evaluation=evaluation)
        repeats = self._repeats
        if repeats is None or not repeats.champion or not again.scored:
            return again
        return await self._full(again, repeats)

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


def _no_score(failed: Sequence[Trial]) -> SandboxError:
    """Return that the changed f scores none of the best trials."""
    numbers = ", ".join(str(trial.number) for trial in failed)
    return SandboxError(
        f"the changed f gives no score to the best so far (trial {numbers}), and their scores "
        f"were kept: mend f, and resume ({describe_failure(failed[0])})"
    )
