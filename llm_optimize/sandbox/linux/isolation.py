"""Isolation beside Landlock: which mechanisms work on this machine, and their use in a child."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from .landlock import landlock_abi
from .libc import set_no_new_privileges
from .private_mounts import enter_private_mounts, find_namespace_method
from .process_tree import works_in_fork
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
    """The mechanisms that were tried and work."""

    # How scorings get mounts and IPC of their own: IN_USER_NAMESPACE, AS_ROOT; "" for not at all.
    namespaces: str = ""
    seccomp: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The mechanisms as people read them."""
        names: list[str] = []
        if self.namespaces:
            names += ["read-only mounts", "private /dev/shm", "private ipc"]
        if self.seccomp:
            names.append("seccomp")
        return tuple(names)


NO_ISOLATION = Isolation()


def find_isolation(*, namespaced: bool) -> Isolation:
    """Return the mechanisms that work here. Call it while this process has one thread.

    At the level `namespace` mounts and IPC are made in another way.
    """
    namespaces = "" if namespaced else find_namespace_method()
    return Isolation(namespaces=namespaces, seccomp=seccomp_works())


def seccomp_works() -> bool:
    """Whether this kernel takes our filter, tried in a fork."""

    def attempt() -> None:
        set_no_new_privileges()
        install_filter(FilterPolicy(LOCAL))

    return has_filter_for_machine() and works_in_fork(attempt)


def restrict_files(
    isolation: Isolation,
    paths: VisiblePaths,
    scratch: str,
    masked: Iterable[str],
    size_mb: int,
) -> VisiblePaths:
    """Hide the masked files and make the rest read-only, as far as this machine can.

    Returns what Landlock is to allow after that. Without mounts of its own, Landlock must hide the
    masked files.
    """
    real = [os.path.realpath(path) for path in masked]
    if isolation.namespaces:
        enter_private_mounts(paths, scratch, real, size_mb)
        return paths
    return paths.excluding(real)  # wall: hiding the store by Landlock


def restrict_system_calls(
    isolation: Isolation, *, namespaced: bool, network: bool | None
) -> None:
    """Filter the system calls of this process, just before foreign code runs in it."""
    if not isolation.seccomp:
        return
    if namespaced:
        sockets = "" if network else LOOPBACK
    else:
        sockets = LOCAL if network is False else ""
    policy = FilterPolicy(
        sockets=sockets,
        ipc=namespaced or bool(isolation.namespaces),
        ptrace=landlock_abi() > 0,
        counters=not namespaced,
    )
    install_filter(policy)  # wall: the filter of calls
