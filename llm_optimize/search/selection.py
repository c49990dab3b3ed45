"""Selection: which trials a search keeps, builds on, and shows in prompts.

    Elite            a bounded archive of the best trials, one for each distinct x
    pick_parent      rank selection with a preference for the champion
    PromptSelection  the trials and failures that stand in the prompt beside the parent

Every search but `chat` and `best_of_n` is made of these. Nothing here calls a model or reads a
clock; random choices come from the `rng` that is passed in.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from random import Random

from ..records import Plan, Status, Trial, rank
from .distance import Distances, Features, features

# Set by hand. The searches were measured with these values as a whole, not one by one:
# benchmarks/search.py, 2026-11-21, the table in docs/search.md.
POOL = 20  # best trials that parents and shown trials are chosen from
NOVELTY = 0.8  # weight of being different in what is shown; 1 - NOVELTY is that of rank
KEPT = 50  # trials in the archive of a search

# Providers cache the beginning of a prompt. With batches of ten, nine tenths of a prompt of `best`
# begin as the one before it (tests/search/test_sharing.py, 2026-11-21).
BATCH = 10  # finished trials between two changes of what is shown
_OVERFLOW = 5  # trials appended beyond the number shown; then the batch ends early


class Elite:
    """Archive of the best trials, iterated best first.

    Of equal scores the earlier trial ranks higher; of equal x the first that was observed stays.

    Args:
        size: trials to keep at most.
        niche: niche of a trial, or None. With niches the best trial of each niche outlives
            trials of other niches that score higher (MAP-Elites, arXiv 1504.04909).
    """

    def __init__(
        self, size: int, niche: Callable[[Trial], Hashable] | None = None
    ) -> None:
        self._size = size
        self._niche = niche
        self._trials: list[Trial] = []  # lowest first
        self._number_of: dict[str, int] = {}  # key of x -> number
        self._key_of: dict[int, str] = {}  # the inverse
        self._features: dict[int, Features] = {}  # a cache

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return reversed(self._trials)

    def __contains__(self, number: object) -> bool:
        return number in self._key_of

    def get(self, number: int | None) -> Trial | None:
        """Return a trial by its number; None when it is not here."""
        for trial in self._trials:
            if trial.number == number:
                return trial
        return None

    @property
    def champion(self) -> Trial | None:
        """The best trial; None while there is none."""
        if not self._trials:
            return None
        return self._trials[-1]

    @property
    def spread(self) -> float:
        """The best score minus the lowest."""
        if not self._trials:
            return 0.0
        highest = self._trials[-1].score or 0.0
        lowest = self._trials[0].score or 0.0
        return highest - lowest

    def top(self, count: int = POOL) -> list[Trial]:
        """Return the best trials, at most `count`, best first."""
        best_first = self._trials[::-1]
        return best_first[:count]

    def observe(self, trial: Trial) -> bool:
        """Add a trial, or replace it by its newer record; return whether it is here now."""
        self.remove(trial.number)
        if trial.x is None or not trial.scored:
            return False
        is_full = self._niche is None and len(self._trials) >= self._size
        if is_full and rank(trial) < rank(self._trials[0]):
            return False  # known without computing the key of its x
        key = trial.key
        if key in self._number_of:
            return False
        self._number_of[key] = trial.number
        self._key_of[trial.number] = key
        insort(self._trials, trial, key=rank)
        if len(self._trials) > self._size:
            self.remove(self._weakest())
        return trial.number in self._key_of

    def remove(self, number: int) -> None:
        """Remove a trial, if it is here."""
        if number not in self._key_of:
            return
        key = self._key_of.pop(number)
        del self._number_of[key]
        self._features.pop(number, None)
        self._trials = without(number, self._trials)

    def _weakest(self) -> int:
        """Return the lowest trial that is not the best of its niche, else the lowest of all."""
        if self._niche is not None:
            best_of: dict[Hashable, int] = {}
            for trial in self._trials:  # lowest first, so the best of a niche is last
                best_of[self._niche(trial)] = trial.number
            for trial in self._trials:
                if best_of[self._niche(trial)] != trial.number:
                    return trial.number
        return self._trials[0].number

    def diverse(
        self,
        count: int,
        novelty: float,
        pool: int = POOL,
    ) -> list[Trial]:
        """Return the champion and other trials that are good and far apart, at most `count`.

        Greedy max-min diversity among the `pool` best: each step takes the trial with the highest
        (1 - novelty) * place + novelty * distance, where `place` falls from 1 for the best, and
        `distance` is that to the nearest trial taken, relative to the largest such distance.
        """
        left = self.top(pool)
        places: dict[int, float] = {}
        for place, trial in enumerate(left):
            places[trial.number] = 1 - place / len(left)
        distances = Distances(map(self._features_of, left))
        chosen = left[:1]
        left = left[1:]
        nearest = {trial.number: 1.0 for trial in left}
        while left and len(chosen) < count:
            newest = self._features_of(chosen[-1])
            for trial in left:
                number = trial.number
                distance = distances.between(newest, self._features_of(trial))
                nearest[number] = min(nearest[number], distance)
            widest = max(nearest[trial.number] for trial in left) or 1.0
            values = []
            for trial in left:
                number = trial.number
                good = (1 - novelty) * places[number]
                different = novelty * nearest[number] / widest
                values.append(good + different)
            best = values.index(max(values))
            chosen.append(left.pop(best))
        return chosen

    def _features_of(self, trial: Trial) -> Features:
        if trial.number not in self._features:
            x = trial.x if trial.x is not None else ""
            self._features[trial.number] = features(x)
        return self._features[trial.number]


def least_pending(trials: Sequence[Trial], pending: Sequence[int]) -> list[Trial]:
    """Return the trials with the fewest descendants in flight: usually those that have none.

    Args:
        trials: candidates for a parent.
        pending: the parent of each trial in flight, by number.
    """
    counts = [pending.count(trial.number) for trial in trials]
    fewest = min(counts, default=0)
    return [trial for trial, n in zip(trials, counts, strict=True) if n == fewest]


def pick_parent(
    elite: Elite,
    rng: Random,
    pending: Sequence[int],
    champion_share: float,
    width: float = 1.0,
) -> Trial:
    """Return the champion with a probability of `champion_share`, else one of the best by rank.

    Rank selection: the trial at place k is drawn with a weight of k ** (-1 / width), so that the
    second is half as likely as the first. A larger `width` (from 1) makes weaker ones likelier.
    """
    pool = elite.top(round(POOL * width))
    candidates = least_pending(pool, pending)
    best = candidates[0]
    if best is elite.champion and rng.random() < champion_share:
        return best
    weights = []
    for place in range(1, len(candidates) + 1):
        weights.append(place ** (-1 / width))
    return rng.choices(candidates, weights)[0]


class PromptSelection:
    """The trials and the failures that are shown beside the parent.

        observe(trial):
            append it, if it is among the best and there is room; always append a new champion
            after BATCH trials (or when too many were appended):
                keep the champion and the best that are far apart, in the order they stood in
                put what is new behind them, and keep the newest failures

    Within a batch the lists only grow. So the prompts of a batch begin alike, and a provider's
    cache serves most of each.

    Args:
        shown: trials to show; up to `_OVERFLOW` more while a batch lasts.
        failures: failures to show; up to BATCH - 1 more while a batch lasts.
        novelty: weight of being different against being good, 0 to 1.
    """

    def __init__(
        self,
        shown: int,
        failures: int,
        novelty: float = NOVELTY,
    ) -> None:
        self.trials: tuple[Trial, ...] = ()
        self.failures: tuple[Trial, ...] = ()
        self._max_trials = shown
        self._max_failures = failures
        self._novelty = novelty
        self._observed = 0

    def observe(
        self,
        trial: Trial,
        elite: Elite,
        width: float = 1.0,
    ) -> None:
        """Add a trial that `elite` has observed; a larger `width` selects from weaker trials."""
        self._observed += 1
        is_elite = trial.number in elite
        if is_elite:
            self.remove(trial.number, replacement=trial)
        else:
            self.remove(trial.number)
        if is_failure(trial):
            self.failures += (trial,)
        if is_elite and len(self.trials) < self._max_trials:
            self._append(trial)
        if elite.champion is not None:
            self._append(elite.champion)
        most = self._max_trials + _OVERFLOW
        if self._observed % BATCH == 0 or len(self.trials) > most:
            pool = round(POOL * width)
            chosen = elite.diverse(self._max_trials, self._novelty, pool)
            self._begin_batch(chosen)

    def remove(self, number: int, replacement: Trial | None = None) -> None:
        """Stop showing a trial, or show its newer record in its place."""
        kept = []
        for trial in self.trials:
            if trial.number != number:
                kept.append(trial)
            elif replacement is not None:
                kept.append(replacement)
        self.trials = tuple(kept)
        self.failures = tuple(without(number, self.failures))

    def _append(self, trial: Trial) -> None:
        if trial.number not in numbers_of(self.trials):
            self.trials += (trial,)

    def _begin_batch(self, selected: Sequence[Trial]) -> None:
        wanted = numbers_of(selected)
        kept = [trial for trial in self.trials if trial.number in wanted]
        shown = numbers_of(kept)
        added = [trial for trial in selected if trial.number not in shown]
        added.sort(key=lambda trial: trial.number)
        self.trials = (*kept, *added)
        self.failures = self.failures[-self._max_failures :]

    def plan(self, parent: Trial, hint: str = "", *more: Trial) -> Plan:
        """Return a plan that shows this selection, and `more` behind it."""
        shown = numbers_of(self.trials)
        added = [trial for trial in more if trial.number not in shown]
        context = (*self.trials, *added)
        failures = [trial for trial in self.failures if trial is not parent]
        return Plan(parent, context, tuple(failures), hint=hint)

    def plan_without_scores(self, pending: Sequence[int]) -> Plan:
        """Return the plan of a run in which nothing has a score: build on the newest failure."""
        if not self.failures:
            return Plan(None)
        candidates = least_pending(self.failures, pending)
        return self.plan(candidates[-1])


def numbers_of(trials: Iterable[Trial]) -> set[int]:
    """Return the numbers of some trials."""
    return {trial.number for trial in trials}


def without(number: int, trials: Iterable[Trial]) -> list[Trial]:
    """Return some trials without the one of this number."""
    return [trial for trial in trials if trial.number != number]


def is_failure(trial: Trial) -> bool:
    """Whether a trial is shown as a failure: it has a new x, and no score."""
    if trial.x is None or trial.scored:
        return False
    return trial.status is not Status.DUPLICATE
