"""Namespaces for each scoring (Linux): the inner side, made by processes that bubblewrap put into a world of their own.

bubblewrap ── warm process ── keeper ── slot ── first process ── child
              pid 1           waits     pid 1   pid 1, keeps     runs f

The slot owns a user namespace, and so may make others: for each scoring fresh ones of processes, mounts and IPC. When
their first process ends, the kernel kills whatever else is in them. Sources: namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn

from ._confine import checked, libc
from ._keeper import fork

_NEW_MOUNTS, _NEW_IPC, _NEW_USER, _NEW_PIDS, _NEW_NET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_READ_ONLY, _NO_SUID, _NO_DEV, _NO_EXEC, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
_NOBODY = 65534
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h


def uncover_proc() -> None:
    """Take away what bubblewrap, run by root, put over parts of /proc: under it no fresh /proc can be mounted.

    Every candidate has a /proc of its own that is read-only as a whole.
    """
    with open("/proc/self/mounts", encoding="utf-8") as file:
        covers = [path for path in (line.split()[1] for line in file) if path.startswith("/proc/")]
    for path in covers:
        checked(libc().umount2(path.encode(), 0), f"umount {path}")


def enter_slot(be_slot: Callable[[], None], network: bool) -> NoReturn:
    """Fork the first process of a slot, wait until it ends, and end."""
    uid, gid = os.geteuid(), os.getegid()
    kinds = _NEW_USER | _NEW_PIDS | (0 if network else _NEW_NET)
    checked(libc().unshare(kinds), "unshare")
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid or _NOBODY} {uid} 1"),
        ("gid_map", f"{gid or _NOBODY} {gid} 1"),
    ):
        _write(f"/proc/self/{name}", text)
    with suppress(FileNotFoundError):
        _write("/proc/sys/user/max_user_namespaces", "0")  # of this slot: a candidate gets no rights in one of its own
    if not network:
        _start_loopback()
    os.waitpid(fork(be_slot), 0)
    os._exit(0)


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _start_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def fork_first(body: Callable[[], None]) -> int:
    """Fork the first process of fresh namespaces and wait for its end; return its exit code."""
    ours = os.open("/proc/thread-self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        checked(libc().setns(ours, _NEW_PIDS), "setns")  # back from the namespace of the one before, which is dead
    finally:
        os.close(ours)
    checked(libc().unshare(_NEW_PIDS), "unshare")
    return os.waitstatus_to_exitcode(os.waitpid(fork(body), 0)[1])


def enter_scoring(seen: Iterable[str], hidden: Iterable[str], scratch_mb: int) -> None:
    """Give this process, the first of its namespace, its own IPC, /proc, /tmp and /dev/shm.

    What is `seen` stays so; folders that are `hidden` are empty but for that.
    """
    here = os.getcwd()
    checked(libc().unshare(_NEW_MOUNTS | _NEW_IPC), "unshare")
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    tops = _uppermost(seen)
    for path in ("/tmp", "/dev/shm", *hidden):
        if os.path.isdir(path):
            _replace(path, [top for top in tops if top.startswith(path + "/")], scratch_mb)
    _mount("proc", "/proc", "proc", _READ_ONLY | _NO_SUID | _NO_DEV | _NO_EXEC)
    os.chdir(here if os.path.isdir(here) else "/tmp")  # the same place in the new world


def _replace(path: str, kept: list[str], size_mb: int) -> None:
    """Put an empty folder of its own in the place of one, and show again what is kept of it."""
    inside = [(top, os.open(top, os.O_PATH | os.O_CLOEXEC)) for top in kept]
    _mount("tmpfs", path, "tmpfs", _NO_SUID | _NO_DEV, f"size={size_mb}m,mode=1777")
    for top, fd in inside:
        _show_again(top, fd)


def _uppermost(paths: Iterable[str]) -> list[str]:
    found: list[str] = []
    for path in sorted(paths):
        if not any(path == top or path.startswith(top + "/") for top in found):
            found.append(path)
    return found


def _show_again(path: str, fd: int) -> None:
    """Bind what an open descriptor stands for to its old place, in a /tmp that is new."""
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(source, path, None, _BIND | _RECURSIVE)
    os.close(fd)


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str = "") -> None:
    encoded = [None if text is None else text.encode() for text in (source, target, kind)]
    checked(libc().mount(*encoded, ctypes.c_ulong(flags), options.encode() or None), f"mount {target}")
