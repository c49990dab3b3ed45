"""Calls of the C library that Python has no function for: prctl, syscall, mount, setns."""

from __future__ import annotations

import ctypes
import os

# Options of prctl, from linux/prctl.h.
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38


def libc() -> ctypes.CDLL:
    """Return the C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return the result of a C call. Raises OSError, which names the call, when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def set_no_new_privileges() -> None:
    """Let no program that this process executes gain rights. Seccomp and Landlock require it."""
    result = libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    checked(result, "prctl(PR_SET_NO_NEW_PRIVS)")
