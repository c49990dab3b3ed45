"""Taking rights away from this very process and all that it starts (Linux): Landlock, capabilities, no way back.

Landlock is the kernel's own: no program and no root is needed. Sources: landlock(7), linux/landlock.h, capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable

from .visible_paths import VisiblePaths

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = (
    444,
    445,
    446,
)  # the same numbers on every architecture
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP = 38, 24
_CAPABILITY_VERSION_3 = 0x20080522

_FILE_RIGHTS = (
    1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
)  # execute, write, read, truncate, ioctl of a device
_LIST_RIGHT = 1 << 3
_READ_RIGHTS = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
_FS_RIGHTS = {
    1: (1 << 13) - 1,
    2: (1 << 14) - 1,
    3: (1 << 15) - 1,
    5: (1 << 16) - 1,
}  # by the first ABI that has them
_TCP_RIGHTS = 1 << 0 | 1 << 1  # bind, connect; ABI 4
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals; ABI 6
_KEPT_CAPABILITIES = (
    0,
    1,
    3,
)  # CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER: root's files in a container have many owners
SIGNALS_ABI = 6  # from here on a candidate can send no signal to a process outside


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("fs", ctypes.c_uint64),
        ("net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def libc() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return the result of a C call. Raises OSError when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def landlock_abi() -> int:
    """Return the version of Landlock in this kernel; 0 where there is none, or it is switched off."""
    return max(0, int(libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def set_no_new_privileges() -> None:
    """Let no program that this process executes give it more rights than it has: what filters and Landlock ask for."""
    checked(
        libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)"
    )


def restrict_self(view: VisiblePaths, scratch: Iterable[str], network: bool) -> None:
    """Let this process see and write no more than that, for ever; where there is no Landlock, only drop privileges.

    Raises OSError when the kernel has Landlock and refuses the rules.
    """
    set_no_new_privileges()
    abi = landlock_abi()
    if abi:
        ruleset = _open_ruleset(abi, network)
        handled = _handled(abi)
        for path in ("/proc", *view.readable):
            _allow(ruleset, path, handled & _READ_RIGHTS)
        for path in view.listed:
            _allow(ruleset, path, handled & _LIST_RIGHT)
        for path in (*view.devices, *view.writable, *scratch):
            _allow(ruleset, path, handled)
        checked(libc().syscall(_RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
        os.close(ruleset)
    drop_capabilities(_KEPT_CAPABILITIES if os.geteuid() == 0 else ())


def _handled(abi: int) -> int:
    return max(rights for first, rights in _FS_RIGHTS.items() if abi >= first)


def _open_ruleset(abi: int, network: bool) -> int:
    rules = _Ruleset(
        _handled(abi),
        _TCP_RIGHTS if abi >= 4 and not network else 0,
        _SCOPES if abi >= SIGNALS_ABI else 0,
    )
    size = 8 if abi < 4 else 16 if abi < SIGNALS_ABI else ctypes.sizeof(rules)
    return checked(
        libc().syscall(_CREATE_RULESET, ctypes.byref(rules), size, 0),
        "landlock_create_ruleset",
    )


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # gone meanwhile, or not ours to see: nothing to allow
    try:
        allowed = (
            rights if stat.S_ISDIR(os.fstat(fd).st_mode) else rights & _FILE_RIGHTS
        )
        rule = _PathBeneath(allowed, fd)
        checked(
            libc().syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0),
            f"landlock_add_rule {path}",
        )
    finally:
        os.close(fd)


def drop_capabilities(kept: tuple[int, ...] = ()) -> None:
    """Give up all capabilities but the `kept` ones, for this process and whatever it executes."""
    mask = 0
    for number in kept:
        mask |= 1 << number
    number = 0
    while (
        held := libc().prctl(23, number, 0, 0, 0)
    ) >= 0:  # PR_CAPBSET_READ; negative: no such capability
        if held and not mask >> number & 1:
            libc().prctl(
                _PR_CAPBSET_DROP, number, 0, 0, 0
            )  # refused to ordinary users, who have none to lose
        number += 1
    current = (_CapData * 2)()
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    checked(libc().capget(ctypes.byref(header), current), "capget")
    for place, data in enumerate(current):
        part = mask >> 32 * place & 0xFFFFFFFF
        data.effective, data.permitted, data.inheritable = (
            data.effective & part,
            data.permitted & part,
            0,
        )
    checked(libc().capset(ctypes.byref(header), current), "capset")
