"""The best trials of a run: a bounded number, each with an x of its own."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from random import Random

from ..records import Trial, rank
from ._sketch import Distances, Sketch, sketch

POOL = 20  # of the best, from which parents and what is shown are chosen


class Elite:
    """The best trials, best first. Of equals the earlier is better; of two with the same x the first told is kept.

    With niches, the best of each niche stays longer than others that score higher.
    """

    def __init__(
        self, size: int, niche: Callable[[Trial], Hashable] | None = None
    ) -> None:
        """Keep at most `size` trials."""
        self._size = size
        self._niche = niche
        self._trials: list[Trial] = []  # lowest first
        self._numbers: dict[str, int] = {}  # by what equal x share
        self._keys: dict[int, str] = {}  # the same, by number
        self._sketches: dict[int, Sketch] = {}

    def __len__(self) -> int:
        return len(self._trials)

    def __iter__(self) -> Iterator[Trial]:
        return reversed(self._trials)

    def __contains__(self, number: object) -> bool:
        return number in self._keys

    def get(self, number: int | None) -> Trial | None:
        """Return a trial by its number, None when it is not here."""
        return next((trial for trial in self._trials if trial.number == number), None)

    @property
    def champion(self) -> Trial | None:
        """The best of all; None while there is none."""
        return self._trials[-1] if self._trials else None

    @property
    def spread(self) -> float:
        """How far the scores of these trials lie apart."""
        return (
            (self._trials[-1].score or 0.0) - (self._trials[0].score or 0.0)
            if self._trials
            else 0.0
        )

    def top(self, count: int = POOL) -> list[Trial]:
        """Return the best, at most `count`, best first."""
        return self._trials[: -count - 1 : -1]

    def observe(self, trial: Trial) -> bool:
        """Learn from a trial, or what is new of it; return whether it is among the best now."""
        self.forget(trial.number)
        if trial.x is None or not trial.scored or self._too_weak(trial):
            return False
        key = trial.key
        if key in self._numbers:
            return False
        self._numbers[key] = trial.number
        self._keys[trial.number] = key
        insort(self._trials, trial, key=rank)
        if len(self._trials) > self._size:
            self.forget(self._weakest())
        return trial.number in self._keys

    def forget(self, number: int) -> None:
        """Leave a trial out, if it is here."""
        if number in self._keys:
            del self._numbers[self._keys.pop(number)]
            self._sketches.pop(number, None)
            self._trials = [trial for trial in self._trials if trial.number != number]

    def _too_weak(self, trial: Trial) -> bool:
        return (
            self._niche is None
            and len(self._trials) >= self._size
            and rank(trial) < rank(self._trials[0])
        )

    def _weakest(self) -> int:
        if self._niche is not None:
            niches = {
                self._niche(trial): trial.number for trial in self._trials
            }  # the best of a niche comes last
            for trial in self._trials:
                if niches[self._niche(trial)] != trial.number:
                    return trial.number
        return self._trials[0].number

    def various(self, count: int, novelty: float, pool: int = POOL) -> list[Trial]:
        """Return the champion and others of the `pool` best, at most `count`, that are good and different.

        Greedy: each time the one with the highest sum of its place among the best, weighted by 1 - `novelty`, and its
        distance to the nearest one chosen, weighted by `novelty`; both are from 0 to 1.
        """
        left = self.top(pool)
        places = {
            trial.number: 1 - place / len(left) for place, trial in enumerate(left)
        }
        distances = Distances(self._sketch(trial) for trial in left)
        chosen, left = left[:1], left[1:]
        nearest = {trial.number: 1.0 for trial in left}
        while left and len(chosen) < count:
            newest = self._sketch(chosen[-1])
            for trial in left:
                nearest[trial.number] = min(
                    nearest[trial.number],
                    distances.between(newest, self._sketch(trial)),
                )
            widest = max(nearest[trial.number] for trial in left) or 1.0
            worth = [
                (1 - novelty) * places[one.number]
                + novelty * nearest[one.number] / widest
                for one in left
            ]
            chosen.append(left.pop(worth.index(max(worth))))
        return chosen

    def _sketch(self, trial: Trial) -> Sketch:
        if trial.number not in self._sketches:
            self._sketches[trial.number] = sketch(
                trial.x if trial.x is not None else ""
            )
        return self._sketches[trial.number]


def free(trials: Sequence[Trial], pending: Sequence[int]) -> list[Trial]:
    """Return the trials that the fewest in flight are built on: usually those that none is."""
    fewest = min((pending.count(trial.number) for trial in trials), default=0)
    return [trial for trial in trials if pending.count(trial.number) == fewest]


def by_rank(
    elite: Elite,
    rng: Random,
    pending: Sequence[int],
    champion_share: float,
    width: float = 1.0,
) -> Trial:
    """Return the champion in a share of the cases, else one of the best: the second half as likely as the first, ...

    One that nothing in flight is built on is taken first. `width`, from 1, makes weaker ones likelier.
    """
    left = free(elite.top(round(POOL * width)), pending)
    if left[0] is elite.champion and rng.random() < champion_share:
        return left[0]
    return rng.choices(
        left, [place ** (-1 / width) for place in range(1, len(left) + 1)]
    )[0]
