"""Sandbox: runs code that may be hostile; one interface and one kind of outcome at every level.

`process` (the default) calls f in a process of its own, killed with all its descendants at the
deadline. `namespace` adds Linux namespaces made by bubblewrap: no network, no other processes, no
homes. `inline` calls f in this process. `auto` takes the strongest level that works on this
machine.

Nothing that a child sends is trusted, and nothing is unpickled. The Linux machinery is in `linux/`,
whose docstring shows the process tree; `portable.py` serves macOS and Windows.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from ..errors import SandboxUnavailable, UnknownName
from ..records import Limits
from .blame import CALL, IMPORT, fault_of
from .executor_worker import Parcel, call_in_worker, make_parcel
from .inline import InlineSandbox
from .machine import Mechanism, check_machine
from .outcome import Call, Outcome, OutcomeStatus, Sandbox, Stop
from .portable import PortableSandbox
from .scripts import MISSING, UNKNOWN, run_job, script_error

if sys.platform == "linux":
    from .linux.host import (
        can_fork_here,
        open_namespace,
        open_process,
        open_script_broker,
        run_forked,
    )

__all__ = [
    "CALL",
    "IMPORT",
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
    "call_in_worker",
    "check_machine",
    "fault_of",
    "make_parcel",
    "open_sandbox",
    "open_script_sandbox",
    "run_once",
    "script_error",
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

    At `inline` they can; at `process` also where the machine has neither user namespaces nor
    Landlock.

    Raises:
        UnknownName: no such level.
        UsageError: the limits name a file that does not exist.
        FunctionUnusable: f cannot be pickled, or cannot be loaded in a fresh process.
        SandboxUnavailable: this machine cannot do it; with what is missing and how to get it.
    """
    if level not in LEVELS:
        raise UnknownName("sandbox", level, LEVELS)
    if level == "inline":
        return InlineSandbox(func)
    return _open(level, func, limits or Limits(), for_scripts=False, hidden=hidden)


def open_script_sandbox(level: str, limits: Limits) -> Sandbox:
    """Return a sandbox in which judged scripts run, apart from f and from all that f knows.

    Called from inside a scoring, it belongs to the sandbox of that scoring and has its level.
    Raises as `open_sandbox` does.
    """
    if level not in LEVELS or level == "inline":
        known = [name for name in LEVELS if name != "inline"]
        raise UnknownName("sandbox", level, known)
    inside = None
    if sys.platform == "linux":
        inside = open_script_broker(limits)
    if inside is None:
        return _open(level, run_job, limits, for_scripts=True)
    if level == "namespace" and inside.level != "namespace":
        inside.close()
        raise SandboxUnavailable(
            "no namespaces can be made from inside a sandbox of the level 'process': "
            "run f with sandbox='namespace'"
        )
    return inside


def _open(
    level: str,
    func: Callable[..., Any],
    limits: Limits,
    *,
    for_scripts: bool,
    hidden: Sequence[str] = (),
) -> Sandbox:
    if sys.platform != "linux":
        if level == "namespace":
            raise SandboxUnavailable(
                "sandbox='namespace' needs Linux: use 'process', or a virtual machine"
            )
        return PortableSandbox(func, limits, for_scripts=for_scripts)
    if level == "process":
        return open_process(func, limits, for_scripts=for_scripts, hidden=hidden)
    try:
        return open_namespace(func, limits, for_scripts=for_scripts, hidden=hidden)
    except SandboxUnavailable as error:
        if level == "namespace":
            raise
        _log.warning("sandbox='auto' takes 'process': %s", error)
        return open_process(func, limits, for_scripts=for_scripts, hidden=hidden)


def run_once(func: Callable[[Any], Any], call: Call, limits: Limits) -> Outcome:
    """Call f(x) once, in a process of its own that sees all files that this process sees.

    The process is a fork of this one where that is safe, else a fresh one. Raises FunctionUnusable
    when a fresh process is needed and f cannot be sent to it.
    """
    if sys.platform == "linux":
        if can_fork_here():
            return run_forked(func, call, limits)
        fresh: Sandbox = open_process(func, limits, for_scripts=False, confined=False)
    else:
        fresh = PortableSandbox(func, limits)
    with closing(fresh) as sandbox:
        return sandbox.run(call)
