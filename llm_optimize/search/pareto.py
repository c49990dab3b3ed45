"""Search `pareto`: keep each trial that is the best at something, and merge complementary ones.

    objectives = the score, and each of `instances`; named metrics; else all metrics
    parent = a trial that is best at some objective, drawn as often as it is best;
             not one that another equals at all objectives where it is best
    with probability merge_share: merge it with the trial that adds the most to it
    show     the best by score that are far apart, as in `best`
    without instances and metrics: `best` without its widening

Source: GEPA (arXiv 2507.19457), which selects parents by how often they are best on an instance and
merges complementary ones. `champion_share` is that of `best`. The other constants and the defaults
of the options were set by hand; measured with benchmarks/search.py, 2026-11-21, the table in
docs/search.md (where f has no instances).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from random import Random

from ..checks import share, whole_number
from ..records import Plan, Trial
from . import hints
from .selection import KEPT, Elite, PromptSelection, least_pending, pick_parent

_CHAMPION_SHARE = 0.85  # of the plans, where only the score is known; that of `best`
_MAX_NAMED = 5  # objectives that a hint names


class Pareto:
    """Search for f with scores per example (`instances`) or `metrics`.

    Parents are trials that are the best at some objective; the score counts as one. A parent is
    drawn as often as it is best. Now and then two are merged: the second is the one that adds the
    most to the first. Where f gives neither instances nor metrics, the score alone counts.

    Args:
        metrics: names of `Trial.metrics` that count beside the instances, higher is better;
            "-seconds" for one of which less is better. None: all metrics, where a trial has no
            instances.
        merge_share: share of the plans that merge two trials, where two are good at different
            objectives, 0 to 1.
        kept: trials to keep that are best at some objective, from 2; beyond, those that are so most
            rarely go.
        shown: trials to show, from 1; up to 5 more for a while, and the one to merge with.
        failures: failed trials to show in a line each, from 1; up to 9 more until a batch of 10
            trials ends.

    Raises:
        UsageError: a value is out of its range.

    >>> from llm_optimize.records import Status
    >>> search = Pareto(merge_share=0.0)
    >>> for number, (easy, hard) in enumerate([(1.0, 0.0), (0.4, 0.4), (0.0, 0.9)]):
    ...     both = {"easy": easy, "hard": hard}
    ...     facts = {"score": (easy + hard) / 2, "instances": both}
    ...     search.observe(Trial.of(number, f"x{number}", Status.COMPLETE, "x0", **facts))
    >>> {search.ask(Random(seed), pending=[]).parent.number for seed in range(30)}
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
        self._metrics: tuple[str, ...] | None = None
        if isinstance(metrics, str):
            self._metrics = (metrics,)
        elif metrics is not None:
            self._metrics = tuple(metrics)
        self._merge_share = share("pareto", "merge_share", merge_share)
        self._front = _Front(whole_number("pareto", "kept", kept, 2))
        self._elite = Elite(KEPT)
        self._prompt = PromptSelection(
            whole_number("pareto", "shown", shown, 1),
            whole_number("pareto", "failures", failures, 1),
        )

    def ask(self, rng: Random, pending: Sequence[int]) -> Plan:
        """Return a plan to improve a trial that is best at something, or to merge two."""
        if not len(self._elite):
            return self._prompt.plan_without_scores(pending)
        wins = self._front.wins()
        if not wins:
            parent = pick_parent(self._elite, rng, pending, _CHAMPION_SHARE)
            return self._prompt.plan(parent)
        winners = [self._front[number] for number in wins]
        candidates = least_pending(winners, pending)
        weights = [wins[trial.number] for trial in candidates]
        parent = rng.choices(candidates, weights)[0]
        other = None
        if rng.random() < self._merge_share:
            other = self._front.complement(parent)
        if other is None:
            return self._prompt.plan(parent)
        leads = self._named_leads(other, parent)
        hint = hints.complement(parent, other, leads)
        return self._prompt.plan(parent, hint, other)

    def _named_leads(self, one: Trial, other: Trial) -> str:
        """Name the objectives at which one trial is better than another, the first few."""
        names = self._front.leads(one, other)
        named = ", ".join(names[:_MAX_NAMED])
        if len(names) > _MAX_NAMED:
            named += f" and {len(names) - _MAX_NAMED} more"
        return named

    def observe(self, trial: Trial) -> None:
        """Add a finished trial, or its newer record; what has no score is a failure."""
        self._elite.observe(trial)
        objectives = self._objectives(trial)
        self._front.observe(trial, objectives)
        self._prompt.observe(trial, self._elite)

    def _objectives(self, trial: Trial) -> Mapping[str, float]:
        """Return the objectives of a trial by name; higher is better, nothing where it has none."""
        if not trial.scored or trial.x is None:
            return {}
        if self._metrics is None:
            objectives = dict(trial.instances or trial.metrics)
        else:
            objectives = dict(trial.instances)
            for name in self._metrics:
                bare_name = name.removeprefix("-")
                if bare_name in trial.metrics:
                    value = trial.metrics[bare_name]
                    sign = -1.0 if name.startswith("-") else 1.0
                    objectives[bare_name] = sign * value
        if not objectives:
            return {}
        return {"score": trial.score or 0.0, **objectives}


