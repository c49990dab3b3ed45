"""Contract of a search: tests to subclass beside your own."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from ..records import Plan, Search, Status, Trial, rank
from ._trials import changed

_MANY = 5_000  # trials
_MAX_SHOWN = 200  # trials in one plan
# Generous: five times and ten times what our own are to hold.
_MAX_OBSERVE_SECS, _MAX_ASK_SECS = (
    0.005,
    0.05,
)


class SearchContract:
    """Tests that any search must pass.

    Pytest collects them from a subclass whose name begins with `Test`.

    >>> from llm_optimize.search import Best
    >>> class TestBest(SearchContract):
    ...     def make(self):
    ...         return Best()
    >>> TestBest().test_resume_equals_having_lived_through_it()
    """

    def make(self) -> Search:
        """Return a new search that observed nothing.

        Raises NotImplementedError until a subclass defines it.
        """
        raise NotImplementedError("define make(): it returns the search that is tested")

    def having_observed(self, trials: Iterable[Trial]) -> Search:
        """Return a search that observed these trials, and asked nothing."""
        search = self.make()
        for trial in trials:
            search.observe(trial)
        return search

    def test_with_nothing_observed_there_is_nothing_to_build_on(self) -> None:
        """The first plan is empty, whatever is in flight."""
        for pending in ([], [0, 0]):
            plan = self.make().ask(Random(0), pending)
            _require(not _shown(plan), plan)

    def test_what_was_no_x_is_not_built_on(self) -> None:
        """A reply without an x leaves nothing to show."""
        no_x = Trial.of(0, None, Status.INVALID, "model:m", feedback="no block")
        _require(
            not _shown(self.having_observed([no_x]).ask(Random(0), [])),
            "an x out of nothing",
        )
        search = self.having_observed([*_trials(20), changed(no_x, number=20)])
        for seed in range(40):
            plan = search.ask(Random(seed), [])
            _require(all(trial.x is not None for trial in _shown(plan)), plan)

    def test_a_single_trial_is_built_on(self) -> None:
        """With a score or without, and with or without others in flight that build on it."""
        for trial in (_scored(0, 1.0), _failed(0)):
            for pending in ([], [0], [0, 0, 0]):
                plan = self.having_observed([trial]).ask(Random(0), pending)
                _require(plan.parent == trial, plan)

    def test_only_failures_so_far(self) -> None:
        """One of them is the parent."""
        trials = [_failed(0)]
        for number in range(1, 30):
            trials.append(_failed(number, 0))
        for count in (2, 10, 30):
            plan = self.having_observed(trials[:count]).ask(Random(count), [0])
            _require(plan.parent in trials[:count], plan)

    def test_what_is_shown_was_observed(self) -> None:
        """Parents, context and failures are trials as they were observed last.

        None stands twice in the context.
        """
        for workers in (1, 4):
            life = _Life(self.make(), workers)
            for _ in range(400):
                plan = life.step()
                for trial in _shown(plan):
                    _require(life.known.get(trial.number) == trial, trial)
                numbers = [trial.number for trial in plan.context]
                _require(len(numbers) == len(set(numbers)), f"shown twice: {numbers}")

    def test_the_same_seed_gives_the_same_plan(self) -> None:
        """Two that observed the same plan the same; asking changes nothing."""
        one = self.having_observed(_trials(60))
        other = self.having_observed(_trials(60))
        plans = [one.ask(Random(seed), [3]) for seed in range(20)]
        again = [one.ask(Random(seed), [3]) for seed in range(20)]
        _require(plans == again, "asking has changed it")
        others = [other.ask(Random(seed), [3]) for seed in range(20)]
        _require(plans == others, "two of a kind differ")

    def test_resume_equals_having_lived_through_it(self) -> None:
        """A new search that observes the trials again plans what the old one would have planned."""
        for workers in (1, 3):
            life = _Life(self.make(), workers)
            for step in range(90):
                life.step()
                if step % 9 == 0:
                    resumed = self.having_observed(life.history)
                    pending = life.pending
                    lived = life.search.ask(Random(step), pending)
                    planned = resumed.ask(Random(step), pending)
                    _require(lived == planned, f"trial {step}")

    def test_any_order_of_finishing(self) -> None:
        """Children may be observed before their parents, and numbers in any order."""
        for seed in range(5):
            trials = _trials(40)
            Random(seed).shuffle(trials)
            plan = self.having_observed(trials).ask(Random(seed), [])
            _require(plan.parent in trials, plan)

    def test_ties(self) -> None:
        """Equal scores and equal x are no trouble."""
        equal = [_scored(0, 1.0)]
        for number in range(1, 40):
            equal.append(_scored(number, 1.0, 0))
        same_x = [changed(trial, x="x") for trial in equal]
        copies = equal[:1]
        for trial in equal[1:]:
            copies.append(changed(trial, x="x0", status=Status.DUPLICATE))
        for trials in (equal, same_x, copies):
            search = self.having_observed(trials)
            plans = [search.ask(Random(seed), [0]) for seed in range(10)]
            _require(all(plan.parent in trials for plan in plans), plans)

    def test_scores_of_any_size_and_sign(self) -> None:
        """Nothing is divided by, or taken for good because it is positive."""
        for scores in (
            [-1e300, 1e300, 0.0, -0.0],
            [-5.0, -4.0, -3.0],
            [1e-320, 0.0],
            [7.0] * 3,
        ):
            trials = [_scored(0, scores[0])]
            for number, score in enumerate(scores[1:], 1):
                trials.append(_scored(number, score, 0))
            plan = self.having_observed(trials).ask(Random(0), [])
            _require(plan.parent in trials, plan)

    def test_a_trial_observed_again_replaces_what_was_known(self) -> None:
        """Its score may rise and fall, and it may lose it."""
        trials = _trials(40)
        best = max(trials, key=rank)
        for again in (
            changed(best, score=-1e6, scorings=2),
            changed(best, score=1e6, scorings=2),
            changed(best, score=None, status=Status.FAILED, feedback="not any more"),
        ):
            search = self.having_observed([*trials, again])
            for seed in range(30):
                for one in _shown(search.ask(Random(seed), [])):
                    _require(one.number != best.number or one == again, one)

    def test_every_kind_of_x(self) -> None:
        """x may be a text, named texts, or parameters; trials may have metrics and instances."""
        for x in (
            "",
            "a\nb",
            {"main": "a = 1\n", "other": "b\n"},
            {"rate": 0.1, "kind": "a", "bag": True},
        ):
            trials: list[Trial] = []
            for trial in _trials(12):
                number = trial.number
                trial = changed(trial, x=x or str(number), metrics={"size": number})
                if trial.scored:
                    trial = changed(trial, instances={"a": number % 3, "b": 1.0})
                else:
                    trial = changed(trial, stage="minibatch")
                trials.append(trial)
            plan = self.having_observed(trials).ask(Random(0), [])
            _require(plan.parent in trials, plan)

    def test_nothing_that_is_handed_in_is_changed(self) -> None:
        """Trials and the list of what is in flight stay as they are."""
        trials = [changed(trial, x={"a": trial.number}) for trial in _trials(40)]
        pending = [0, 1, 2]
        before = copy.deepcopy((trials, pending))
        search = self.having_observed(trials)
        for seed in range(20):
            search.ask(Random(seed), pending)
        _require((trials, pending) == before, "something was changed")

    def test_what_is_in_flight_counts(self) -> None:
        """Workers that ask one after the other do not all build on the same parent."""
        search = self.having_observed(_trials(60))
        for seed in range(10):
            pending: list[int] = []
            for worker in range(4):
                plan = search.ask(Random(f"{seed}/{worker}"), tuple(pending))
                if plan.parent is not None:
                    pending.append(plan.parent.number)
            _require(len(set(pending)) > 1, f"all four build on {pending}")

    def test_thousands_of_trials(self) -> None:
        """After thousands, it stays quick, and shows few."""
        trials = _trials(_MANY)
        begun = time.perf_counter()
        search = self.having_observed(trials)
        observed = time.perf_counter()
        plans = [search.ask(Random(seed), [seed]) for seed in range(20)]
        asked = time.perf_counter()
        _require(
            (observed - begun) / _MANY < _MAX_OBSERVE_SECS,
            f"{observed - begun:.1f} s for {_MANY} trials observed",
        )
        _require(
            (asked - observed) / 20 < _MAX_ASK_SECS,
            f"{asked - observed:.1f} s for 20 plans",
        )
        most = max(len(_shown(plan)) for plan in plans)
        _require(most <= _MAX_SHOWN, f"{most} trials in one plan")


@dataclass
class _Life:
    """A run of several workers.

    The trial that has been in flight longest, or the one after it, is observed next.
    """

    search: Search
    workers: int

    def __post_init__(self) -> None:
        self.history: list[Trial] = []
        self.observed: dict[int, Trial] = {}  # by number, as observed last
        self.known: dict[int, Trial] = {}  # the same, when the last plan was made
        self._in_flight: list[Trial] = []
        self._next = 1
        self._observe(_scored(0, 0.0))

    @property
    def pending(self) -> tuple[int, ...]:
        parents = [trial.parent for trial in self._in_flight]
        return tuple(parent for parent in parents if parent is not None)

    def step(self) -> Plan:
        """Ask for one more trial and return its plan.

        With all workers busy, one is observed; now and then one is observed again.
        """
        plan = self.search.ask(Random(f"plan/{self._next}"), self.pending)
        self.known = dict(self.observed)
        parent = plan.parent.number if plan.parent else None
        self._in_flight.append(_trial(self._next, parent))
        self._next += 1
        if len(self._in_flight) == self.workers:
            self._observe(
                self._in_flight.pop(self._next % 2 if self.workers > 1 else 0)
            )
        if self._next % 7 == 0:
            self._observe_again()
        return plan

    def _observe_again(self) -> None:
        """Score one anew: what had a score gets a lower one or loses it, what had none gets one."""
        known = sorted(self.observed)
        before = self.observed[known[self._next * 5 % len(known)]]
        if before.score is None:
            again = changed(before, status=Status.COMPLETE, score=self._next / 100)
        elif self._next % 2:
            again = changed(
                before, score=before.score - 2.0, scorings=before.scorings + 1
            )
        else:
            again = changed(before, status=Status.FAILED, score=None)
        self._observe(again)

    def _observe(self, trial: Trial) -> None:
        self.search.observe(trial)
        self.history.append(trial)
        self.observed[trial.number] = trial


def _trials(count: int) -> list[Trial]:
    """Return a run: scores that rise and fall, one in nine fails, each child of an earlier one."""
    trials: list[Trial] = []
    for number in range(count):
        parent = number * 7 % 11 * number // 11 if number else None
        trials.append(_trial(number, parent))
    return trials


def _trial(number: int, parent: int | None) -> Trial:
    if number % 9 == 4:
        return _failed(number, parent)
    score = (number * 7919) % 1009 / 100 + number / 100
    return _scored(number, score, parent)


def _scored(number: int, score: float, parent: int | None = None) -> Trial:
    x = f"x{number} = [{number * 31 % 17}, {number / 8}]" if number else "x0"
    source = "x0" if parent is None else "model:m"
    return Trial.of(
        number, x, Status.COMPLETE, source, score=score, feedback="so so", parent=parent
    )


def _failed(number: int, parent: int | None = None) -> Trial:
    source = "x0" if parent is None else "model:m"
    return Trial.of(
        number,
        f"x{number} fails",
        Status.FAILED,
        source,
        feedback="ValueError: no",
        parent=parent,
    )


def _shown(plan: Plan) -> Sequence[Trial]:
    shown = [*plan.context, *plan.failures]
    if plan.parent is not None:
        shown.append(plan.parent)
    return shown


def _require(condition: bool, what: object) -> None:
    if not condition:
        raise AssertionError(str(what))
