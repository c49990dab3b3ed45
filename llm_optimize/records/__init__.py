"""What the rooms hand to each other: frozen records, whole at birth.

x, a candidate, is plain data: a text (`str`), or a dict of named texts, or a dict of parameters.
"""

from __future__ import annotations

from ..identity import X
from ._caps import Counts, usage_of
from ._events import (
    BudgetUsed,
    CallFailed,
    Cap,
    ChampionFound,
    Event,
    RunEnded,
    RunStarted,
    ScoredAgain,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Watcher,
)
from ._parts import Ask, Proposer, Search
from ._result import Result
from ._trial import Evaluation, Plan, Proposal, Trial, describe_failure, rank
from ._words import Budget, Limits, Message, Reply, Score, Status, Task, Usage

__all__ = [
    "Ask",
    "Budget",
    "BudgetUsed",
    "CallFailed",
    "Cap",
    "ChampionFound",
    "Counts",
    "Evaluation",
    "Event",
    "Limits",
    "Message",
    "Plan",
    "Proposal",
    "Proposer",
    "Reply",
    "Result",
    "RunEnded",
    "RunStarted",
    "Score",
    "ScoredAgain",
    "Search",
    "Status",
    "Task",
    "Trial",
    "TrialFinished",
    "TrialProposed",
    "TrialStarted",
    "Usage",
    "Watcher",
    "X",
    "describe_failure",
    "rank",
    "usage_of",
]
