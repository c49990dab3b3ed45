"""Which walls can be built here beside Landlock (Linux), and building them around a child."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from .landlock import landlock_abi, set_no_new_privileges
from .private_mounts import enter_private_mounts, find_namespace_method, works
from .seccomp import (
    LOCAL,
    LOOPBACK,
    FilterPolicy,
    has_filter_for_machine,
    install_filter,
)
from .visible_paths import VisiblePaths


@dataclass(frozen=True)
class Isolation:
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


NO_ISOLATION = Isolation()


def find_isolation(namespaced: bool) -> Isolation:
    """Return which walls work here; at `namespace` others make mounts and IPC. Call it while there is one thread."""
    return Isolation("" if namespaced else find_namespace_method(), seccomp_works())


def seccomp_works() -> bool:
    """Whether this kernel takes our filter, tried in a process apart."""
    return has_filter_for_machine() and works(_try_filter)


def _try_filter() -> None:
    set_no_new_privileges()
    install_filter(FilterPolicy(LOCAL))


def restrict_files(
    isolation: Isolation,
    view: VisiblePaths,
    scratch: str,
    masked: Iterable[str],
    size_mb: int,
) -> VisiblePaths:
    """Hide the masked files and guard the rest of the tree, as far as can be; return what Landlock is to allow then."""
    real = [os.path.realpath(path) for path in masked]
    if isolation.private:
        enter_private_mounts(view, scratch, real, size_mb)
        return view
    return view.excluding(real)


def restrict_system_calls(
    isolation: Isolation, namespaced: bool, network: bool | None
) -> None:
    """Filter the system calls of this process, just before foreign code runs in it."""
    if isolation.filter:
        refused = LOOPBACK if namespaced else LOCAL
        open_sockets = bool(network) if namespaced else network is not False
        held = FilterPolicy(
            sockets="" if open_sockets else refused,
            ipc=namespaced or bool(isolation.private),
            ptrace=landlock_abi() > 0,
            counters=not namespaced,
        )
        install_filter(held)
