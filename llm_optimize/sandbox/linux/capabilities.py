"""Capabilities: the single rights that root's power consists of. Source: capabilities(7)."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable

from .libc import PR_CAPBSET_DROP, PR_CAPBSET_READ, checked, libc

CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER = 0, 1, 3  # linux/capability.h
_CAPABILITY_VERSION_3 = 0x20080522
_BITS = 32  # of each of the two structures that version 3 has


class _CapHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapData(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def drop_capabilities(kept: Iterable[int] = ()) -> None:
    """Give up all capabilities but the `kept` ones, for this process and all that it executes."""
    kept_bits = 0
    for number in kept:
        kept_bits |= 1 << number
    _drop_from_bounding_set(kept_bits)
    current = (_CapData * 2)()
    header = _CapHeader(_CAPABILITY_VERSION_3, 0)
    checked(libc().capget(ctypes.byref(header), current), "capget")
    for index, data in enumerate(current):
        mask = kept_bits >> _BITS * index & 0xFFFFFFFF
        data.effective &= mask
        data.permitted &= mask
        data.inheritable = 0
    checked(libc().capset(ctypes.byref(header), current), "capset")


def _drop_from_bounding_set(kept_bits: int) -> None:
    """Drop what an executed program could gain again. Ordinary users may not, and have none."""
    number = 0
    while True:
        in_bounding_set = libc().prctl(PR_CAPBSET_READ, number, 0, 0, 0)
        if in_bounding_set < 0:
            return  # the kernel knows no capability of this number
        is_kept = kept_bits >> number & 1
        if in_bounding_set and not is_kept:
            libc().prctl(PR_CAPBSET_DROP, number, 0, 0, 0)
        number += 1
