"""What f said of one x."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..records import Status, Trial

SYNTAX = "syntax"  # the stage before all others: x does not compile where its parent does
MINIBATCH = "minibatch"  # the stage before all examples: x is no better than its parent on a few of them
IMPOSSIBLE = "max_score"  # the stage of a score above the user's `max_score`: whoever reports should list such trials


@dataclass(frozen=True)
class Evaluation:
    """What f said of x. There is a score only where the status is complete."""

    status: Status
    score: float | None
    feedback: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    instances: Mapping[str, float] = field(default_factory=dict)  # scores per example, by its index
    output: str = ""
    seconds: float = 0.0  # wall clock of all calls of f, one after the other
    stage: str = ""  # which stage x did not pass: a name of the user's, SYNTAX, MINIBATCH or IMPOSSIBLE
    scorings: int = 1  # calls of f; of several stages those of the last, or 1 where an earlier one ended it
    standard_error: float | None = None  # of the score as a mean of scorings; None for a single one
    scored_again: str = ""  # why f was called once more for a scoring: a process of the sandbox died; in `output`, too

    @classmethod
    def of_trial(cls, trial: Trial) -> Evaluation:
        """Return what is known of a finished trial, to be scored again by `Evaluator.more`."""
        return cls(
            trial.status,
            trial.score,
            trial.feedback,
            trial.metrics,
            trial.instances,
            trial.output,
            trial.seconds,
            trial.stage,
            trial.scorings,
            trial.standard_error,
        )

    def onto(self, trial: Trial) -> Trial:
        """Return the trial with what f said of its x, in place of what was known of it."""
        return replace(
            trial,
            status=self.status,
            score=self.score,
            feedback=self.feedback,
            metrics=self.metrics,
            instances=self.instances,
            output=self.output,
            seconds=self.seconds,
            stage=self.stage,
            scorings=self.scorings,
            standard_error=self.standard_error,
        )
