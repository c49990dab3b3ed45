"""What to build on next, one strategy a file: each is told of every finished trial, and asked for a plan."""

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


def as_search(search: str | Search) -> Search:
    """Return the strategy of this name, or the one given. Raises UnknownName with the nearest known word.

    >>> type(as_search("islands")).__name__
    'Islands'
    """
    if not isinstance(search, str):
        return search
    if search not in _BY_NAME:
        raise UnknownName("search", search, _BY_NAME)
    return _BY_NAME[search]()
