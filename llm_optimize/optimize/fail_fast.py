"""Fail fast: when it is of no use to go on with a run. Pure, without store, model or watchers."""

from __future__ import annotations

import re

from ..evaluate import IMPOSSIBLE, MINIBATCH, SYNTAX
from ..records import Evaluation, Status, Trial, describe_failure

_MOST_ALIKE = 10  # trials in a row, after which a run is given up
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+", re.I)  # in a failure; also addresses and lines


class FailFast:
    """Finds out, in one session of a run, that it is of no use to go on.

    That is so where the first call of f shows that f itself is broken, where ten trials in a row
    fail in the same way, and where ten candidates in a row that a model was paid for are those of
    earlier trials. Once a trial has a score, failures count that a model was paid for: a learner
    or a random mutation may well spend ten trials where nothing works. Trials of earlier sessions
    do not count: f may have been mended since.

    Args:
        catch: whether to go on whatever f does.
    """

    def __init__(self, catch: bool = False) -> None:
        self.reason = ""  # why the run ends; empty while it does not
        self._catch = catch
        self._is_first = True  # f was not called yet
        self._failure = ""  # how the last trial failed
        self._same = 0  # trials in a row that failed so
        self._known = 0  # paid candidates in a row that were known already

    def observe(self, trial: Trial, has_scores: bool) -> None:
        """Learn a trial of this session; `has_scores` says whether any trial of the run has one.

        What f returned is held against f only for x0, which the user gave, and only while nothing
        has a score.
        """
        is_known = trial.status is Status.DUPLICATE and trial.usage.calls > 0
        self._known = self._known + 1 if is_known else 0
        if self._known >= _MOST_ALIKE:
            self.reason = (
                f"nothing left to propose: the last {self._known} candidates of the model were "
                "those of earlier trials; give it a higher temperature, or another search or model"
            )
        if self._catch or trial.status is Status.DUPLICATE:
            return
        fault = trial.evaluation.fault
        is_of_x0 = trial.source == "x0" and not has_scores
        is_certain = trial.status is Status.FAILED or is_of_x0
        if self._is_first and fault and is_certain:
            self.reason = f"error: {fault}; or go on all the same with the option catch"
        if trial.evaluation.scorings:
            self._is_first = False
        is_paid = trial.usage.calls > 0
        self._count_alike(trial, counts=is_paid or not has_scores)

    def _count_alike(self, trial: Trial, counts: bool) -> None:
        """Count trials in a row that fail in the same way, but for numbers and addresses.

        An x that is worse than a threshold, or than its parent on a few examples, is no failure
        of that kind.
        """
        failure = ""
        is_failed = trial.score is None and not _is_rejected(trial.evaluation)
        if is_failed and counts:
            failure = _NUMBER.sub("#", describe_failure(trial))
        self._same = self._same + 1 if failure == self._failure else 1
        self._failure = failure
        if failure and self._same >= _MOST_ALIKE:
            repair = "take another model" if trial.x is None else "mend f"
            self.reason = (
                f"error: the last {self._same} trials failed in the same way, "
                f"{describe_failure(trial)}; {repair}, or go on all the same with the option catch"
            )


def _is_rejected(evaluation: Evaluation) -> bool:
    """Whether f worked, and x was not good enough for a stage, or too good."""
    stage = evaluation.stage
    if stage in (SYNTAX, MINIBATCH, IMPOSSIBLE):
        return True
    return f"{stage}.score" in evaluation.metrics
