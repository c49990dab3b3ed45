"""Who writes the next x: proposers by their names, gates that mix two, and the tuning of knobs."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UnknownName, UsageError
from ..propose import classical
from ..propose.knobs import Tuned
from ..propose.model import ModelProposer
from ..propose.mutation import Mutation
from ..records import Proposer
from ..space import Space
from ._settings import Settings

_ASK_NOBODY = ("mutation", *classical.SAMPLERS)  # proposers that need no model


def needs_model(writer: str | Proposer, settings: Settings) -> bool:
    """Return whether a run asks a model at all. Raises UsageError for lessons that nobody would write."""
    asks = writer not in _ASK_NOBODY
    if settings.reflect and not asks:
        raise UsageError(f"reflect asks a model for lessons, and the proposer {writer!r} uses none: leave it away")
    return asks


def as_proposer(writer: str | Proposer, settings: Settings, space: Space | None) -> Proposer:
    """Return the proposer of this name, or the one given; with `settings.tune`, one that tunes knobs between its x.

    Raises UnknownName with the nearest name, and UsageError for parts that cannot work together.
    """
    if settings.tune and space is not None:
        raise UsageError(f"tune is {settings.tune}: with a space there are no numbers in code to tune; leave it away")
    proposer = _made(writer, settings, space)
    return Tuned(proposer, settings.tune) if settings.tune else proposer


def _made(writer: str | Proposer, settings: Settings, space: Space | None) -> Proposer:
    makers = _makers(settings, space)

    def make(name: str) -> Proposer:
        if name not in makers:
            raise UnknownName("proposer", name, makers)
        return makers[name]()

    return make(writer) if isinstance(writer, str) else writer


def _makers(settings: Settings, space: Space | None) -> dict[str, Callable[[], Proposer]]:
    """Return how each proposer is made that has a name."""
    return {
        "model": lambda: ModelProposer(
            settings.task, space, max_prompt_tokens=settings.max_prompt_tokens, knobs=settings.tune > 0
        ),
        "mutation": lambda: Mutation(space),
        **classical.makers(space),
    }
