"""Build on the best so far, beside a few good and different others; widen when the run is stale."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ..records import Plan, Trial
from . import _hints
from ._board import NOVELTY, Board
from ._checks import share, whole
from ._elite import Elite, by_rank

_KEPT = 50  # best trials
_WIDEST = 2.5  # of the width that staleness gives
_HINTED = 0.5  # of the plans of a stale run


class Best:
    """Mostly the champion, else a rank-weighted pick among the best, beside good and different others.

    What is shown is chosen far apart among the twenty best (novelty search in small), and changes in batches of ten
    trials. After `patience` trials without a new champion the run is stale: weaker parents become likelier, what is
    shown comes from further down, and half of the plans carry a hint, to try something unlike or to combine two.

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
        """Take what to show, and how greedy to be.

        Args:
            shown: trials to show, the champion among them, from 1; up to 5 more for a while after new champions.
            failures: failed trials to remember in a line each, from 1; up to 9 more until the batch ends.
            champion_share: of the plans that build on the champion, 0 to 1, while the run is not stale.
            patience: trials without a new champion until the run is stale, from 1.
            novelty: how much being different counts against being good in what is shown, 0 to 1.

        Raises UsageError for a value out of these ranges.
        """
        self._champion_share = share("best", "champion_share", champion_share)
        self._patience = whole("best", "patience", patience, 1)
        self._elite = Elite(_KEPT)
        self._board = Board(
            whole("best", "shown", shown, 1),
            whole("best", "failures", failures, 1),
            share("best", "novelty", novelty),
        )
        self._stale = 0  # trials since there was a new champion

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan; a parent that others in flight are built on is taken last."""
        if not len(self._elite):
            return self._board.repair(pending)
        width = self._width()
        parent = by_rank(self._elite, rng, pending, self._champion_share / width, width)
        return self._board.plan(parent, self._hint(parent, rng))

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, or what is new of one; an x that is known teaches nothing."""
        before = self._elite.champion
        self._elite.observe(trial)
        after = self._elite.champion
        same = (
            before is not None and after is not None and before.number == after.number
        )
        self._stale = self._stale + 1 if same else 0
        self._board.observe(trial, self._elite, self._width())

    def _width(self) -> float:
        """Return 1 while there is progress, and more the longer there is none."""
        return min(_WIDEST, max(1.0, self._stale / self._patience))

    def _hint(self, parent: Trial, rng: Random) -> str:
        if self._stale < self._patience or rng.random() >= _HINTED:
            return ""
        others = [
            trial for trial in self._board.trials if trial.number != parent.number
        ]
        if others and rng.random() < 0.5:
            return _hints.combine(parent, rng.choice(others))
        return _hints.UNLIKE
