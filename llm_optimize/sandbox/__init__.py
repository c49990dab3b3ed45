"""Running code that may be hostile: one interface, one outcome, two levels.

`process` (the default) calls f in a process of its own, killed with all its kin at the deadline; `inline` does it here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import closing
from typing import Any

from ..errors import UnknownName
from ..records import Limits
from ._inline import InlineSandbox
from ._outcome import Outcome, OutcomeStatus, Sandbox
from ._portable import PortableSandbox

if sys.platform == "linux":
    from ._process import ProcessSandbox, may_fork, run_forked
else:
    ProcessSandbox = PortableSandbox

__all__ = [
    "InlineSandbox",
    "Outcome",
    "OutcomeStatus",
    "PortableSandbox",
    "ProcessSandbox",
    "Sandbox",
    "open_sandbox",
    "run_once",
]

LEVELS = ("inline", "process")


def open_sandbox(level: str, func: Callable[..., Any], limits: Limits | None = None) -> Sandbox:
    """Return a sandbox of this level that calls `func`.

    Raises:
        UnknownName: no such level.
        FunctionUnusable: f cannot be pickled, or cannot be loaded in a fresh process.
        SandboxUnavailable: this machine cannot do it.
    """
    if level not in LEVELS:
        raise UnknownName("sandbox", level, LEVELS)
    return InlineSandbox(func) if level == "inline" else ProcessSandbox(func, limits or Limits())


def run_once(func: Callable[[Any], Any], x: Any, timeout_secs: float, limits: Limits) -> Outcome:
    """Return what becomes of one f(x) at the `process` level: by a fork of this process where that is safe and quick.

    Raises FunctionUnusable when a fresh process is needed and f cannot be sent to it.
    """
    if sys.platform == "linux" and may_fork():
        return run_forked(func, x, timeout_secs, limits)
    with closing(ProcessSandbox(func, limits)) as sandbox:
        return sandbox.run(x, timeout_secs)
