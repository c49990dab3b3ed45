"""Result: what a run found, and ways to look at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from ..errors import UsageError
from ..identity import X
from .direction import Direction
from .display import renderer
from .trial import Trial
from .values import Usage

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes


class Result(Sequence[Any]):
    """What a run found; unpacks and indexes as `(best_score, scores, best_x)`.

    Args:
        name: of the run.
        trials: the finished ones, by number.
        usage: of all model calls.
        stop_reason: why the run ended.
        test_scores: of x0 and the best x on examples that no model has seen, by trial number.
        direction: whether a higher or a lower score is better.
        store: URL of the store that holds the run; empty where none does.
        write_report: writes the report of the run into a file; None where no store holds the run.
    """

    def __init__(
        self,
        name: str,
        trials: Sequence[Trial],
        usage: Usage,
        stop_reason: str,
        test_scores: Mapping[int, float] | None = None,
        *,
        direction: Direction = Direction.MAXIMIZE,
        store: str = "",
        write_report: Callable[[str | Path], Path] | None = None,
    ) -> None:
        self.name = name
        self.direction = direction
        self.store = store
        self.trials = tuple(trials)
        self.usage = usage
        self.stop_reason = stop_reason
        self.test_scores = dict(test_scores or {})
        self._write_report = write_report
        # The cell of a notebook whose output shows the run already, where there is one.
        self.shown_in_cell: int | None = None

    @property
    def best(self) -> Trial | None:
        """The trial with the best score, the earliest of equals; None when none has a score."""
        return self.direction.best(self.trials)

    @property
    def best_score(self) -> float:
        """The best score; NaN when no trial has one."""
        best = self.best
        if best is None or best.score is None:
            return math.nan
        return best.score

    @property
    def best_x(self) -> X | None:
        """The x of the best trial; the first x when no trial has a score; None without trials."""
        if self.best is not None:
            return self.best.x
        if self.trials:
            return self.trials[0].x
        return None

    @property
    def scores(self) -> list[float]:
        """The scores by trial number, x0's first; NaN for a failed trial."""
        scores = [trial.score for trial in self.trials]
        return [math.nan if score is None else score for score in scores]

    @property
    def decisions(self) -> dict[str, int]:
        """How many trials a gate gave to the model and to the learner; empty without a gate.

        "fallback" counts the trials that the learner took over from a model that failed.
        """
        who = [trial.decision.get("who") for trial in self.trials]
        if not any(who):
            return {}
        return {one: who.count(one) for one in ("model", "learner", "fallback")}

    def report(self, path: str | Path = "report.html") -> Path:
        """Write one self-contained HTML file that shows all of the run, and return its path.

        Raises UsageError when the file cannot be written or no store holds the run, and
        MissingExtra.
        """
        if self._write_report is None:
            raise UsageError(
                f"the run {self.name!r} is in no store: there is nothing to report"
            )
        return self._write_report(path)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame with a row for each trial, by its number.

        Parameters are columns `x.NAME`, metrics are columns `metric.NAME`; `finished_at` is in
        UTC.

        Raises MissingExtra where pandas is not installed.

        >>> from llm_optimize.records import Result, Status, Trial, Usage
        >>> x, metrics = {"lr": 0.1}, {"loss": 2.0}
        >>> trials = [Trial.of(0, x, Status.COMPLETE, "x0", score=0.5, metrics=metrics)]
        >>> frame = Result("amber", trials, Usage(), "max_steps").to_pandas()
        >>> frame[["score", "metric.loss", "x.lr"]].to_dict("records")
        [{'score': 0.5, 'metric.loss': 2.0, 'x.lr': 0.1}]
        """
        return renderer().data_frame(self.trials)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the score of each trial and the best so far, with matplotlib.

        Champions, trials that were the best so far, are marked; failures are ticks below.

        Args:
            ax: where to draw; None makes a new figure.

        Returns:
            The axes, to change or to save: `result.plot().figure.savefig("run.png")`.

        Raises MissingExtra where matplotlib is not installed.
        """
        return renderer().draw(self.trials, self.name, ax, self.direction)

    def _repr_html_(self) -> str:
        return renderer().result_html(self)

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
            f"Result(name={self.name!r}, best_score={self.best_score!r}, "
            f"trials={len(self.trials)}, stop_reason={self.stop_reason!r})"
        )
