"""Search `tree`: several independent drafts first; then improve the best, or repair a failure.

    if fewer than `drafts` drafts were made or are in flight:
        parent = the first x, with the hint to write something of its own   (a draft)
    else if there is a failure to repair, with probability repair_share:
        parent = the failed leaf whose nearest scored ancestor is best      (a repair)
    else:
        parent = argmin of (place among the best) + (fruitless children) / patience

A trial is fruitless for its parent when it scores no higher. A leaf is repaired until max_repairs
failures follow each other on its branch. What is in flight counts as a fruitless child.

Source: AIDE (arXiv 2502.13138). AIDE improves the best trial for ever; the cost of fruitless
children is ours. `max_repairs` is AIDE's max_debug_depth; AIDE makes 5 drafts and repairs in half
of the steps, here the defaults are 4 and 0.3. These, `patience` and the bound below were set by
hand; measured with benchmarks/search.py, 2026-11-21, the table in docs/search.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ..checks import share, whole_number
from ..records import Plan, Trial
from . import hints
from .selection import KEPT, Elite, PromptSelection, is_failure, least_pending

_MAX_BROKEN = 20  # failed leaves that may be repaired


@dataclass(frozen=True)
class _Broken:
    """A failed leaf."""

    trial: Trial
    depth: int  # failures in a row that led to it
    ancestor_score: float  # of the nearest ancestor that has one; -inf where none has


class Tree:
    """Independent drafts, then improvements of the best and repairs of failures.

    A node whose children bring no progress makes way for the next best: `patience` of them cost as
    much as one place among the best. A failed leaf is repaired when what it was built on is good,
    up to `max_repairs` failures deep.

    Args:
        drafts: trials that are written independently, from the first x as an example, from 0.
        repair_share: share of the plans that repair a failed trial, where there is one, 0 to 1.
        max_repairs: failures in a row on one branch that are built on, from 0.
        patience: children without progress that cost a node one place among the best, from 1.
        shown: trials to show beside an improvement, from 1; up to 5 more for a while.
        failures: failed trials to show in a line each, from 1; up to 9 more until a batch of 10
            trials ends.

    Raises:
        UsageError: a value is out of its range.

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
        self._drafts = whole_number("tree", "drafts", drafts, 0)
        self._repair_share = share("tree", "repair_share", repair_share)
        self._max_repairs = whole_number("tree", "max_repairs", max_repairs, 0)
        self._patience = whole_number("tree", "patience", patience, 1)
        self._elite = Elite(KEPT)
        self._prompt = PromptSelection(
            whole_number("tree", "shown", shown, 1),
            whole_number("tree", "failures", failures, 1),
        )
        self._root: Trial | None = None
        self._drafted: set[int] = set()  # numbers, at most as many as there are drafts
        self._fruitless: dict[int, int] = {}  # by number, for trials in the elite
        self._broken: dict[int, _Broken] = {}  # by number, the newest last

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a draft, a repair or an improvement."""
        root = self._root
        if root is None:
            return Plan(None)
        if len(self._drafted) + pending.count(root.number) < self._drafts:
            return Plan(root, hint=hints.DRAFT)
        has_scores = len(self._elite) > 0
        broken = self._to_repair(pending)
        if broken is not None and (not has_scores or rng.random() < self._repair_share):
            return self._prompt.plan(broken, hints.REPAIR)
        if not has_scores:
            return self._prompt.plan_without_scores(pending)
        return self._prompt.plan(self._to_improve(pending))

    def _to_improve(self, pending: Sequence[int]) -> Trial:
        places: dict[int, int] = {}
        for place, trial in enumerate(self._elite):
            places[trial.number] = place

        def cost(trial: Trial) -> float:
            fruitless = self._fruitless.get(trial.number, 0)
            return places[trial.number] + fruitless / self._patience

        candidates = least_pending(self._elite.top(), pending)
        return min(candidates, key=cost)

    def _to_repair(self, pending: Sequence[int]) -> Trial | None:
        best: _Broken | None = None
        for broken in self._broken.values():
            if broken.trial.number in pending:
                continue
            if best is None or _repair_order(broken) > _repair_order(best):
                best = broken
        return best.trial if best else None

    def observe(self, trial: Trial) -> None:
        """Add a finished trial, or its newer record."""
        if self._root is None or self._root.number == trial.number:
            self._root = trial if trial.x is not None else None
        elif (
            trial.parent in (None, self._root.number)
            and len(self._drafted) < self._drafts
        ):
            self._drafted.add(trial.number)
        self._count_fruitless(trial)
        self._update_broken(trial)
        self._elite.observe(trial)
        self._prompt.observe(trial, self._elite)
        for number in list(self._fruitless):
            if number not in self._elite:
                del self._fruitless[number]

    def _count_fruitless(self, trial: Trial) -> None:
        parent = self._elite.get(trial.parent)
        if parent is None:
            return
        if trial.score is None or trial.score <= (parent.score or 0.0):
            count = self._fruitless.get(parent.number, 0)
            self._fruitless[parent.number] = count + 1

    def _update_broken(self, trial: Trial) -> None:
        """Note a failure as a leaf to repair; its parent is not a leaf any more."""
        before: _Broken | None = None
        if trial.parent is not None:
            before = self._broken.pop(trial.parent, None)
        known = self._broken.pop(trial.number, None)
        if not is_failure(trial) or trial.stage:
            return  # what did not pass a stage is weak, not broken
        if known is not None:
            self._broken[trial.number] = _Broken(
                trial, known.depth, known.ancestor_score
            )
            return
        depth, ancestor_score = 0, float("-inf")
        parent = self._elite.get(trial.parent)
        if before is not None:
            depth, ancestor_score = before.depth + 1, before.ancestor_score
        elif parent is not None:
            ancestor_score = parent.score or 0.0
        if depth < self._max_repairs:
            self._broken[trial.number] = _Broken(trial, depth, ancestor_score)
            for number in list(self._broken)[:-_MAX_BROKEN]:
                del self._broken[number]


def _repair_order(broken: _Broken) -> tuple[float, int]:
    """Return what decides which leaf is repaired first: the best ancestor, then the newest."""
    return broken.ancestor_score, broken.trial.number
