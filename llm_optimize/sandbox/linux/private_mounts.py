"""Private mounts and IPC at the level `process`, where this machine allows user namespaces.

supervisor                   child
owns a user namespace  --+-- fresh mounts and IPC: all files are read-only but for what may be
                         |   written, and /dev/shm is its own
                         +-- the next scoring, the same anew

Landlock has no rule for the mode, owner, times and attributes of a file, and none for System V
objects and message queues. Here the kernel itself refuses: a read-only mount changes nothing, and
what is in an IPC namespace ends with it. Every process of the user stays where it is; only what the
candidate sees changes. Sources: user_namespaces(7), ipc_namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .libc import checked, libc
from .mounts import (
    NO_DEV,
    READ_ONLY,
    attach_tree,
    clone_tree,
    is_at_or_below,
    make_mounts_private,
    mount_tmpfs_over,
    set_mount_flags,
    topmost_paths,
)
from .namespaces import (
    CLONE_NEWIPC,
    CLONE_NEWNS,
    CLONE_NEWUSER,
    limit_namespace_counts,
)
from .process_tree import exit_with_errno, fork, works_in_fork
from .visible_paths import VisiblePaths

SHARED_MEMORY = "/dev/shm"
# Who makes the namespaces of a scoring.
IN_USER_NAMESPACE = "user namespace"
AS_ROOT = "root"
_COUNTED_SINCE = (5, 14)  # the kernel that counts processes for each user namespace
_NOTHING = VisiblePaths((), (), (), ())


def enter_user_namespace() -> None:
    """Move this process, which must have one thread, into a user namespace of its own.

    Everybody keeps the id that they have outside. An ordinary user may map only its own id. Root,
    who needs the files of other owners, maps all ids; that must be written from outside of the new
    namespace, so a helper does it: it is forked before, waits for a byte, writes the maps and ends
    with the error number as its exit code.

    Raises OSError when this machine forbids it.
    """
    pid = os.getpid()
    is_root = os.geteuid() == 0
    reading, writing = os.pipe()

    def write_maps() -> None:
        os.close(writing)
        if os.read(reading, 1):  # "" means that `unshare` failed
            with exit_with_errno():
                _write_id_maps(pid, all_ids=is_root)
        os._exit(0)

    helper = fork(write_maps)
    os.close(reading)
    try:
        checked(libc().unshare(CLONE_NEWUSER), "unshare(CLONE_NEWUSER)")
        os.write(writing, b"!")
    finally:
        os.close(writing)
        _, status = os.waitpid(helper, 0)
    number = os.waitstatus_to_exitcode(status)
    if number:
        reason = os.strerror(number)
        message = f"the users of a user namespace cannot be named: {reason}"
        raise OSError(number, message)
    limit_namespace_counts()


def _write_id_maps(pid: int, *, all_ids: bool) -> None:
    """Write the maps of users and groups of a process's new user namespace."""
    process = Path(f"/proc/{pid}")
    if not all_ids:
        (process / "setgroups").write_text("deny")
    for kind, own in (("uid", os.geteuid()), ("gid", os.getegid())):
        ranges = [f"{own} {own} 1"]
        if all_ids:
            ranges = []
            for line in Path(f"/proc/self/{kind}_map").read_text().splitlines():
                first, _, count = line.split()
                ranges.append(f"{first} {first} {count}")
        (process / f"{kind}_map").write_text("\n".join(ranges) + "\n")


def enter_private_mounts(
    paths: VisiblePaths, scratch: str, masked: Iterable[str], size_mb: int
) -> None:
    """Give this process mounts and IPC of its own, where all is read-only but what may be written.

    What may be written is copied before all becomes read-only, and attached afterwards: so a mount
    within it that was read-only before stays so.

    Args:
        paths: what is readable and writable.
        scratch: the scratch directory, which may be written.
        masked: files that cannot be opened, not even for reading.
        size_mb: of /dev/shm, which is empty, unless a path names it as writable.
    """
    here = os.getcwd()
    kinds = CLONE_NEWNS
    kinds |= CLONE_NEWIPC  # wall: an IPC namespace
    checked(libc().unshare(kinds), "unshare(CLONE_NEWNS | CLONE_NEWIPC)")
    make_mounts_private()
    written = [*paths.writable, scratch]
    kept: list[str] = []
    if os.path.isdir(SHARED_MEMORY):
        written.append(SHARED_MEMORY)
        if not any(is_at_or_below(SHARED_MEMORY, path) for path in paths.writable):
            seen = topmost_paths([*paths.readable, *paths.writable, scratch])
            kept = [top for top in seen if top.startswith(f"{SHARED_MEMORY}/")]
            mount_tmpfs_over(SHARED_MEMORY, kept, size_mb)  # wall: own /dev/shm
    tops = topmost_paths(map(os.path.realpath, written))
    if tops[:1] != ["/"]:
        copies = [(clone_tree(top), top) for top in tops if os.path.exists(top)]
        set_mount_flags("/", READ_ONLY)  # wall: read-only mounts
        for tree, top in copies:
            attach_tree(tree, top)
        # What is shared from /dev/shm for reading only is not in `written` itself.
        for top in kept:
            if not any(is_at_or_below(path, top) for path in written):
                set_mount_flags(top, READ_ONLY)
    for path in masked:
        if os.path.exists(path):
            mask(path)  # wall: hiding the store
    # Entering the folder again leads to the same place among the new mounts, if it is still seen.
    with suppress(FileNotFoundError, PermissionError):
        os.chdir(here)


def mask(path: str) -> None:
    """Mount something over a file or folder that nobody can open: a device where none may be."""
    if os.path.isdir(path):
        mount_tmpfs_over(path, (), 1)
        set_mount_flags(path, READ_ONLY)
        return
    nothing = clone_tree(os.devnull)
    set_mount_flags(nothing, READ_ONLY | NO_DEV)
    attach_tree(nothing, path)


def find_namespace_method() -> str:
    """Return how scorings get mounts and IPC of their own here; "" where there is no way.

    Each way is tried in a fork. Call it from a process of one thread.
    """

    def as_root() -> None:
        enter_private_mounts(_NOTHING, tempfile.gettempdir(), [os.devnull], 1)

    def as_user() -> None:
        enter_user_namespace()
        as_root()

    version = os.uname().release.replace("-", ".").split(".")[:2]
    numbers = tuple(int(part) for part in version if part.isdigit())
    if numbers >= _COUNTED_SINCE and works_in_fork(as_user):
        return IN_USER_NAMESPACE
    if os.geteuid() == 0 and works_in_fork(as_root):
        return AS_ROOT
    return ""
