"""Search `best`: build on the best so far, and search more widely when there is no progress.

    width = 1 while there is progress; stale / patience afterwards, at most WIDEST
    parent = champion                  with probability champion_share / width
             one of the best by rank   otherwise; a larger width makes weaker ones likelier
    show     the champion and the best that are far apart; a larger width, from further down
    hint     only when stale >= patience, in HINTED of the plans:
                 "combine two trials" or "try something unlike all of these"

`stale` counts trials since there was a new champion. A parent that nothing in flight is built on
comes first.

Sources: rank selection and greedy max-min diversity are standard in evolutionary computation; the
change of instructions after a stall is that of AdaEvolve (arXiv 2602.20133). The constants here and
the defaults of the options were set by hand, and the search was measured with them as a whole:
benchmarks/search.py, 2026-11-21, the table in docs/search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..checks import share, whole_number
from ..records import Plan, Trial
from . import hints
from .selection import KEPT, NOVELTY, Elite, PromptSelection, pick_parent

_WIDEST = 2.5  # limit of the width
_HINTED = 0.5  # share of the plans of a stale run that carry a hint
_COMBINING = 0.5  # share of these hints that ask to combine two trials


class Best:
    """Mostly the champion, else a rank-weighted pick among the best, beside diverse others.

    What is shown is chosen far apart among the twenty best, and changes in batches of ten trials.
    After `patience` trials without a new champion the run is stale: weaker parents become likelier,
    what is shown comes from further down, and half of the plans carry a hint.

    Args:
        shown: trials to show, the champion among them, from 1; up to 5 more for a while after new
            champions.
        failures: failed trials to show in a line each, from 1; up to 9 more until the batch ends.
        champion_share: share of the plans that build on the champion while the run is not stale,
            0 to 1.
        patience: trials without a new champion until the run is stale, from 1.
        novelty: weight of being different against being good in what is shown, 0 to 1.

    Raises:
        UsageError: a value is out of its range.

    >>> from llm_optimize.records import Status
    >>> search = Best(shown=4)
    >>> for number, score in enumerate([0.1, 0.7, 0.4]):
    ...     search.observe(Trial.of(number, f"x{number}", Status.COMPLETE, "x0", score=score))
    >>> plan = search.ask(Random(0), pending=[])
    >>> plan.parent.number, [trial.number for trial in plan.context]
    (1, [0, 1, 2])
    """

    def __init__(
        self,
        shown: int = 6,
        failures: int = 8,
        champion_share: float = 0.85,
        patience: int = 30,
        novelty: float = NOVELTY,
    ) -> None:
        self._champion_share = share("best", "champion_share", champion_share)
        self._patience = whole_number("best", "patience", patience, 1)
        self._elite = Elite(KEPT)
        self._prompt = PromptSelection(
            whole_number("best", "shown", shown, 1),
            whole_number("best", "failures", failures, 1),
            share("best", "novelty", novelty),
        )
        self._stale = 0  # trials since there was a new champion

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan; a parent that others in flight are built on is taken last."""
        if not len(self._elite):
            return self._prompt.plan_without_scores(pending)
        width = self._width()
        champion_share = self._champion_share / width
        parent = pick_parent(self._elite, rng, pending, champion_share, width)
        hint = self._hint(parent, rng)
        return self._prompt.plan(parent, hint)

    def observe(self, trial: Trial) -> None:
        """Add a finished trial, or its newer record; an x that is known teaches nothing."""
        before = self._elite.champion
        self._elite.observe(trial)
        after = self._elite.champion
        if _number(before) == _number(after) and after is not None:
            self._stale += 1
        else:
            self._stale = 0
        self._prompt.observe(trial, self._elite, self._width())

    def _width(self) -> float:
        """Return 1 while there is progress, and more the longer there is none."""
        width = self._stale / self._patience
        return min(_WIDEST, max(1.0, width))

    def _hint(self, parent: Trial, rng: Random) -> str:
        if self._stale < self._patience or rng.random() >= _HINTED:
            return ""
        shown = self._prompt.trials
        others = [trial for trial in shown if trial.number != parent.number]
        if others and rng.random() < _COMBINING:
            return hints.combine(parent, rng.choice(others))
        return hints.UNLIKE


def _number(trial: Trial | None) -> int | None:
    return None if trial is None else trial.number
