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
generate                            the command `generate-models`
flags, ledger, asking               options of commands; replies on disk; calls in a budget
synthetic/                          the ridge experiment

found = advisor.recommend(advisor.describe(frame, "price"), "gpt-5-mini")
"""

from __future__ import annotations

from ...space import Space
from .describe import describe
from .evaluate import Evaluation, Limited, evaluate
from .grids import builtin_grids, space_of
from .library import Library, builtin_tasks
from .own_runs import observed_of, own_tasks
from .prompts import task_text
from .recommend import Recommendation, Request, arecommend, recommend
from .similar import support

__all__ = [
    "Evaluation",
    "Limited",
    "Recommendation",
    "Request",
    "arecommend",
    "describe",
    "evaluate",
    "observed_of",
    "past_tasks",
    "recommend",
    "space",
    "support",
    "task_text",
]


def space() -> Space:
    """Return the space of all configurations of the built-in grids."""
    return space_of(builtin_grids())


def past_tasks(store: str | None = None) -> Library:
    """Return the past tasks of the package and, with a store, those of your own runs."""
    grids = builtin_grids()
    found = dict(builtin_tasks(grids))
    if store is not None:
        found.update(own_tasks(store, grids))
    return found
