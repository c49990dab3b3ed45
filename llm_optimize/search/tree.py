"""Several drafts first; then improve the best, or repair what failed: as in AIDE (arXiv 2502.13138)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ..records import Plan, Trial
from . import _hints
from ._board import Board, fails
from ._checks import share, whole
from ._elite import Elite, free

_KEPT = 50  # best trials
_BROKEN = 20  # failed trials that may be repaired


@dataclass(frozen=True)
class _Broken:
    """A failed trial: how many failures led to it, and what the last scored trial before them had."""

    trial: Trial
    depth: int
    worth: float


class Tree:
    """Independent drafts, then improvements of the best and repairs of failures, each a node of a tree.

    A node whose children bring no progress makes way for the next best: `patience` of them count as one place among the
    best. A failed leaf is repaired when what it was built on is good, up to `max_repairs` failures deep.

    >>> from llm_optimize.records import Status
    >>> search = Tree(drafts=1)
    >>> search.observe(Trial.of(0, "x0", Status.COMPLETE, "x0", score=1.0))
    >>> plan = search.ask(Random(0), pending=[])
    >>> plan.parent.number, plan.context, bool(plan.hint)  # a draft sees nothing else
    (0, (), True)
    """

    def __init__(
        self,
        drafts: int = 4,
        repair_share: float = 0.3,
        max_repairs: int = 3,
        patience: int = 10,
        shown: int = 6,
        failures: int = 8,
    ) -> None:
        """Take the shape of the tree.

        Args:
            drafts: trials that are written independently, from the first x as an example, from 0.
            repair_share: of the plans that repair a failed trial where there is one to repair, 0 to 1.
            max_repairs: failures in a row on one branch that are built on, from 0.
            patience: children without progress that cost a node one place among the best, from 1.
            shown: trials to show beside an improvement, from 1; up to 5 more for a while.
            failures: failed trials to remember in a line each, from 1; up to 9 more until a batch of 10 trials ends.

        Raises UsageError for a value out of these ranges.
        """
        self._drafts = whole("tree", "drafts", drafts, 0)
        self._repair_share = share("tree", "repair_share", repair_share)
        self._max_repairs = whole("tree", "max_repairs", max_repairs, 0)
        self._patience = whole("tree", "patience", patience, 1)
        self._elite = Elite(_KEPT)
        self._board = Board(
            whole("tree", "shown", shown, 1), whole("tree", "failures", failures, 1)
        )
        self._root: Trial | None = None
        self._drafted: set[int] = set()  # numbers, no more than there are drafts
        self._fruitless: dict[int, int] = {}  # of the best: children without progress
        self._broken: dict[int, _Broken] = {}  # leaves, by number, the newest last

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a draft, a repair or an improvement; what is in flight counts as a child without progress."""
        root = self._root
        if root is None:
            return Plan(None)
        if len(self._drafted) + pending.count(root.number) < self._drafts:
            return Plan(root, hint=_hints.DRAFT)
        broken = self._to_repair(pending)
        if broken is not None and (
            not len(self._elite) or rng.random() < self._repair_share
        ):
            return self._board.plan(broken, _hints.REPAIR)
        if not len(self._elite):
            return self._board.repair(pending)
        return self._board.plan(self._to_improve(pending))

    def _to_improve(self, pending: Sequence[int]) -> Trial:
        places = {trial.number: place for place, trial in enumerate(self._elite)}

        def cost(trial: Trial) -> float:
            return (
                places[trial.number]
                + self._fruitless.get(trial.number, 0) / self._patience
            )

        return min(free(self._elite.top(), pending), key=cost)

    def _to_repair(self, pending: Sequence[int]) -> Trial | None:
        left = [
            broken
            for broken in self._broken.values()
            if broken.trial.number not in pending
        ]
        best = max(
            left, key=lambda broken: (broken.worth, broken.trial.number), default=None
        )
        return best.trial if best else None

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, or what is new of one."""
        if self._root is None or self._root.number == trial.number:
            self._root = trial if trial.x is not None else None
        elif (
            trial.parent in (None, self._root.number)
            and len(self._drafted) < self._drafts
        ):
            self._drafted.add(trial.number)
        self._judge(trial)
        self._elite.observe(trial)
        self._board.observe(trial, self._elite)
        self._fruitless = {
            number: count
            for number, count in self._fruitless.items()
            if number in self._elite
        }

    def _judge(self, trial: Trial) -> None:
        """Note what a trial says of its parent, and whether it is to be repaired itself."""
        parent = self._elite.get(trial.parent)
        if parent is not None and (
            trial.score is None or trial.score <= (parent.score or 0.0)
        ):
            self._fruitless[parent.number] = self._fruitless.get(parent.number, 0) + 1
        before = (
            self._broken.pop(trial.parent, None) if trial.parent is not None else None
        )
        known = self._broken.pop(trial.number, None)
        if (
            not fails(trial) or trial.stage
        ):  # what did not pass a stage is weak, not broken
            return
        if known is not None:
            self._broken[trial.number] = _Broken(trial, known.depth, known.worth)
            return
        depth = before.depth + 1 if before else 0
        worth = (
            before.worth
            if before
            else (parent.score or 0.0)
            if parent
            else float("-inf")
        )
        if depth < self._max_repairs:
            self._broken[trial.number] = _Broken(trial, depth, worth)
            for number in list(self._broken)[:-_BROKEN]:
                del self._broken[number]
