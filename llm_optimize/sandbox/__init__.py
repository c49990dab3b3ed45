"""Running code that may be hostile: one interface, one outcome, three levels.

`process` (the default) calls f in a process of its own, killed with all its kin at the deadline; `namespace` does so in
a world of its own; `inline` does it here. `auto` takes the strongest that works on this machine.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from ..errors import SandboxUnavailable, UnknownName
from ..records import Limits
from .executor_worker import Parcel, call_there, make_parcel
from .inline import InlineSandbox
from .machine import Mechanism, check_machine
from .outcome import Call, Outcome, OutcomeStatus, Sandbox, Stop
from .portable import PortableSandbox
from .scripts import MISSING, UNKNOWN, perform

if sys.platform == "linux":
    from .linux.host import (
        can_fork_here,
        open_namespace,
        open_process,
        open_script_broker,
        run_forked,
    )

__all__ = [
    "LEVELS",
    "MISSING",
    "UNKNOWN",
    "Call",
    "InlineSandbox",
    "Mechanism",
    "Outcome",
    "OutcomeStatus",
    "Parcel",
    "PortableSandbox",
    "Sandbox",
    "Stop",
    "call_there",
    "check_machine",
    "make_parcel",
    "open_sandbox",
    "open_script_sandbox",
    "run_once",
]

_log = logging.getLogger("llm_optimize")
LEVELS = ("inline", "process", "namespace", "auto")


def open_sandbox(
    level: str,
    func: Callable[..., Any],
    limits: Limits | None = None,
    hidden: Sequence[str] = (),
) -> Sandbox:
    """Return a sandbox of this level that calls `func`; the `hidden` files cannot be opened in it.

    At `inline` they can; at `process` also where the machine has neither user namespaces nor Landlock.

    Raises:
        UnknownName: no such level.
        UsageError: the limits name a file that does not exist.
        FunctionUnusable: f cannot be pickled, or cannot be loaded in a fresh process.
        SandboxUnavailable: this machine cannot do it; with what is missing and how to get it.
    """
    if level not in LEVELS:
        raise UnknownName("sandbox", level, LEVELS)
    return (
        InlineSandbox(func)
        if level == "inline"
        else _open(level, func, limits or Limits(), False, hidden)
    )


def open_script_sandbox(level: str, limits: Limits) -> Sandbox:
    """Return a sandbox in which judged scripts run, apart from f and from all that f knows.

    From inside a scoring it is a neighbour of that one's sandbox, of the same level. Raises as `open_sandbox` does.
    """
    if level not in LEVELS or level == "inline":
        raise UnknownName(
            "sandbox", level, [name for name in LEVELS if name != "inline"]
        )
    beside = open_script_broker(limits) if sys.platform == "linux" else None
    if beside is None:
        return _open(level, perform, limits, True, ())
    if level == "namespace" and beside.level != "namespace":
        beside.close()
        raise SandboxUnavailable(
            "no namespaces can be made from inside a sandbox of the level 'process': run f with sandbox='namespace'"
        )
    return beside


def _open(
    level: str,
    func: Callable[..., Any],
    limits: Limits,
    alone: bool,
    hidden: Sequence[str],
) -> Sandbox:
    if sys.platform != "linux":
        if level == "namespace":
            raise SandboxUnavailable(
                "sandbox='namespace' needs Linux: use 'process', or a virtual machine"
            )
        return PortableSandbox(func, limits, alone)
    if level == "process":
        return open_process(func, limits, alone, hidden)
    try:
        return open_namespace(func, limits, alone, hidden)
    except SandboxUnavailable as error:
        if level == "namespace":
            raise
        _log.warning("sandbox='auto' takes 'process': %s", error)
        return open_process(func, limits, alone, hidden)


def run_once(func: Callable[[Any], Any], call: Call, limits: Limits) -> Outcome:
    """Return what becomes of one f(x) in a process of its own: by a fork of this one where that is safe and quick.

    It sees all files that this process sees. Raises FunctionUnusable when a fresh process is needed and f cannot be
    sent to it.
    """
    if sys.platform == "linux" and can_fork_here():
        return run_forked(func, call, limits)
    fresh: Sandbox = (
        open_process(func, limits, alone=False, confined=False)
        if sys.platform == "linux"
        else PortableSandbox(func, limits)
    )
    with closing(fresh) as sandbox:
        return sandbox.run(call)
