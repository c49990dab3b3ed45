"""A local web page of all runs of a store, live while they run: the parts of the report, and a few buttons to steer."""

from __future__ import annotations

from ._server import DEFAULT_PORT, Page

__all__ = ["DEFAULT_PORT", "Page"]
