"""What a run found."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from ..errors import UsageError
from ..identity import X
from ..looks import Looks
from ._trial import Trial, rank
from ._words import Usage


class Result(Looks, Sequence[Any]):
    """What a run found; unpacks and indexes as `(best_score, scores, best_x)`."""

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        usage: Usage,
        stop_reason: str,
        test_scores: Mapping[int, float] | None = None,
        *,
        store: str = "",
        write_report: Callable[[str | Path], Path] | None = None,
    ) -> None:
        """Take what a run found.

        Args:
            name: of the run.
            trials: the finished ones, by number.
            usage: of all model calls.
            stop_reason: why the run ended.
            test_scores: by trial number, on examples that no model has seen.
            store: where the run is; empty where it is in none.
            write_report: writes the report of the run into a file; None where it is in no store.
        """
        self.name = name
        self.store = store
        self._write_report = write_report
        self.test_scores = dict(
            test_scores or {}
        )  # by trial: of x0 and the best, on examples that no model has seen
        self.trials = tuple(trials)
        self.usage = usage
        self.stop_reason = stop_reason

    @property
    def best(self) -> Trial | None:
        """The trial with the highest score, the earliest of equals; None when none has a score."""
        return max(
            (trial for trial in self.trials if trial.scored), key=rank, default=None
        )

    @property
    def best_score(self) -> float:
        """The highest score; NaN when no trial has one."""
        return (
            self.best.score if self.best and self.best.score is not None else math.nan
        )

    @property
    def best_x(self) -> X | None:
        """The x of the best trial; the first x when no trial has a score; None without trials."""
        return self.best.x if self.best else (self.trials[0].x if self.trials else None)

    @property
    def scores(self) -> list[float]:
        """The scores by trial number, x0's first; a failed trial stands as NaN."""
        return [
            math.nan if trial.score is None else trial.score for trial in self.trials
        ]

    @property
    def decisions(self) -> dict[str, int]:
        """How many trials a gate gave to whom: model, learner, or fallback for a model that failed; else empty."""
        who = [trial.decision.get("who") for trial in self.trials]
        return {
            one: who.count(one) for one in ("model", "learner", "fallback") if any(who)
        }

    def report(self, path: str | Path = "report.html") -> Path:
        """Write one self-contained HTML file that shows all of the run, and return its path.

        Raises UsageError when the file cannot be written or the run is in no store, and
        MissingExtra.
        """
        if self._write_report is None:
            raise UsageError(
                f"the run {self.name!r} is in no store: there is nothing to report"
            )
        return self._write_report(path)

    def _triple(self) -> tuple[float, list[float], X | None]:
        return (self.best_score, self.scores, self.best_x)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._triple()[index]

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[Any]:
        return iter(self._triple())

    def __repr__(self) -> str:
        return (
            f"Result(name={self.name!r}, best_score={self.best_score!r}, trials={len(self.trials)}, "
            f"stop_reason={self.stop_reason!r})"
        )
