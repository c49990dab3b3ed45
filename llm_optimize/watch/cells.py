"""Cells of a notebook: whether this program runs in one, and in which."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["cell_number", "in_notebook"]


def in_notebook() -> bool:
    """Whether this program runs in the kernel of a notebook; IPython in a terminal does not."""
    return getattr(_shell(), "kernel", None) is not None


def cell_number() -> int | None:
    """Return the number of the cell that is run; None outside of a notebook."""
    number: int | None = getattr(_shell(), "execution_count", None)
    return number


def _shell() -> Any:
    """Return the shell of IPython; None where it was never imported, or does not run."""
    ipython = sys.modules.get("IPython")
    if ipython is None:
        return None
    return ipython.get_ipython()
