"""Report: one self-contained HTML file about a run, or about a comparison of runs.

It opens from disk and needs no network.
"""

from __future__ import annotations

from ._write import write, write_stored

__all__ = ["write", "write_stored"]
