"""Changed trials, for tests of plug-ins."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ..records import Evaluation, Proposal, Trial


def changed(trial: Trial, **facts: Any) -> Trial:
    """Return a trial with other facts.

    Each fact is put into the record of the trial that has a field of its name. Raises TypeError
    for a name that none of them has.

    >>> from llm_optimize.records import Status
    >>> changed(Trial.of(0, "x", Status.COMPLETE, "x0", score=1.0), x="y", score=2.0).score
    2.0
    """
    own = {name: facts.pop(name) for name in _names(Trial) & facts.keys()}
    judged = {name: facts.pop(name) for name in _names(Evaluation) & facts.keys()}
    proposal = replace(trial.proposal, **facts) if facts else trial.proposal
    evaluation = replace(trial.evaluation, **judged)
    return replace(trial, **{"proposal": proposal, "evaluation": evaluation, **own})


def _names(record: type[Trial | Evaluation | Proposal]) -> set[str]:
    return {one.name for one in fields(record)}
