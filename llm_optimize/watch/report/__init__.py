"""One self-contained HTML file about a run, or about a comparison of runs: no network, it opens from disk."""

from __future__ import annotations

from ._write import write, write_stored

__all__ = ["write", "write_stored"]
