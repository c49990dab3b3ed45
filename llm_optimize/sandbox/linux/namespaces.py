"""Namespaces for each scoring (Linux): the inner side, made by processes that bubblewrap put into a world of their own.

bubblewrap ── warm process ── keeper ── slot ── first process ── child
              pid 1           waits     pid 1   pid 1, keeps     runs f

The slot owns a user namespace, and so may make others: for each scoring fresh ones of processes, mounts and IPC. When
their first process ends, the kernel kills whatever else is in them. Sources: namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from .landlock import checked, libc
from .mounts import (
    NO_DEV,
    NO_EXEC,
    NO_SUID,
    READ_ONLY,
    make_mounts_private,
    mount,
    mount_tmpfs_over,
    topmost_paths,
)
from .process_tree import fork

NEW_MOUNTS, NEW_IPC, NEW_USER = 0x20000, 0x8000000, 0x10000000
_NEW_PIDS, _NEW_NET = 0x20000000, 0x40000000
_NOBODY = 65534
_COUNTS = {  # for all of one worker; of instances a user has 128 by default
    "max_user_namespaces": 0,
    "max_inotify_instances": 8,
    "max_inotify_watches": 8_192,
    "max_fanotify_groups": 4,
    "max_fanotify_marks": 1_024,
}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h


def uncover_proc() -> None:
    """Take away what bubblewrap, run by root, put over parts of /proc: under it no fresh /proc can be mounted.

    Every candidate has a /proc of its own that is read-only as a whole.
    """
    with open("/proc/self/mounts", encoding="utf-8") as file:
        covers = [
            path
            for path in (line.split()[1] for line in file)
            if path.startswith("/proc/")
        ]
    for path in covers:
        checked(libc().umount2(path.encode(), 0), f"umount {path}")


def run_namespace_supervisor(serve: Callable[[], None], network: bool) -> NoReturn:
    """Fork the first process of a slot, wait until it ends, and end."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = NEW_USER | _NEW_PIDS | (0 if network else _NEW_NET)
    checked(libc().unshare(kinds), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid or _NOBODY} {uid} 1"),
        ("gid_map", f"{gid or _NOBODY} {gid} 1"),
    ):
        _write(f"/proc/self/{name}", text)
    limit_namespace_counts()
    if not network:
        _start_loopback()
    os.waitpid(fork(serve), 0)
    os._exit(0)


def limit_namespace_counts() -> None:
    """Bound what the kernel counts for each user namespace, in the one of this process; the user's own keep the rest.

    A candidate gets no rights in a user namespace of its own, and cannot take all that file watchers of its user need.
    """
    for name, value in _COUNTS.items():
        with suppress(FileNotFoundError):
            _write(f"/proc/sys/user/{name}", str(value))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def run_init(body: Callable[[], None]) -> int:
    """Fork the first process of fresh namespaces and wait for its end; return its exit code."""
    ours = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        checked(
            libc().setns(ours, _NEW_PIDS), "setns"
        )  # back from the namespace of the one before, which is dead
    finally:
        os.close(ours)
    checked(libc().unshare(_NEW_PIDS), "unshare")
    return os.waitstatus_to_exitcode(os.waitpid(fork(body), 0)[1])


def enter_scoring_namespaces(
    seen: Iterable[str], hidden: Iterable[str], scratch_mb: int
) -> None:
    """Give this process, the first of its namespace, its own IPC, /proc, /tmp and /dev/shm.

    What is `seen` stays so; folders that are `hidden` are empty but for that.
    """
    here = os.getcwd()
    checked(libc().unshare(NEW_MOUNTS | NEW_IPC), "unshare")
    make_mounts_private()
    tops = topmost_paths(seen)
    for path in ("/tmp", "/dev/shm", *hidden):
        if os.path.isdir(path):
            mount_tmpfs_over(
                path, [top for top in tops if top.startswith(path + "/")], scratch_mb
            )
    mount("proc", "/proc", "proc", READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)
    os.chdir(here if os.path.isdir(here) else "/tmp")  # the same place in the new world
