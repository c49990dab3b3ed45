"""The advisor: models and hyperparameters for a table of data, recommended in one call.

describe        a data set as metadata
support         the past tasks that are like it
library         all past tasks: those of the package, and of your own runs
recommend       configurations, by a model or by past tasks alone
space           all configurations, for `optimize.run(space=..., x0=recommended.x())`
task_text       a description for such a run, by which later recommendations learn of it
evaluate        what they are worth: trained, blended, and beside plain baselines

grids, similar, portfolio           what can be chosen; which past tasks are near
prompts, answer                     what a model is asked, and how its answer is read
crossval, estimators, scores        how a configuration is trained and scored
generating                          the command `generate-models`
options, flags, ledger, asking      options of commands; replies on disk; calls in a budget
synthetic/                          the ridge experiment

found = advisor.recommend(advisor.describe(frame, "price"), "gpt-5-mini")

The modules load when they are first used, so that the help of a command loads none of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .description import describe
    from .evaluation import Evaluation, Limited, evaluate
    from .generating import generate
    from .own_runs import observed_of
    from .past import past_tasks, space
    from .prompts import task_text
    from .recommendation import Recommendation, Request, arecommend, recommend
    from .similar import support

_MODULES = {
    "Evaluation": "evaluation",
    "Limited": "evaluation",
    "Recommendation": "recommendation",
    "Request": "recommendation",
    "arecommend": "recommendation",
    "describe": "description",
    "evaluate": "evaluation",
    "generate": "generating",
    "observed_of": "own_runs",
    "past_tasks": "past",
    "recommend": "recommendation",
    "space": "past",
    "support": "similar",
    "task_text": "prompts",
}
__all__ = [
    "Evaluation",
    "Limited",
    "Recommendation",
    "Request",
    "arecommend",
    "describe",
    "evaluate",
    "generate",
    "observed_of",
    "past_tasks",
    "recommend",
    "space",
    "support",
    "task_text",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f".{_MODULES[name]}", __name__)
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
