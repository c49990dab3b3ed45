"""Mounts of this process's own mount namespace (Linux): new file systems, copies of a part of the tree, read-only.

Sources: mount(2), open_tree(2), move_mount(2), mount_setattr(2); the last one came with Linux 5.12.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from contextlib import suppress

from .landlock import checked, libc

READ_ONLY, NO_SUID, NO_DEV, NO_EXEC = 1, 2, 4, 8
_BIND, _RECURSIVE, _PRIVATE = 4096, 16384, 1 << 18
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = (
    428,
    429,
    442,
)  # the same numbers on every architecture
_CLONE, _CLOEXEC, _ALL_BELOW, _EMPTY_PATH = 1, os.O_CLOEXEC, 0x8000, 0x1000
_FROM_DESCRIPTOR = 4  # MOVE_MOUNT_F_EMPTY_PATH
_HERE = -100  # AT_FDCWD


class _Attributes(ctypes.Structure):
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
    encoded = [
        None if text is None else text.encode() for text in (source, target, kind)
    ]
    checked(
        libc().mount(*encoded, ctypes.c_ulong(flags), options.encode() or None),
        f"mount {target}",
    )


def make_mounts_private() -> None:
    """Let no mount of this namespace travel to others, nor theirs to this one."""
    mount(None, "/", None, _RECURSIVE | _PRIVATE)


def clone_tree(path: str) -> int:
    """Return the descriptor of a copy of the mounts at and below a path, which is attached nowhere yet."""
    flags = _CLONE | _CLOEXEC | _ALL_BELOW
    return checked(
        libc().syscall(_OPEN_TREE, _HERE, os.fsencode(path), flags), f"open_tree {path}"
    )


def move_tree(tree: int, path: str) -> None:
    """Put a copy over what is at a path, and close its descriptor."""
    try:
        moved = libc().syscall(
            _MOVE_MOUNT, tree, b"", _HERE, os.fsencode(path), _FROM_DESCRIPTOR
        )
        checked(moved, f"move_mount {path}")
    finally:
        os.close(tree)


def set_mount_flags(path: str | int, flags: int) -> None:
    """Set flags such as READ_ONLY on all mounts at and below a path, or below the descriptor of a copy."""
    place, name = (path, b"") if isinstance(path, int) else (_HERE, os.fsencode(path))
    rules = _Attributes(
        set=flags
    )  # the flags that we use are the same numbers in mount(2) and mount_setattr(2)
    how = _ALL_BELOW | (_EMPTY_PATH if isinstance(path, int) else 0)
    made = libc().syscall(
        _MOUNT_SETATTR, place, name, how, ctypes.byref(rules), ctypes.sizeof(rules)
    )
    checked(made, f"mount_setattr {path}")


def topmost_paths(paths: Iterable[str]) -> list[str]:
    """Return those of the paths that lie below none of the others."""
    found: list[str] = []
    for path in sorted(paths):
        if not any(
            path == top or path.startswith(top.rstrip("/") + "/") for top in found
        ):
            found.append(path)
    return found


def mount_tmpfs_over(path: str, kept: Iterable[str], size_mb: int) -> None:
    """Put an empty folder of its own in the place of one, and show again what is kept of it."""
    inside: list[tuple[str, int]] = []
    for top in kept:
        with suppress(FileNotFoundError):  # it is gone meanwhile
            inside.append((top, os.open(top, os.O_PATH | os.O_CLOEXEC)))
    mount("tmpfs", path, "tmpfs", NO_SUID | NO_DEV, f"size={size_mb}m,mode=1777")
    for top, fd in inside:
        _show_again(top, fd)


def _show_again(path: str, fd: int) -> None:
    """Bind what an open descriptor stands for to its old place, in a folder that is new."""
    source = f"/proc/self/fd/{fd}"
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    mount(source, path, None, _BIND | _RECURSIVE)
    os.close(fd)
