"""Landlock: rules of the kernel by which a process gives up rights for itself and its descendants.

No program and no root is needed. The rules allow paths and everything below them; what no rule
allows is refused, and no rule can be taken back. Each version of the kernel's interface (its ABI)
knows more rights than the one before. Sources: landlock(7), linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from .capabilities import CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER, drop_capabilities
from .libc import checked, libc, set_no_new_privileges
from .visible_paths import VisiblePaths

# Numbers of system calls; they are the same on every architecture.
_SYS_CREATE_RULESET = 444
_SYS_ADD_RULE = 445
_SYS_RESTRICT_SELF = 446
_CREATE_RULESET_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_RULE_PATH_BENEATH = 1  # LANDLOCK_RULE_PATH_BENEATH

# LANDLOCK_ACCESS_FS_*
_EXECUTE = 1 << 0
_WRITE_FILE = 1 << 1
_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_READ_RIGHTS = _EXECUTE | _READ_FILE | _READ_DIR
_FS_RIGHTS = {  # all rights over files, by the first ABI that has them
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    5: (1 << 16) - 1,
}
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1  # LANDLOCK_ACCESS_NET_*
_TCP_RIGHTS = _BIND_TCP | _CONNECT_TCP
_TCP_ABI = 4
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1  # LANDLOCK_SCOPE_*
_SCOPES = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL
SIGNALS_ABI = 6  # from here on a candidate can send no signal to a process outside

# Root's files in a container have many owners, so its candidates keep these.
_KEPT_OF_ROOT = (CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER)


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


_BYTES_WITHOUT_NET, _BYTES_WITHOUT_SCOPED = 8, 16  # of the structure in older kernels


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def landlock_abi() -> int:
    """Return the version of Landlock in this kernel; 0 where there is none, or it is off."""
    version = libc().syscall(_SYS_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    return max(0, int(version))


def restrict_self(
    paths: VisiblePaths, scratch: Iterable[str], *, network: bool
) -> None:
    """Let this process see and write no more than this, forever.

    Where there is no Landlock, it only gives up privileges.

    Args:
        paths: what may be read, listed and written.
        scratch: directories in which everything is allowed.
        network: whether TCP connections may be made and taken.

    Raises OSError when the kernel has Landlock and refuses the rules.
    """
    set_no_new_privileges()
    abi = landlock_abi()
    if abi:
        ruleset = _create_ruleset(abi, network=network)
        handled = _fs_rights(abi)
        for path in ("/proc", *paths.readable):
            _allow(ruleset, path, handled & _READ_RIGHTS)
        for path in paths.listed:
            _allow(ruleset, path, handled & _READ_DIR)
        for path in (*paths.devices, *paths.writable, *scratch):
            _allow(ruleset, path, handled)
        _enforce(ruleset)  # wall: Landlock for files
        os.close(ruleset)
    kept = _KEPT_OF_ROOT if os.geteuid() == 0 else ()
    drop_capabilities(kept)  # wall: giving up privileges in a namespace


def _enforce(ruleset: int) -> None:
    result = libc().syscall(_SYS_RESTRICT_SELF, ruleset, 0)
    checked(result, "landlock_restrict_self")


def _fs_rights(abi: int) -> int:
    return max(rights for first, rights in _FS_RIGHTS.items() if abi >= first)


def _create_ruleset(abi: int, *, network: bool) -> int:
    """Return the descriptor of new rules: what they handle is refused unless a rule allows it."""
    rules = _Ruleset(_fs_rights(abi), 0, 0)
    if abi >= _TCP_ABI and not network:
        rules.net = _TCP_RIGHTS  # wall: Landlock for TCP
    if abi >= SIGNALS_ABI:
        rules.scoped = _SCOPES  # wall: Landlock for signals
    # Older kernels refuse a structure that is longer than the one they know.
    size = ctypes.sizeof(rules)
    if abi < _TCP_ABI:
        size = _BYTES_WITHOUT_NET
    elif abi < SIGNALS_ABI:
        size = _BYTES_WITHOUT_SCOPED
    result = libc().syscall(_SYS_CREATE_RULESET, ctypes.byref(rules), size, 0)
    return checked(result, "landlock_create_ruleset")


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile, or not ours to see: nothing to allow
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _FILE_RIGHTS
        rule = _PathBeneath(rights, fd)
        result = libc().syscall(
            _SYS_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0
        )
        checked(result, f"landlock_add_rule {path}")
    finally:
        os.close(fd)
