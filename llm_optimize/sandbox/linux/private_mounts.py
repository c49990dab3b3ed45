"""The second wall at `process` (Linux): mounts and IPC of its own for each scoring, where this machine allows it.

keeper                       child
owns a user namespace  ─┬─   fresh mounts and IPC: all files read-only but for what may be written, its own /dev/shm
                        └─   the next scoring, the same anew

Landlock has no rule for the mode, owner, times and attributes of a file, and none for System V objects and message
queues. Here the kernel itself refuses: a read-only mount changes nothing, and what is in an IPC namespace ends with it.
Every process of the user stays where it is; only the candidate's own view changes. Sources: user_namespaces(7),
ipc_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .landlock import checked, libc
from .mounts import (
    NO_DEV,
    READ_ONLY,
    clone_tree,
    make_mounts_private,
    mount_tmpfs_over,
    move_tree,
    set_mount_flags,
    topmost_paths,
)
from .namespaces import NEW_IPC, NEW_MOUNTS, NEW_USER, limit_namespace_counts
from .process_tree import fork
from .visible_paths import VisiblePaths

SHARED_MEMORY = "/dev/shm"
IN_USER_NAMESPACE, AS_ROOT = (
    "user namespace",
    "root",
)  # who makes the namespaces of a scoring
_COUNTED_SINCE = (
    5,
    14,
)  # the kernel that counts the processes of each user namespace apart


def enter_user_namespace() -> None:
    """Move this process, which must have one thread, into a user namespace in which everybody is called as before.

    An ordinary user may name himself only; root, who needs the files of other owners, names everybody. That must be
    done from outside of the new namespace, so a helper does it.

    Raises OSError when this machine forbids it.
    """
    pid, (told, tell) = os.getpid(), os.pipe()
    everybody = os.geteuid() == 0

    def name_everybody() -> None:
        os.close(tell)
        if os.read(told, 1):
            with _telling():
                _name(pid, everybody)
        os._exit(0)

    helper = fork(name_everybody)
    os.close(told)
    try:
        checked(libc().unshare(NEW_USER), "unshare(CLONE_NEWUSER)")
        os.write(tell, b"!")
    finally:
        os.close(tell)
        code = os.waitstatus_to_exitcode(os.waitpid(helper, 0)[1])
    if code:
        raise OSError(
            code, f"the users of a user namespace cannot be named: {os.strerror(code)}"
        )
    limit_namespace_counts()


@contextmanager
def _telling() -> Iterator[None]:
    """End this process with the number of the error that the system raises, for whoever waits for it."""
    try:
        yield
    except OSError as error:
        os._exit(error.errno or 1)


def _name(pid: int, everybody: bool) -> None:
    """Write the maps of users and groups of a process's new user namespace."""
    place = Path(f"/proc/{pid}")
    if not everybody:
        (place / "setgroups").write_text("deny")
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        ranges = [f"{own} {own} 1"]
        if everybody:
            known = Path(f"/proc/self/{kind}_map").read_text().splitlines()
            ranges = [
                f"{first} {first} {count}" for first, _, count in map(str.split, known)
            ]
        (place / f"{kind}_map").write_text("\n".join(ranges) + "\n")


def enter_private_mounts(
    view: VisiblePaths, scratch: str, masked: Iterable[str], size_mb: int
) -> None:
    """Give this process mounts and IPC of its own: all is read-only but the scratch directory and what may be written.

    `masked` files cannot be opened, not even for reading, and /dev/shm is empty and of this size, unless it was named.
    What may be written is copied before all becomes read-only and attached afterwards, so that a mount that was
    read-only in it stays so.
    """
    here = os.getcwd()
    checked(libc().unshare(NEW_MOUNTS | NEW_IPC), "unshare(CLONE_NEWNS | CLONE_NEWIPC)")
    make_mounts_private()
    inside = f"{SHARED_MEMORY}/"
    shared = any(inside.startswith(path.rstrip("/") + "/") for path in view.writable)
    kept: list[str] = []
    if os.path.isdir(SHARED_MEMORY) and not shared:
        seen = topmost_paths([*view.readable, *view.writable, scratch])
        kept = [top for top in seen if top.startswith(inside)]
        mount_tmpfs_over(SHARED_MEMORY, kept, size_mb)
    written = [
        *view.writable,
        scratch,
        *([SHARED_MEMORY] if os.path.isdir(SHARED_MEMORY) else []),
    ]
    tops = topmost_paths(map(os.path.realpath, written))
    if tops[:1] != ["/"]:
        writable = [(clone_tree(top), top) for top in tops if os.path.exists(top)]
        set_mount_flags("/", READ_ONLY)
        for tree, top in writable:
            move_tree(tree, top)
        for top in kept:
            if not any(path == top or path.startswith(top + "/") for path in written):
                set_mount_flags(top, READ_ONLY)
    for path in masked:
        if os.path.exists(path):
            mask(path)
    with suppress(
        FileNotFoundError, PermissionError
    ):  # of which nothing is seen any more
        os.chdir(here)  # the same place among the new mounts


def mask(path: str) -> None:
    """Put something in the place of a file or folder that nobody can open: a device where there may be none."""
    if os.path.isdir(path):
        mount_tmpfs_over(path, (), 1)
        set_mount_flags(path, READ_ONLY)
        return
    nothing = clone_tree(os.devnull)
    set_mount_flags(nothing, READ_ONLY | NO_DEV)
    move_tree(nothing, path)


def find_namespace_method() -> str:
    """Return how scorings get mounts and IPC of their own here, tried in a process apart; empty where there is no way.

    Call it from a process of one thread.
    """
    if _release() >= _COUNTED_SINCE and works(_try_as_user):
        return IN_USER_NAMESPACE
    if os.geteuid() == 0 and works(_try):
        return AS_ROOT
    return ""


def _try() -> None:
    enter_private_mounts(
        VisiblePaths((), (), (), ()), tempfile.gettempdir(), [os.devnull], 1
    )


def _try_as_user() -> None:
    enter_user_namespace()
    _try()


def _release() -> tuple[int, ...]:
    """Return the first two numbers of this kernel's version."""
    found = [
        part
        for part in os.uname().release.replace("-", ".").split(".")[:2]
        if part.isdigit()
    ]
    return tuple(map(int, found))


def works(attempt: Callable[[], object]) -> bool:
    """Whether something can be done here, tried in a fork of this process; what it does stays there."""

    def try_it() -> None:
        with _telling():
            attempt()
        os._exit(0)

    return os.waitpid(fork(try_it), 0)[1] == 0
