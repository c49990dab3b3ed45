"""Watchers: they show runs, fed by events and by the store, and steer nothing."""

from __future__ import annotations

from .cells import in_notebook
from .console import Console
from .notebook import Notebook

__all__ = ["screen"]


def screen() -> Console | Notebook:
    """Return the watcher for where this program runs: a notebook, or a terminal or file.

    `close` it at the end.
    """
    return Notebook() if in_notebook() else Console()
