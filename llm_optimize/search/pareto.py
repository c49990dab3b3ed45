"""Keep each trial that is best somewhere, merge those good at different things: as in GEPA (arXiv 2507.19457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from ..records import Plan, Trial
from . import _hints
from ._board import Board
from ._checks import share, whole
from ._elite import Elite, by_rank, free
from ._front import Front

_KEPT = 50  # best trials by score
_CHAMPION_SHARE = 0.85  # of the plans, where there is nothing but the score to go by
_NAMED = 5  # examples or metrics in a hint


class Pareto:
    """For trials with scores per example (`instances`), or with `metrics`: parents are those that are best somewhere.

    The score counts as one thing more to be best at. A parent is picked as often as it is best, among those that no
    other one equals wherever they are. Now and then two are merged: the second is the one that adds the most to the
    first. Where f gives neither instances nor metrics, the score alone counts.

    >>> from llm_optimize.records import Status
    >>> search = Pareto(merge_share=0.0)
    >>> for number, (easy, hard) in enumerate([(1.0, 0.0), (0.4, 0.4), (0.0, 0.9)]):
    ...     instances = {"easy": easy, "hard": hard}
    ...     score = (easy + hard) / 2
    ...     search.observe(Trial.of(number, f"x{number}", Status.COMPLETE, "x0", score=score, instances=instances))
    >>> {search.ask(Random(dice), pending=[]).parent.number for dice in range(30)}
    {0, 2}
    """

    def __init__(
        self,
        metrics: Sequence[str] | None = None,
        merge_share: float = 0.2,
        kept: int = 100,
        shown: int = 6,
        failures: int = 8,
    ) -> None:
        """Take what counts beside the score.

        Args:
            metrics: names of `Trial.metrics` that count beside the instances, higher is better; "-seconds" for one of
                which less is better. None: all metrics, where a trial has no instances.
            merge_share: of the plans that merge two trials, where two are good at different things, 0 to 1.
            kept: trials to keep that are best somewhere, from 2; beyond, those that are so most rarely go.
            shown: trials to show, from 1; up to 5 more for a while, and the one to merge with.
            failures: failed trials to remember in a line each, from 1; up to 9 more until a batch of 10 trials ends.

        Raises UsageError for a value out of these ranges.
        """
        self._metrics = (
            None
            if metrics is None
            else tuple([metrics] if isinstance(metrics, str) else metrics)
        )
        self._merge_share = share("pareto", "merge_share", merge_share)
        self._front = Front(whole("pareto", "kept", kept, 2))
        self._elite = Elite(_KEPT)
        self._board = Board(
            whole("pareto", "shown", shown, 1), whole("pareto", "failures", failures, 1)
        )

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan to improve one that is best somewhere, or to merge two."""
        if not len(self._elite):
            return self._board.repair(pending)
        wins = self._front.wins()
        if not wins:
            return self._board.plan(by_rank(self._elite, rng, pending, _CHAMPION_SHARE))
        candidates = free([self._front[number] for number in wins], pending)
        parent = rng.choices(candidates, [wins[trial.number] for trial in candidates])[
            0
        ]
        other = (
            self._front.complement(parent) if rng.random() < self._merge_share else None
        )
        if other is None:
            return self._board.plan(parent)
        named = self._front.better_at(other, parent)
        won = ", ".join(named[:_NAMED]) + (
            f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
        )
        return self._board.plan(parent, _hints.complement(parent, other, won), other)

    def observe(self, trial: Trial) -> None:
        """Learn from a finished trial, or what is new of one; what has no score is a failure."""
        self._elite.observe(trial)
        self._front.observe(trial, self._values(trial))
        self._board.observe(trial, self._elite)

    def _values(self, trial: Trial) -> Mapping[str, float]:
        """Return what counts of a trial, by name; higher is better."""
        if not trial.scored or trial.x is None:
            return {}
        if self._metrics is None:
            values = trial.instances or trial.metrics
            return {"score": trial.score or 0.0, **values} if values else {}
        signs = {
            name.removeprefix("-"): -1.0 if name.startswith("-") else 1.0
            for name in self._metrics
        }
        named = {
            name: sign * trial.metrics[name]
            for name, sign in signs.items()
            if name in trial.metrics
        }
        return (
            {"score": trial.score or 0.0, **trial.instances, **named}
            if trial.instances or named
            else {}
        )
