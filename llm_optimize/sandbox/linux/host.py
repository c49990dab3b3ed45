"""The levels `process` and `namespace` on Linux, seen from the optimizer.

A sandbox has a fork server and as many supervisors as calls run at a time. Nothing that a child
sends is trusted.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ...records import Limits
from ..outcome import Call, Outcome, OutcomeStatus, killed
from .bubblewrap import bubblewrap_command
from .cgroups import Cgroups
from .child_setup import ChildSettings
from .fork_server_client import ForkServer, ForkServerSettings
from .landlock import landlock_abi
from .process_tree import fork, kill_tree
from .scoring import Scoring
from .script_broker_client import find_script_broker
from .supervisor import supervise
from .supervisor_link import Supervisor, SupervisorSource
from .visible_paths import secret_files_in, visible_paths_for

_log = logging.getLogger(__name__)
_MAX_STARTS = 3  # of a supervisor for one call


class ProcessSandbox:
    """Calls f in children of a fork server that loaded it once.

    Args:
        start: starts the source of supervisors; it may raise FunctionUnusable or
        SandboxUnavailable.
        limits: of each scoring.
        level: `process` or `namespace`.
        cgroups: for the supervisors, where groups can be made.
    """

    def __init__(
        self,
        start: Callable[[], SupervisorSource],
        limits: Limits,
        level: str,
        cgroups: Cgroups | None = None,
    ) -> None:
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
        """The isolation at work here, beyond processes and limits for each of them."""
        found: list[str] = []
        abi = landlock_abi()
        if abi:
            found.append(f"landlock {abi}")
        if self.level == "namespace":
            found.append("namespaces")
        found += self._source.isolation
        if self._cgroups is not None:
            found += [f"cgroup {name}" for name in self._cgroups.controllers]
        return tuple(found)

    def run(self, call: Call) -> Outcome:
        """Call f(x) and return the outcome.

        When a process of ours dies under f, f is called once more, with its whole deadline, on the
        same x and seed, and the outcome says so. Once only: a candidate may be what killed it.
        """
        outcome, helper_died = self._run(call)
        if not helper_died or self._closed or call.stop.given:
            return outcome
        _log.warning("a scoring is made again: %s", outcome.message)
        second, _ = self._run(call)
        return replace(second, scored_again=outcome.message)

    def _run(self, call: Call) -> tuple[Outcome, bool]:
        """Return the outcome of f(x), and whether a process of ours died under it."""
        refusal = ""
        for _ in range(_MAX_STARTS):
            supervisor = self._take()
            if supervisor is None:
                return killed(), False
            try:
                with call.stop.ends(supervisor.hang_up):
                    if supervisor.ready():
                        return self._score(supervisor, call)
            finally:
                supervisor.usable = supervisor.usable and not call.stop.given
                self._give_back(supervisor)
            if call.stop.given:
                return killed(), False
            if supervisor.breach:
                status = OutcomeStatus(supervisor.breach["status"])
                message = supervisor.breach["message"]
                return Outcome(status, message=message), False
            refusal = supervisor.refusal or refusal
            self._restart(supervisor.source)
        reason = refusal or "it ends without a word"
        message = f"the fork server of the sandbox does not start: {reason}"
        return Outcome(OutcomeStatus.KILLED, message=message), False

    def _score(self, supervisor: Supervisor, call: Call) -> tuple[Outcome, bool]:
        scoring = Scoring(supervisor, self._limits, call)
        outcome = scoring.run()
        is_ending = self._closed or call.stop.given
        if is_ending and outcome.status is OutcomeStatus.KILLED:
            return killed(), False
        return outcome, scoring.helper_died

    def _take(self) -> Supervisor | None:
        """Return a supervisor that waits for work, or a new one, or None when all is closed."""
        with self._lock:
            if self._closed:
                return None
            supervisor = None
            while self._idle and supervisor is None:
                candidate = self._idle.pop()
                if candidate.alive():
                    supervisor = candidate
                else:
                    candidate.discard()
            if supervisor is None:
                cgroup = self._cgroups.new() if self._cgroups else None
                supervisor = Supervisor(self._source, cgroup)
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
        """Replace a fork server that forks no supervisors any more, if no other thread did."""
        with self._lock:
            if self._closed or source is not self._source or source.works():
                return
            _log.warning(
                "the fork server of the sandbox has ended or hangs: it is started again"
            )
            source.close()
            self._source = self._start()

    def close(self) -> None:
        """End all calls in flight."""
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
    *,
    for_scripts: bool,
    hidden: Sequence[str] = (),
    confined: bool = True,
) -> ProcessSandbox:
    """Return a sandbox of the level `process`, with the isolation that this machine has.

    Args:
        func: f.
        limits: of each scoring.
        for_scripts: whether judged scripts run in it: without f's folders, in the scratch
        directory.
        hidden: files that cannot be opened.
        confined: whether anything is isolated; else a child sees all that the optimizer sees.

    Raises FunctionUnusable when f cannot be pickled, or cannot be loaded in a fresh process.
    """
    settings = _settings(func, limits, for_scripts=for_scripts, namespaced=False)
    masked = list(hidden)
    masked += secret_files_in(settings.own_folders, limits)  # wall: hiding keys
    settings = replace(settings, masked=tuple(masked))
    if not confined:
        settings = replace(settings, paths=None)
    return ProcessSandbox(
        lambda: ForkServer(settings), limits, "process", Cgroups(limits)
    )


def open_namespace(
    func: Callable[..., Any],
    limits: Limits,
    *,
    for_scripts: bool,
    hidden: Sequence[str] = (),
) -> ProcessSandbox:
    """Return a sandbox of the level `namespace`, in which the `hidden` files are empty.

    Raises FunctionUnusable as above, and SandboxUnavailable when bubblewrap is missing or does not
    work.
    """
    settings = _settings(func, limits, for_scripts=for_scripts, namespaced=True)
    masked = (*hidden, *secret_files_in(settings.own_folders, limits))
    paths = settings.paths or visible_paths_for(limits, ())
    wrapper = bubblewrap_command(paths, limits, masked)
    return ProcessSandbox(
        lambda: ForkServer(settings, wrapper), limits, "namespace", Cgroups(limits)
    )


def open_script_broker(limits: Limits) -> ProcessSandbox | None:
    """Return a sandbox for scripts, of the scoring that this code runs in; None outside of one."""
    found = find_script_broker(limits)
    if found is None:
        return None
    broker, level = found
    return ProcessSandbox(lambda: broker, limits, level)


def _settings(
    func: Callable[..., Any], limits: Limits, *, for_scripts: bool, namespaced: bool
) -> ForkServerSettings:
    installed: list[str] = []
    own = [os.getcwd()]
    for entry in sys.path:
        if entry and os.path.exists(entry):
            path = os.path.realpath(entry)
            folders = installed if _is_installed(path) else own
            folders.append(path)
    own = list(dict.fromkeys(own))
    visible = installed if for_scripts else [*own, *installed]
    return ForkServerSettings(
        func=func,
        limits=limits,
        paths=visible_paths_for(limits, visible),
        namespaced=namespaced,
        for_scripts=for_scripts,
        own_folders=tuple(own),
        installed=tuple(installed),
    )


def _is_installed(path: str) -> bool:
    """Whether a folder on the path belongs to the interpreter or holds installed packages."""
    tops = (
        sys.base_prefix,
        sys.base_exec_prefix,
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    )
    if any(path.startswith(os.path.realpath(top)) for top in tops):
        return True
    parts = path.split(os.sep)
    return "site-packages" in parts or "dist-packages" in parts


def run_forked(func: Callable[[Any], Any], call: Call, limits: Limits) -> Outcome:
    """Call f(x) in a fork of this very process, which must have one thread only.

    Nothing is pickled and nothing imported anew; the child sees all that this process has. The
    supervisor is forked right here, without a fork server.
    """
    ours, theirs = socket.socketpair()

    def be_supervisor() -> None:
        ours.close()
        supervise(theirs, ChildSettings(func, limits, paths=None), scorings=1)

    pid = fork(be_supervisor)
    theirs.close()
    supervisor = Supervisor(None, None, ours)
    try:
        if not supervisor.ready():
            message = "the process that watches over it was killed"
            return Outcome(OutcomeStatus.KILLED, message=message)
        return Scoring(supervisor, limits, call).run()
    finally:
        supervisor.discard()
        if not supervisor.usable:
            kill_tree(pid)
        os.waitpid(pid, 0)


def can_fork_here() -> bool:
    """Whether this process has one thread only.

    A fork of one with more threads may wait forever for a lock that another thread held.
    """
    return len(os.listdir("/proc/self/task")) == 1
