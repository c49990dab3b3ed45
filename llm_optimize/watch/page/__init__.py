"""Web page of all runs of a store, live while they run, with a few buttons to steer them.

It is served on this machine and drawn with the JavaScript of the report.
"""

from __future__ import annotations

from ._server import DEFAULT_PORT, Page

__all__ = ["DEFAULT_PORT", "Page"]
