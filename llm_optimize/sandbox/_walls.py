"""Which walls can be built here beside Landlock (Linux), and building them around a child."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from ._confine import forbid_new_privileges, landlock_abi
from ._private import enter_private, way_to_privacy, works
from ._seccomp import LOCAL, LOOPBACK, Held, can_filter, restrict_calls
from ._view import View


@dataclass(frozen=True)
class Walls:
    """What was tried and works; nothing of it where a process is not confined."""

    private: str = ""  # how scorings get mounts and IPC of their own: IN_USER_NAMESPACE, AS_ROOT; empty: not at all
    filter: bool = False  # whether system calls are filtered

    @property
    def names(self) -> tuple[str, ...]:
        """What people read of it."""
        private = (
            ("read-only mounts", "private /dev/shm", "private ipc")
            if self.private
            else ()
        )
        return (*private, *(("seccomp",) if self.filter else ()))


NO_WALLS = Walls()


def find_walls(namespaced: bool) -> Walls:
    """Return which walls work here; at `namespace` others make mounts and IPC. Call it while there is one thread."""
    return Walls("" if namespaced else way_to_privacy(), filter_works())


def filter_works() -> bool:
    """Whether this kernel takes our filter, tried in a process apart."""
    return can_filter() and works(_try_filter)


def _try_filter() -> None:
    forbid_new_privileges()
    restrict_calls(Held(LOCAL))


def narrow(
    walls: Walls, view: View, scratch: str, masked: Iterable[str], size_mb: int
) -> View:
    """Hide the masked files and guard the rest of the tree, as far as can be; return what Landlock is to allow then."""
    real = [os.path.realpath(path) for path in masked]
    if walls.private:
        enter_private(view, scratch, real, size_mb)
        return view
    return view.apart_from(real)


def close_calls(walls: Walls, namespaced: bool, network: bool | None) -> None:
    """Filter the system calls of this process, just before foreign code runs in it."""
    if walls.filter:
        refused = LOOPBACK if namespaced else LOCAL
        open_sockets = bool(network) if namespaced else network is not False
        held = Held(
            sockets="" if open_sockets else refused,
            ipc=namespaced or bool(walls.private),
            ptrace=landlock_abi() > 0,
            counters=not namespaced,
        )
        restrict_calls(held)
