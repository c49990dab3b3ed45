"""Completion in the shell: names of runs, searches, proposers and the like for the TAB key.

It is quiet about everything: a store that cannot be read has no names to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

import typer

import llm_optimize

from ..errors import LlmOptimizeError
from ..sandbox import LEVELS

Completion = Callable[[str], list[str]]


def searches(incomplete: str) -> list[str]:
    """Return the searches that begin as typed."""
    return of_words(llm_optimize.search.NAMES)(incomplete)


def of_words(words: Iterable[str]) -> Completion:
    """Return a function that offers those of the words that begin as typed."""

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete


def run_names(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the runs of --store that begin as typed, the newest first."""
    store = context.params.get("store") or llm_optimize.store.DEFAULT_URL
    try:
        with closing(llm_optimize.store.Store(store, create=False)) as opened:
            names = opened.names()
    except LlmOptimizeError:
        return []
    return of_words(reversed(names))(incomplete)


def proposers(incomplete: str) -> list[str]:
    """Return the proposers that begin as typed."""
    return of_words(llm_optimize.optimize.build.proposer_names())(incomplete)


COMPLETIONS: dict[str, Completion] = {
    "--model": of_words(["mutation"]),
    "--proposer": proposers,
    "--sandbox": of_words(LEVELS),
    "--search": searches,
    "--direction": of_words(["maximize", "minimize"]),
    "--reasoning-effort": of_words(["low", "medium", "high"]),
}
