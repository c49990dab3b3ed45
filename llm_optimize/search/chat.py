"""The conversation of 2023: every x so far and what became of it, oldest first, the newest to be improved."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..records import Plan, Trial, rank
from ._checks import whole
from ._elite import free


class Chat:
    """Build on the newest trial; show those before it as a conversation.

    The older half leaves the conversation at once, so that in between each prompt begins as the one before; the
    champion stays. What does not fit into the prompt is folded into a line each, where prompts are laid out.

    >>> from llm_optimize.records import Status
    >>> search = Chat(max_trials=2)
    >>> for number, score in enumerate([0.9, 0.5, 0.4]):
    ...     search.observe(Trial.of(number, f"x{number}", Status.COMPLETE, "x0", score=score))
    >>> plan = search.ask(Random(0), pending=[])
    >>> plan.parent.number, [trial.number for trial in plan.context]
    (2, [0])
    """

    def __init__(self, max_trials: int = 100) -> None:
        """Keep at most `max_trials` trials in the conversation, from 1, and at least half as many, beside the champion.

        Raises UsageError for a number below 1.
        """
        self._max_trials = whole("chat", "max_trials", max_trials, 1)
        self._recent: list[Trial] = []
        self._champion: Trial | None = None
        self._last_left = (
            -1
        )  # the highest number of those that left: told again, they do not come back

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the conversation; nothing here is random. One that is in flight already moves before the last."""
        if not self._recent:
            return Plan(parent=None, transcript=True)
        newest = free(self._recent, pending)[-1]
        earlier = [trial for trial in self._recent if trial is not newest]
        if self._champion and all(
            trial is not self._champion for trial in self._recent
        ):
            earlier.insert(0, self._champion)
        return Plan(parent=newest, context=tuple(earlier), transcript=True)

    def observe(self, trial: Trial) -> None:
        """Add a trial to the conversation, or what is new of it; one without an x says nothing."""
        if trial.x is None:
            return
        known = [
            place
            for place, other in enumerate(self._recent)
            if other.number == trial.number
        ]
        if known:
            self._recent[known[0]] = trial
        elif trial.number > self._last_left:
            self._recent.append(trial)
        if len(self._recent) > self._max_trials:
            staying = self._max_trials // 2 or 1
            self._last_left = max(
                self._last_left, *(other.number for other in self._recent[:-staying])
            )
            del self._recent[:-staying]
        self._crown(trial)

    def _crown(self, trial: Trial) -> None:
        """Choose the champion anew; where the old one lost its score or part of it, among those still known."""
        if self._champion is not None and self._champion.number != trial.number:
            candidates = [self._champion, trial]
        else:
            candidates = [*self._recent, trial]
        self._champion = max(
            (one for one in candidates if one.scored), key=rank, default=None
        )