class _Front:
    """Pareto front in the sense of GEPA: trials that are best at one objective at least.

    Args:
        size: trials to keep at most; beyond, the one that is best at the fewest objectives goes.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._trials: dict[int, Trial] = {}
        self._values: dict[int, Mapping[str, float]] = {}
        self._best: dict[str, float] = {}  # objective -> best value
        # Who has the best value: objective -> numbers of trials, and the inverse.
        self._holders: dict[str, set[int]] = {}
        self._held: dict[int, set[str]] = {}
        self._numbers: dict[str, int] = {}  # key of x -> number
        self._wins: dict[int, int] | None = None  # a cache; None: to be computed anew

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    def __len__(self) -> int:
        return len(self._trials)

    def observe(self, trial: Trial, values: Mapping[str, float]) -> None:
        """Add a trial with its objectives, or replace it by its newer record. NaN is left out."""
        if trial.number in self._trials:
            self._remove(trial.number)
        numbers: dict[str, float] = {}
        is_best_somewhere = False
        for name, value in values.items():
            if not math.isnan(value):
                numbers[name] = value
                best = self._best.get(name, value)
                is_best_somewhere |= value >= best
        if trial.x is None or not is_best_somewhere:
            return
        if trial.key in self._numbers:
            return
        self._add(trial, numbers)
        if len(self._trials) > self._size:
            lightest = min(self._trials, key=self._weight)
            self._remove(lightest)

    def _add(self, trial: Trial, values: Mapping[str, float]) -> None:
        number = trial.number
        self._trials[number] = trial
        self._values[number] = values
        self._held[number] = set()
        self._numbers[trial.key] = number
        for name, value in values.items():
            if name not in self._best or value > self._best[name]:
                self._raise_best(name, value)
            if value == self._best[name]:
                self._holders[name].add(number)
                self._held[number].add(name)
        self._wins = None

    def _raise_best(self, name: str, value: float) -> None:
        """Set a new best value; trials that held the old one and no other leave."""
        before = self._holders.get(name, set())
        self._best[name] = value
        self._holders[name] = set()
        for number in before:
            self._held[number].discard(name)
            if not self._held[number]:
                self._delete(number)

    def _weight(self, number: int) -> tuple[int, float, int]:
        """Return what keeps a trial here: how often it is best, then its score, then its age."""
        score = self._trials[number].score or 0.0
        return len(self._held[number]), score, -number

    def _delete(self, number: int) -> None:
        trial = self._trials.pop(number)
        del self._numbers[trial.key]
        del self._values[number]
        del self._held[number]

    def _remove(self, number: int) -> None:
        """Remove a trial; where it alone was best, the best of the others take its place."""
        held = self._held[number]
        alone = [name for name in held if self._holders[name] == {number}]
        for name in held:
            self._holders[name].discard(number)
        self._delete(number)
        for name in alone:
            del self._best[name], self._holders[name]
            self._refill(name)
        self._wins = None

    def _refill(self, name: str) -> None:
        """Find the trials that are best at an objective anew."""
        known: dict[int, float] = {}
        for number, values in self._values.items():
            if name in values:
                known[number] = values[name]
        if not known:
            return
        best = max(known.values())
        self._best[name] = best
        self._holders[name] = set()
        for number, value in known.items():
            if value == best:
                self._holders[name].add(number)
                self._held[number].add(name)

    def wins(self) -> dict[int, int]:
        """Return how often each trial is best, by number, without those that are dominated."""
        if self._wins is None:
            self._wins = {}
            for number, names in sorted(self._held.items()):
                if not self._is_dominated(number):
                    self._wins[number] = len(names)
        return self._wins

    def _is_dominated(self, number: int) -> bool:
        """Whether another is best wherever this one is, and elsewhere too or scores higher."""
        others = set(self._held)
        for name in self._held[number]:
            others &= self._holders[name]
            if len(others) == 1:
                return False
        weight = self._weight(number)
        return any(self._weight(other) > weight for other in others)

    def complement(self, trial: Trial) -> Trial | None:
        """Return the trial that adds the most to another; None when none adds anything.

        What it adds is the sum of its leads, each relative to the range of that objective.
        """
        own = self._values[trial.number]
        ranges: dict[str, float] = {}
        for name in own:
            everywhere = self._values.values()
            known = [values[name] for values in everywhere if name in values]
            ranges[name] = max(known) - min(known)

        def added(number: int) -> float:
            leads = []
            for name, value in self._values[number].items():
                if name in own and ranges[name] > 0:
                    lead = max(0.0, value - own[name])
                    leads.append(lead / ranges[name])
            return math.fsum(leads)

        candidates = sorted(self.wins())
        other = max(candidates, key=added)
        if other == trial.number or added(other) <= 0:
            return None
        return self._trials[other]

    def leads(self, one: Trial, other: Trial) -> list[str]:
        """Return the objectives at which one trial beats another, the largest lead first."""
        theirs = self._values[other.number]
        leads: list[tuple[float, str]] = []
        for name, value in self._values[one.number].items():
            if name in theirs and value > theirs[name]:
                lead = value - theirs[name]
                leads.append((-lead, name))
        return [name for _, name in sorted(leads)]
