"""The names of the stages that are not the user's."""

from __future__ import annotations

SYNTAX = (
    "syntax"  # the stage before all others: x does not compile where its parent does
)
MINIBATCH = "minibatch"  # the stage before all examples: x is no better than its parent on a few of them
IMPOSSIBLE = "max_score"  # the stage of a score above the user's `max_score`: whoever reports should list such trials
