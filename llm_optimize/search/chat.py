"""Search `chat`: one conversation, in which the newest x is improved.

    parent = the newest trial (that no trial in flight is built on)
    show     all trials before it, oldest first, as a conversation; the champion always
    when more than max_trials are in it: the older half leaves at once

The older half leaves at once, not trial by trial, so that in between each prompt begins as the one
before it and the caches of model providers serve it. What does not fit into the prompt is folded
into a line each where prompts are laid out.

Source: version 1 of this library (2023); the idea is that of OPRO (arXiv 2309.03409), in the form
of a dialogue. The default of `max_trials` was set by hand; measured with benchmarks/search.py,
2026-11-21, the table in docs/search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..checks import whole_number
from ..records import Plan, Trial, rank
from .selection import least_pending


class Chat:
    """Build on the newest trial; show those before it as a conversation.

    Args:
        max_trials: trials in the conversation at most, from 1. At least half as many stay, beside
            the champion.

    Raises:
        UsageError: `max_trials` is below 1.

    >>> from llm_optimize.records import Status
    >>> search = Chat(max_trials=2)
    >>> for number, score in enumerate([0.9, 0.5, 0.4]):
    ...     search.observe(Trial.of(number, f"x{number}", Status.COMPLETE, "x0", score=score))
    >>> plan = search.ask(Random(0), pending=[])
    >>> plan.parent.number, [trial.number for trial in plan.context]
    (2, [0])
    """

    def __init__(self, max_trials: int = 100) -> None:
        self._max_trials = whole_number("chat", "max_trials", max_trials, 1)
        self._recent: list[Trial] = []
        self._champion: Trial | None = None
        # The highest number among those that left: observed again, they do not come back.
        self._last_left = -1

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return the conversation; nothing is random. A parent in flight moves before the last."""
        if not self._recent:
            return Plan(parent=None, transcript=True)
        newest = least_pending(self._recent, pending)[-1]
        earlier = [trial for trial in self._recent if trial is not newest]
        champion = self._champion
        if champion and all(trial is not champion for trial in self._recent):
            earlier.insert(0, champion)
        context = tuple(earlier)
        return Plan(newest, context, transcript=True)

    def observe(self, trial: Trial) -> None:
        """Add a trial to the conversation, or its newer record; one without an x is not shown."""
        if trial.x is None:
            return
        numbers = [other.number for other in self._recent]
        if trial.number in numbers:
            self._recent[numbers.index(trial.number)] = trial
        elif trial.number > self._last_left:
            self._recent.append(trial)
        if len(self._recent) > self._max_trials:
            staying = self._max_trials // 2 or 1
            leaving = [other.number for other in self._recent[:-staying]]
            self._last_left = max(self._last_left, *leaving)
            del self._recent[:-staying]
        self._update_champion(trial)

    def _update_champion(self, trial: Trial) -> None:
        """Choose the champion anew; where its own score changed, among all that are known."""
        if self._champion is not None and self._champion.number != trial.number:
            candidates = [self._champion, trial]
        else:
            candidates = [*self._recent, trial]
        scored = [candidate for candidate in candidates if candidate.scored]
        self._champion = max(scored, key=rank, default=None)
