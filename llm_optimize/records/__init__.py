"""Records: the frozen values that the rooms hand to each other, complete at birth.

A candidate x is plain data: a text (`str`), a dict of named texts, or a dict of parameters.
Nothing here does I/O or knows how a record is displayed.
"""

from __future__ import annotations

from ..identity import X
from .counts import Counts, seconds_left, usage_of
from .direction import Direction
from .events import (
    BudgetUsed,
    CallFailed,
    Cap,
    ChampionFound,
    Event,
    Noticed,
    RunEnded,
    RunStarted,
    ScoredAgain,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Watcher,
)
from .protocols import Ask, Proposer, Search
from .result import Result
from .trial import (
    KNOWN,
    Evaluation,
    Plan,
    Proposal,
    Trial,
    describe_failure,
    rank,
)
from .values import Budget, Limits, Message, Reply, Score, Status, Task, Usage

__all__ = [
    "KNOWN",
    "Ask",
    "Budget",
    "BudgetUsed",
    "CallFailed",
    "Cap",
    "ChampionFound",
    "Counts",
    "Direction",
    "Evaluation",
    "Event",
    "Limits",
    "Message",
    "Noticed",
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
    "seconds_left",
    "usage_of",
]
