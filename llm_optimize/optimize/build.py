"""From what users write to the parts that a run is made of."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import UnknownName, UsageError
from ..evaluate import Examples, Judging, Repeats
from ..llm import Chat, Ensemble, Model, as_model
from ..propose.gates import GateSpec
from ..propose.reflect import Reflection
from ..protected import check_regions
from ..records import Proposer, Search
from ..search import as_search
from ..space import Space, as_space
from ..stop import Progress, Rule, as_rule
from ._proposers import Writer, as_proposer, as_writer, names_of, needs_model
from ._settings import Settings
from ._spending import refuse_unknown_price


@dataclass(frozen=True)
class Chosen:
    """The parts of a run as the user wrote them; what is left out is the default."""

    model: Any = None
    search: str | Search = "best"
    proposer: str | Proposer | GateSpec | None = None
    space: Space | Mapping[str, Any] | None = None
    stop: Rule | Callable[[Progress], bool] | None = None
    repeats: Repeats | int | None = None
    examples: Examples | None = None
    executor: Executor | None = None
    replayed: bool = False  # replies come from another run, and no model is asked


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and its settings as the store keeps them."""

    settings: Settings
    search: Search
    proposer: Proposer
    model: Model | None  # None: the proposer needs none
    stop: Rule | None = None
    judging: Judging = field(default_factory=Judging)
    reflection: Reflection | None = None

    async def aclose(self) -> None:
        """Close the connections of the model on this event loop."""
        if self.model is not None:
            await self.model.aclose()


def choose(settings: Settings, chosen: Chosen) -> Parts:
    """Return the parts that were named or given; `model="mutation"` is short for that proposer and no model.

    Raises UnknownName for a word that means nothing here, UsageError for parts that cannot work together, and
    MissingKey when the model has no key.
    """
    space = None if chosen.space is None else as_space(chosen.space)
    writer = as_writer("mutation" if chosen.model == "mutation" else chosen.proposer or "model")
    for x in settings.x0 if space is None else ():
        check_regions(x)
    if writer == "mutation" and not settings.x0 and space is None:
        raise UsageError("mutation changes an x that there is: give x0 or space, or let a model write the first x")
    speaker = (
        as_model(chosen.model, seed=settings.seed) if needs_model(writer, settings) and not chosen.replayed else None
    )
    if isinstance(speaker, Chat | Ensemble) and "model" in names_of(writer):
        speaker.check()
    refuse_unknown_price(settings.budget, speaker)
    repeats = Repeats(chosen.repeats) if isinstance(chosen.repeats, int) else chosen.repeats
    judging = Judging(settings.max_score, repeats, chosen.examples, chosen.executor)
    return Parts(
        settings if chosen.replayed else _named(settings, chosen, writer, speaker, space),
        as_search(chosen.search),
        as_proposer(writer, settings, space),
        speaker,
        as_rule(chosen.stop),
        judging,
        Reflection(settings.task) if settings.reflect else None,
    )


def _named(settings: Settings, chosen: Chosen, writer: Writer, speaker: Model | None, space: Space | None) -> Settings:
    """Return the settings with the names of the parts, by which a resume finds them again."""
    return replace(
        settings,
        x0=settings.x0 if space is None else tuple(map(space.check, settings.x0)),
        model=speaker.name if speaker else "",
        is_chat=speaker is None or isinstance(speaker, Chat),
        base_url=speaker.base_url if isinstance(speaker, Chat) else None,
        proposer=str(writer) if isinstance(writer, str | GateSpec) else type(writer).__name__,
        search=chosen.search if isinstance(chosen.search, str) else type(chosen.search).__name__,
        space=space.to_json() if space else None,
    )


def stored_model(settings: Settings) -> Any:
    """Return the model of a stored run, by its name; the key comes from the environment as ever.

    Raises UsageError for a model that is found by no name, such as a callable.
    """
    if not settings.is_chat:
        raise UsageError(
            f"the model of this run, {settings.model!r}, is a program of yours and not stored: pass model="
        )
    return Chat(settings.model, base_url=settings.base_url) if settings.model else None


def where(func: Any) -> str | None:
    """Return FILE.py:NAME of a function that can be found again by it, else None."""
    name = getattr(func, "__qualname__", "")
    if getattr(func, "__module__", "__main__") == "__main__" or not name.isidentifier():
        return None
    try:
        file = inspect.getsourcefile(func)
    except TypeError:
        return None
    return f"{Path(file).resolve()}:{name}" if file else None


def seed_or_new(seed: int | None) -> int:
    """Return the seed, or a new one."""
    return random.SystemRandom().getrandbits(32) if seed is None else seed


def refuse_unknown(options: Any, known: type) -> None:
    """Raise UnknownName for a keyword that is none of a TypedDict's, with the nearest that is."""
    for word in options:
        if word not in known.__annotations__:
            raise UnknownName("argument", word, known.__annotations__)
