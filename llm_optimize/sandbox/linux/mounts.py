"""Mounts of this process's own mount namespace: new file systems, copies of a tree, flags.

Sources: mount(2), open_tree(2), move_mount(2), mount_setattr(2); the last one came with Linux 5.12.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress

from .libc import checked, libc

# MS_* of mount(2); as MOUNT_ATTR_* of mount_setattr(2) they have the same values.
READ_ONLY, NO_SUID, NO_DEV, NO_EXEC = 1, 2, 4, 8
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# Numbers of system calls; they are the same on every architecture.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_MOVE_MOUNT_F_EMPTY_PATH = 4  # the source is the descriptor itself


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


def mount(
    source: str | None, target: str, kind: str | None, flags: int, options: str = ""
) -> None:
    """Mount, as mount(2) does. Raises OSError with the target in its text."""
    result = libc().mount(
        source.encode() if source is not None else None,
        target.encode(),
        kind.encode() if kind is not None else None,
        ctypes.c_ulong(flags),
        options.encode() or None,
    )
    checked(result, f"mount {target}")


def make_mounts_private() -> None:
    """Let no mount of this namespace propagate to others, nor theirs to this one."""
    mount(None, "/", None, _MS_REC | _MS_PRIVATE)


def clone_tree(path: str) -> int:
    """Return the descriptor of a copy of the mounts at and below a path, attached nowhere yet."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE
    tree = libc().syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    return checked(tree, f"open_tree {path}")


def attach_tree(tree: int, path: str) -> None:
    """Mount a copy over what is at a path, and close its descriptor."""
    target = os.fsencode(path)
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    try:
        result = libc().syscall(_SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, target, flags)
        checked(result, f"move_mount {path}")
    finally:
        os.close(tree)


def set_mount_flags(path: str | int, flags: int) -> None:
    """Set flags such as READ_ONLY on all mounts at and below a path, or in a copy's descriptor."""
    if isinstance(path, int):
        folder, name, how = path, b"", _AT_RECURSIVE | _AT_EMPTY_PATH
    else:
        folder, name, how = _AT_FDCWD, os.fsencode(path), _AT_RECURSIVE
    wanted = _MountAttributes(set=flags)
    size = ctypes.sizeof(wanted)
    result = libc().syscall(
        _SYS_MOUNT_SETATTR, folder, name, how, ctypes.byref(wanted), size
    )
    checked(result, f"mount_setattr {path}")


def topmost_paths(paths: Iterable[str]) -> list[str]:
    """Return those of the paths that lie below none of the others."""
    found: list[str] = []
    for path in sorted(paths):
        if not any(is_at_or_below(path, top) for top in found):
            found.append(path)
    return found


def is_at_or_below(path: str, top: str) -> bool:
    """Whether a path is the other one, or below it; both are written the same way."""
    return path == top or path.startswith(top.rstrip("/") + "/")


def mount_tmpfs_over(path: str, kept: Iterable[str], size_mb: int) -> None:
    """Mount an empty file system over a folder, and bind what is `kept` of it to its old places."""
    # A descriptor still leads to a folder after something is mounted over the way to it.
    inside: list[tuple[str, int]] = []
    for top in kept:
        with suppress(FileNotFoundError):  # it is gone meanwhile
            inside.append((top, os.open(top, os.O_PATH | os.O_CLOEXEC)))
    options = "mode=1777"
    options += f",size={size_mb}m"  # wall: the size of a namespace's files
    mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEV, options)
    for top, fd in inside:
        _bind_again(top, fd)


def _bind_again(path: str, fd: int) -> None:
    """Bind the file or folder of an open descriptor to its old place, in a folder that is new."""
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    mount(source, path, None, _MS_BIND | _MS_REC)
    os.close(fd)
