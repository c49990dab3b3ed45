"""Namespaces of each scoring at the level `namespace`, made inside bubblewrap's world.

bubblewrap -- fork server -- supervisor -- namespace supervisor -- init -- child
              pid 1          waits         pid 1 of its own        pid 1   runs f

The namespace supervisor owns a user namespace, and so may make others: for each scoring fresh ones
of processes, mounts and IPC. When the init of a scoring ends, the kernel kills whatever else is in
its namespaces. Sources: namespaces(7), user_namespaces(7), pid_namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from .libc import checked, libc
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

# linux/sched.h. Python has os.unshare since 3.12 only.
CLONE_NEWNS = 0x00020000  # mounts
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_NOBODY = 65534
_COUNTS = {  # for all scorings of one supervisor; a user has 128 inotify instances by default
    "max_user_namespaces": 0,
    "max_inotify_instances": 8,
    "max_inotify_watches": 8_192,
    "max_fanotify_groups": 4,
    "max_fanotify_marks": 1_024,
}
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
_IFREQ = struct.Struct("16sh14x")  # name of an interface, its flags


def uncover_proc() -> None:
    """Unmount what bubblewrap, run by root, mounts over parts of /proc.

    Under such mounts no fresh /proc can be mounted; and every candidate has a /proc of its own that
    is read-only as a whole.
    """
    with open("/proc/self/mounts", encoding="utf-8") as file:
        mount_points = [line.split()[1] for line in file]
    for path in mount_points:
        if path.startswith("/proc/"):
            checked(libc().umount2(path.encode(), 0), f"umount {path}")


def run_namespace_supervisor(body: Callable[[], None], *, network: bool) -> NoReturn:
    """Fork the namespace supervisor with namespaces of its own, wait until it ends, and end."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = CLONE_NEWUSER | CLONE_NEWPID
    if not network:
        kinds |= CLONE_NEWNET  # wall: the network namespace
    checked(libc().unshare(kinds), "unshare")
    # Root is mapped to nobody, so that it has no rights outside either.
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{uid or _NOBODY} {uid} 1")
    _write("/proc/self/gid_map", f"{gid or _NOBODY} {gid} 1")
    limit_namespace_counts()
    if not network:
        _start_loopback()  # wall: the network namespace
    os.waitpid(fork(body), 0)
    os._exit(0)


def limit_namespace_counts() -> None:
    """Limit what the kernel counts for each user namespace, in the one of this process.

    A candidate gets no rights in a user namespace of its own, and cannot take all that the file
    watchers of its user need: outside, the user keeps the rest.
    """
    for name, value in _COUNTS.items():
        with suppress(FileNotFoundError):
            file = f"/proc/sys/user/{name}"
            _write(file, str(value))  # wall: limits of kernel counts


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _start_loopback() -> None:
    """Start the loopback device, which is down in a new network namespace."""
    request = _IFREQ.pack(b"lo", _IFF_UP)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)


def run_init(body: Callable[[], None]) -> int:
    """Fork the first process of a fresh PID namespace and wait for it; return its exit code.

    `unshare` sets the namespace of later forks, and may be called again only from the process's own
    namespace: so it goes back there from the one of the scoring before, which is dead.
    """
    own = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        checked(libc().setns(own, CLONE_NEWPID), "setns")
    finally:
        os.close(own)
    checked(libc().unshare(CLONE_NEWPID), "unshare")
    _, status = os.waitpid(fork(body), 0)
    return os.waitstatus_to_exitcode(status)


def enter_scoring_namespaces(
    seen: Iterable[str], hidden: Iterable[str], scratch_mb: int
) -> None:
    """Give this process, the init of a scoring, its own IPC, /proc, /tmp and /dev/shm.

    Args:
        seen: paths that stay as they are.
        hidden: folders that are empty but for what is seen.
        scratch_mb: the size of each new file system.
    """
    here = os.getcwd()
    checked(libc().unshare(CLONE_NEWNS | CLONE_NEWIPC), "unshare")
    make_mounts_private()
    tops = topmost_paths(seen)
    for path in ("/tmp", "/dev/shm", *hidden):
        if os.path.isdir(path):
            kept = [top for top in tops if top.startswith(path + "/")]
            mount_tmpfs_over(path, kept, scratch_mb)
    mount("proc", "/proc", "proc", READ_ONLY | NO_SUID | NO_DEV | NO_EXEC)
    # Entering the folder again leads to the same place among the new mounts.
    os.chdir(here if os.path.isdir(here) else "/tmp")
