"""From the words that users write to the parts that a run is made of."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UnknownName, UsageError
from ..llm import Chat, Model, as_model
from ..propose.model import ModelProposer
from ..propose.mutation import Mutation
from ..records import Proposer, Search, Task, Watcher
from ..search import as_search
from ..space import Space, as_space
from ..watch import screen
from ._settings import Settings


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and its settings as the store keeps them."""

    settings: Settings
    search: Search
    proposer: Proposer
    model: Model | None  # None: the proposer needs none

    async def aclose(self) -> None:
        """Close the connections of the model on this event loop."""
        if self.model is not None:
            await self.model.aclose()


def choose(
    settings: Settings, model: Any, search: str | Search, proposer: str | Proposer | None, space: Any = None
) -> Parts:
    """Return the parts that were named or given; `model="mutation"` is short for that proposer and no model.

    Raises UnknownName for a word that means nothing here, UsageError for parts that cannot work together, and
    MissingKey when the model has no key.
    """
    parameters = None if space is None else as_space(space)
    writer = "mutation" if model == "mutation" else proposer or "model"
    if writer == "mutation" and not settings.x0 and parameters is None:
        raise UsageError("mutation changes an x that there is: give x0 or space, or let a model write the first x")
    speaker = None if writer == "mutation" else as_model(model)
    if isinstance(speaker, Chat) and writer == "model":
        speaker.check()
    named = replace(
        settings,
        model=speaker.name if speaker else "",
        is_chat=speaker is None or isinstance(speaker, Chat),
        base_url=speaker.base_url if isinstance(speaker, Chat) else None,
        proposer=writer if isinstance(writer, str) else type(writer).__name__,
        search=search if isinstance(search, str) else type(search).__name__,
        space=parameters.to_json() if parameters else None,
    )
    return Parts(named, as_search(search), _as_proposer(writer, settings.task, parameters), speaker)


def _as_proposer(writer: str | Proposer, task: Task, space: Space | None) -> Proposer:
    if not isinstance(writer, str):
        return writer
    makers: dict[str, Callable[[], Proposer]] = {
        "model": lambda: ModelProposer(task, space),
        "mutation": lambda: Mutation(space),
    }
    if writer not in makers:
        raise UnknownName("proposer", writer, makers)
    return makers[writer]()


def stored_model(settings: Settings) -> Any:
    """Return the model of a stored run, by its name; the key comes from the environment as ever.

    Raises UsageError for a model that is found by no name, such as a callable.
    """
    if not settings.is_chat:
        raise UsageError(
            f"the model of this run, {settings.model!r}, is a program of yours and not stored: pass model="
        )
    return Chat(settings.model, base_url=settings.base_url) if settings.model else None


def where(func: Callable[..., Any]) -> str | None:
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


@contextmanager
def watching(verbose: bool, callbacks: Sequence[Watcher]) -> Iterator[list[Watcher]]:
    """Yield the watchers of a run; the terminal is left as it was, whatever happens."""
    if not verbose:
        yield list(callbacks)
        return
    shown = screen()
    try:
        yield [shown, *callbacks]
    finally:
        shown.close()
