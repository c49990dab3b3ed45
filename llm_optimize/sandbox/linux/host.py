"""The levels `process` and `namespace` on Linux: the optimizer's side. Nothing that a child says is trusted."""

from __future__ import annotations

import logging
import os
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ...records import Limits
from ..outcome import Call, Outcome, OutcomeStatus, killed
from .bubblewrap import command
from .cgroups import Cgroups
from .fork_server_client import (
    ForkServer,
    ForkServerSettings,
    ScriptBroker,
    Supervisor,
    SupervisorSource,
)
from .landlock import landlock_abi
from .process_tree import fork, kill_tree
from .scoring import Scoring
from .supervisor import BROKER_VARIABLE, ChildSettings, supervise
from .visible_paths import secret_files_in, visible_paths_for

_log = logging.getLogger(__name__)
_STARTS = 3  # of a keeper for one call


class ProcessSandbox:
    """Calls f in children of a warm process that loaded it once."""

    def __init__(
        self,
        start: Callable[[], SupervisorSource],
        limits: Limits,
        level: str,
        cgroups: Cgroups | None = None,
    ) -> None:
        """Start where keepers come from. Raises FunctionUnusable or SandboxUnavailable as `start` does."""
        self.level = level
        self._start = start
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[Supervisor] = []
        self._busy: set[Supervisor] = set()
        self._closed = False
        self._cgroups = cgroups
        self._source = start()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What is at work here beyond processes and limits for each of them."""
        abi = landlock_abi()
        found = [f"landlock {abi}"] if abi else []
        found += ["namespaces"] if self.level == "namespace" else []
        found += self._source.isolation
        return (
            *found,
            *(
                f"cgroup {name}"
                for name in (self._cgroups.controllers if self._cgroups else ())
            ),
        )

    def run(self, call: Call) -> Outcome:
        """Return what becomes of f(x).

        When a process of ours dies under f, f is called once more, with its whole deadline, on the same x and seed; the
        outcome says so. Once only: a candidate may be what killed it.
        """
        outcome, died = self._run(call)
        if not died or self._closed or call.stop.given:
            return outcome
        _log.warning("a scoring is made again: %s", outcome.message)
        return replace(self._run(call)[0], scored_again=outcome.message)

    def _run(self, call: Call) -> tuple[Outcome, bool]:
        """Return what becomes of f(x), and whether a process of ours died under it."""
        refusal = ""
        for _ in range(_STARTS):
            supervisor = self._take()
            if supervisor is None:
                return killed(), False
            try:
                with call.stop.ends(supervisor.hang_up):
                    if supervisor.ready():
                        scoring = Scoring(supervisor, self._limits, call)
                        outcome = scoring.run()
                        ended = (
                            self._closed or call.stop.given
                        ) and outcome.status is OutcomeStatus.KILLED
                        return (
                            (killed(), False)
                            if ended
                            else (outcome, scoring.helper_died)
                        )
            finally:
                supervisor.usable = supervisor.usable and not call.stop.given
                self._give_back(supervisor)
            if call.stop.given:
                return killed(), False
            if supervisor.breach:
                return Outcome(
                    OutcomeStatus(supervisor.breach["status"]),
                    message=supervisor.breach["message"],
                ), False
            refusal = supervisor.refusal or refusal
            self._restart(supervisor.source)
        said = f"the warm process of the sandbox does not start: {refusal or 'it ends without a word'}"
        return Outcome(OutcomeStatus.KILLED, message=said), False

    def _take(self) -> Supervisor | None:
        """Return a keeper that waits for work, or a new one, or None when all is closed."""
        with self._lock:
            if self._closed:
                return None
            while self._idle:
                supervisor = self._idle.pop()
                if supervisor.alive():
                    break
                supervisor.discard()
            else:
                supervisor = Supervisor(
                    self._source, self._cgroups.new() if self._cgroups else None
                )
            self._busy.add(supervisor)
            return supervisor

    def _give_back(self, supervisor: Supervisor) -> None:
        with self._lock:
            self._busy.discard(supervisor)
            if supervisor.usable and not self._closed:
                self._idle.append(supervisor)
                return
        supervisor.discard()

    def _restart(self, source: SupervisorSource | None) -> None:
        """Put another in the place of a warm process that forks no keepers any more, if nobody else did."""
        with self._lock:
            if not self._closed and source is self._source and not source.works():
                _log.warning(
                    "the warm process of the sandbox has ended or hangs: it is started again"
                )
                source.close()
                self._source = self._start()

    def close(self) -> None:
        """End everything in flight."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, busy = self._idle, set(self._busy)
        for supervisor in busy:
            supervisor.hang_up()
        for supervisor in idle:
            supervisor.discard()
        self._source.close()
        if self._cgroups:
            self._cgroups.close()


