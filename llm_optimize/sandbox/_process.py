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

from ..records import Limits
from ._bubblewrap import command
from ._call import Scoring
from ._cgroup import Cgroups
from ._confine import landlock_abi
from ._keeper import fork, kill_with_kin
from ._outcome import Call, Outcome, OutcomeStatus, killed
from ._slot import DOOR, Service, serve_link
from ._view import secrets_in, view_of
from ._warm import Door, Keeper, Order, Source, Zygote

_log = logging.getLogger(__name__)
_STARTS = 3  # of a keeper for one call


class ProcessSandbox:
    """Calls f in children of a warm process that loaded it once."""

    def __init__(
        self,
        start: Callable[[], Source],
        limits: Limits,
        level: str,
        cgroups: Cgroups | None = None,
    ) -> None:
        """Start where keepers come from. Raises FunctionUnusable or SandboxUnavailable as `start` does."""
        self.level = level
        self._start = start
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[Keeper] = []
        self._busy: set[Keeper] = set()
        self._closed = False
        self._cgroups = cgroups
        self._source = start()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What is at work here beyond processes and limits for each of them."""
        abi = landlock_abi()
        found = [f"landlock {abi}"] if abi else []
        found += ["namespaces"] if self.level == "namespace" else []
        found += self._source.walls
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
            keeper = self._take()
            if keeper is None:
                return killed(), False
            try:
                with call.stop.ends(keeper.hang_up):
                    if keeper.ready():
                        scoring = Scoring(keeper, self._limits, call)
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
                keeper.usable = keeper.usable and not call.stop.given
                self._give_back(keeper)
            if call.stop.given:
                return killed(), False
            if keeper.breach:
                return Outcome(
                    OutcomeStatus(keeper.breach["status"]),
                    message=keeper.breach["message"],
                ), False
            refusal = keeper.refusal or refusal
            self._restart(keeper.source)
        said = f"the warm process of the sandbox does not start: {refusal or 'it ends without a word'}"
        return Outcome(OutcomeStatus.KILLED, message=said), False

    def _take(self) -> Keeper | None:
        """Return a keeper that waits for work, or a new one, or None when all is closed."""
        with self._lock:
            if self._closed:
                return None
            while self._idle:
                keeper = self._idle.pop()
                if keeper.alive():
                    break
                keeper.discard()
            else:
                keeper = Keeper(
                    self._source, self._cgroups.new() if self._cgroups else None
                )
            self._busy.add(keeper)
            return keeper

    def _give_back(self, keeper: Keeper) -> None:
        with self._lock:
            self._busy.discard(keeper)
            if keeper.usable and not self._closed:
                self._idle.append(keeper)
                return
        keeper.discard()

    def _restart(self, source: Source | None) -> None:
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
        for keeper in busy:
            keeper.hang_up()
        for keeper in idle:
            keeper.discard()
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
    order = _order(func, limits, alone, namespaced=False)
    order = replace(order, masked=(*hidden, *secrets_in(order.own_folders, limits)))
    order = order if confined else replace(order, view=None)
    return ProcessSandbox(lambda: Zygote(order), limits, "process", Cgroups(limits))


def open_namespace(
    func: Callable[..., Any], limits: Limits, alone: bool, hidden: Sequence[str] = ()
) -> ProcessSandbox:
    """Return a sandbox of the level `namespace`, in which the `hidden` files are empty.

    Raises FunctionUnusable as above, and SandboxUnavailable when bubblewrap is missing or may not do its work.
    """
    order = _order(func, limits, alone, namespaced=True)
    secret = secrets_in(order.own_folders, limits)
    wrapper = command(order.view or view_of(limits, ()), limits, (*hidden, *secret))
    return ProcessSandbox(
        lambda: Zygote(order, wrapper), limits, "namespace", Cgroups(limits)
    )


def open_door(limits: Limits) -> ProcessSandbox | None:
    """Return a sandbox for scripts beside the one that this code runs in; None when it runs in none."""
    with suppress(ValueError, OSError):
        number, inode, level = os.environ.get(DOOR, "").split(":")
        if os.fstat(int(number)).st_ino == int(inode):
            return ProcessSandbox(lambda: Door(int(number), limits), limits, level)
    return None


def _order(
    func: Callable[..., Any], limits: Limits, alone: bool, namespaced: bool
) -> Order:
    paths = [
        os.path.realpath(entry) for entry in sys.path if entry and os.path.exists(entry)
    ]
    installed = tuple(path for path in paths if _is_installed(path))
    own = tuple(
        dict.fromkeys([os.getcwd(), *(path for path in paths if path not in installed)])
    )
    view = view_of(limits, installed if alone else (*own, *installed))
    return Order(func, limits, view, namespaced, alone, own, installed)


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
        serve_link(theirs, Service(func, limits, view=None), scorings=1)

    pid = fork(keep)
    theirs.close()
    keeper = Keeper(None, None, ours)
    try:
        if not keeper.ready():
            return Outcome(
                OutcomeStatus.KILLED,
                message="the process that watches over it was killed",
            )
        return Scoring(keeper, limits, call).run()
    finally:
        keeper.discard()
        if not keeper.usable:
            kill_with_kin(pid)
        os.waitpid(pid, 0)


def may_fork() -> bool:
    """Whether this process has one thread only: a fork of one with more may wait for ever for a lock."""
    return len(os.listdir("/proc/self/task")) == 1
