"""Who writes the next x: proposers by their names, gates that mix two, and the tuning of knobs."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UnknownName, UsageError
from ..propose import classical, gates
from ..propose.knobs import Tuned
from ..propose.model import ModelProposer
from ..propose.mutation import Mutation
from ..propose.policy_gradient import PolicyGradient
from ..records import Proposer, Task
from ..space import Space
from ._settings import Settings

Writer = str | Proposer | gates.GateSpec
_ASK_NOBODY = ("mutation", "policy_gradient", *classical.SAMPLERS)  # proposers that need no model


def as_writer(writer: Writer) -> Writer:
    """Return what is meant: a text with brackets is a gate. Raises what `gates.read` raises."""
    return gates.read(writer) if isinstance(writer, str) and "(" in writer else writer


def names_of(writer: Writer) -> tuple[object, ...]:
    """Return the proposer, or the two of a gate."""
    return writer.parts if isinstance(writer, gates.GateSpec) else (writer,)


def needs_model(writer: Writer, settings: Settings) -> bool:
    """Return whether a run asks a model at all. Raises UsageError for lessons that nobody would write."""
    asks = not all(name in _ASK_NOBODY for name in names_of(writer))
    if settings.reflect and not asks:
        raise UsageError(f"reflect asks a model for lessons, and the proposer {writer!s} uses none: leave it away")
    return asks


def as_proposer(writer: Writer, settings: Settings, space: Space | None) -> Proposer:
    """Return the proposer of this name, or the one given; with `settings.tune`, one that tunes knobs between its x.

    Raises UnknownName with the nearest name, and UsageError for parts that cannot work together.
    """
    if settings.tune and space is not None:
        raise UsageError(f"tune is {settings.tune}: with a space there are no numbers in code to tune; leave it away")
    proposer = _made(writer, settings, space)
    return Tuned(proposer, settings.tune) if settings.tune else proposer


def _made(writer: Writer, settings: Settings, space: Space | None) -> Proposer:
    makers = _makers(settings, space)

    def make(name: str) -> Proposer:
        if name not in makers:
            raise UnknownName("proposer", name, makers)
        return makers[name]()

    if isinstance(writer, gates.GateSpec):
        return writer.resolve(make)
    return make(writer) if isinstance(writer, str) else writer


def _makers(settings: Settings, space: Space | None) -> dict[str, Callable[[], Proposer]]:
    """Return how each proposer is made that has a name."""

    def learner() -> Proposer:
        if space is None:
            raise UsageError("policy_gradient draws parameters: give space={...}")
        return PolicyGradient(space)

    return {
        "model": lambda: ModelProposer(
            settings.task, space, max_prompt_tokens=settings.max_prompt_tokens, knobs=settings.tune > 0
        ),
        "mutation": lambda: Mutation(space),
        "policy_gradient": learner,
        **classical.makers(space),
    }


def proposer_names() -> tuple[str, ...]:
    """Return the proposers that have a name."""
    return tuple(_makers(Settings(Task("", "", "", "")), None))
