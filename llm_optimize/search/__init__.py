"""Searches: strategies that decide which trial the next x is built on and what is shown beside it.

One search is one file, with its rule in pseudo-code at the top: `best`, `best_of_n`, `chat`,
`tree`, `islands`, `pareto`. What they share is in `selection` (archive, parents, what is shown),
`distance` and `hints`. A search observes every finished trial and is asked for plans. It calls no
model, scores nothing, and draws random numbers only from the `rng` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UnknownName
from ..records import Search
from .best import Best
from .best_of_n import BestOfN
from .chat import Chat
from .islands import Islands
from .pareto import Pareto
from .tree import Tree

__all__ = ["Best", "BestOfN", "Chat", "Islands", "Pareto", "Tree", "as_search"]

_BY_NAME: dict[str, Callable[[], Search]] = {
    "best": Best,
    "best_of_n": BestOfN,
    "chat": Chat,
    "islands": Islands,
    "pareto": Pareto,
    "tree": Tree,
}
NAMES = tuple(_BY_NAME)


def as_search(search: str | Search) -> Search:
    """Return the search of this name, or the one given.

    Raises UnknownName with the nearest known name.

    >>> type(as_search("islands")).__name__
    'Islands'
    """
    if not isinstance(search, str):
        return search
    if search not in _BY_NAME:
        raise UnknownName("search", search, _BY_NAME)
    return _BY_NAME[search]()
