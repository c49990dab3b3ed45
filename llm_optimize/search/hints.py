"""Hints: sentences that a search adds to a plan when a run needs another kind of idea."""

from __future__ import annotations

from ..records import Trial

UNLIKE = (
    "The last attempts brought no progress. Do not refine what is there: try something that is "
    "unlike everything that was tried so far, even if it may score worse at first."
)
DRAFT = (
    "Take x only as an example of the form. Write an approach of your own, from scratch: "
    "a different idea, not a refinement of this one."
)
NEW_KIND = (
    "Several lines of work have come to a halt. Step back: name in one sentence the kind of idea "
    "that all attempts so far have in common, then choose a fundamentally different kind, and "
    "write the next x with that."
)
REPAIR = (
    "This x has failed. Keep its idea, find what made it fail, and repair just that."
)


def combine(parent: Trial, other: Trial) -> str:
    """Return the hint to unite two trials that are both shown."""
    return (
        f"Trials {parent.number} and {other.number} are both good, in different ways. "
        "Combine the strengths of the two in one x."
    )


def complement(parent: Trial, other: Trial, won: str) -> str:
    """Return the hint to take over from `other` what it is better at, which `won` names."""
    return (
        f"Trial {other.number} is better than trial {parent.number} at {won}. Write one x that "
        f"keeps what makes trial {parent.number} good and takes over what makes trial "
        f"{other.number} better there."
    )