def open_process(
    func: Callable[..., Any],
    limits: Limits,
    alone: bool,
    hidden: Sequence[str] = (),
    confined: bool = True,
) -> ProcessSandbox:
    """Return a sandbox of the level `process`, with the walls that this machine has; the `hidden` files are not opened.

    Raises FunctionUnusable when f cannot be packed, or cannot be loaded in a fresh process.
    """
    order = _fork_server_settings(func, limits, alone, namespaced=False)
    order = replace(
        order, masked=(*hidden, *secret_files_in(order.own_folders, limits))
    )
    order = order if confined else replace(order, view=None)
    return ProcessSandbox(lambda: ForkServer(order), limits, "process", Cgroups(limits))


def open_namespace(
    func: Callable[..., Any], limits: Limits, alone: bool, hidden: Sequence[str] = ()
) -> ProcessSandbox:
    """Return a sandbox of the level `namespace`, in which the `hidden` files are empty.

    Raises FunctionUnusable as above, and SandboxUnavailable when bubblewrap is missing or may not do its work.
    """
    order = _fork_server_settings(func, limits, alone, namespaced=True)
    secret = secret_files_in(order.own_folders, limits)
    wrapper = command(
        order.view or visible_paths_for(limits, ()), limits, (*hidden, *secret)
    )
    return ProcessSandbox(
        lambda: ForkServer(order, wrapper), limits, "namespace", Cgroups(limits)
    )


def open_script_broker(limits: Limits) -> ProcessSandbox | None:
    """Return a sandbox for scripts beside the one that this code runs in; None when it runs in none."""
    with suppress(ValueError, OSError):
        number, inode, level = os.environ.get(BROKER_VARIABLE, "").split(":")
        if os.fstat(int(number)).st_ino == int(inode):
            return ProcessSandbox(
                lambda: ScriptBroker(int(number), limits), limits, level
            )
    return None


def _fork_server_settings(
    func: Callable[..., Any], limits: Limits, alone: bool, namespaced: bool
) -> ForkServerSettings:
    paths = [
        os.path.realpath(entry) for entry in sys.path if entry and os.path.exists(entry)
    ]
    installed = tuple(path for path in paths if _is_installed(path))
    own = tuple(
        dict.fromkeys([os.getcwd(), *(path for path in paths if path not in installed)])
    )
    view = visible_paths_for(limits, installed if alone else (*own, *installed))
    return ForkServerSettings(func, limits, view, namespaced, alone, own, installed)


def _is_installed(path: str) -> bool:
    """Whether a folder on the path belongs to the interpreter or holds installed packages."""
    tops = {os.path.realpath(top) for top in (sys.base_prefix, sys.base_exec_prefix)}
    tops |= {
        os.path.realpath(top)
        for top in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    }
    parts = path.split(os.sep)
    return (
        any(path.startswith(top) for top in tops)
        or "site-packages" in parts
        or "dist-packages" in parts
    )


def run_forked(func: Callable[[Any], Any], call: Call, limits: Limits) -> Outcome:
    """Return what becomes of f(x) in a fork of this very process, which must have one thread only.

    Nothing is pickled and nothing imported anew; the child sees all that this process has.
    """
    ours, theirs = socket.socketpair()

    def keep() -> None:
        ours.close()
        supervise(theirs, ChildSettings(func, limits, view=None), scorings=1)

    pid = fork(keep)
    theirs.close()
    supervisor = Supervisor(None, None, ours)
    try:
        if not supervisor.ready():
            return Outcome(
                OutcomeStatus.KILLED,
                message="the process that watches over it was killed",
            )
        return Scoring(supervisor, limits, call).run()
    finally:
        supervisor.discard()
        if not supervisor.usable:
            kill_tree(pid)
        os.waitpid(pid, 0)


def can_fork_here() -> bool:
    """Whether this process has one thread only: a fork of one with more may wait for ever for a lock."""
    return len(os.listdir("/proc/self/task")) == 1
