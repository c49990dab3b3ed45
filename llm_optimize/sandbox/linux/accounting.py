"""Accounting: what all processes of a scoring use together, measured from time to time.

Limits of the kernel hold for each process alone, and never for what only an open file keeps: a
memfd, a file that was unlinked. Where a control group can be made it counts all memory. Everywhere
else the supervisor counts the same from /proc, as an ordinary user can:

1. The cheap upper bound: resident memory of all processes, where pages that they share count once
   for each, and all shared memory that open files keep. Nearly every scoring stays below its limit
   by this count, and is not measured further.
2. Else the proportional share of each process (PSS: a page that n processes share counts 1/n for
   each), so that what a fork shares with its parents counts once or, with those outside of the
   scoring, in part.

A process that cannot be looked into could hide any amount. One that is so in two checks in a row
ends the scoring.
"""

from __future__ import annotations

import os
import re
import resource
import stat
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from ...records import Limits

_MB = 2**20
_CHECK_SECS = 0.25
_NEAR_CHECK_SECS = 0.05  # once half of a limit is used
_MAX_CHECK_SHARE = 0.05  # of the time that may be spent on checks
_PAGE_BYTES = resource.getpagesize()
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system
_SHARED_MEMORY = ("/memfd:", "/dev/shm/", "/dev/zero", "/SYSV")
# A shared mapping in smaps: its device, its inode, and its proportional share in KiB.
_SHARED_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ ..[-x]s \S+ (\S+) (\d+)[^\n]*\n(?:\w+:[^\n]*\n)*?Pss: +(\d+)",
    re.M,
)
_FileId = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class Breach:
    """A limit that a scoring broke."""

    status: str  # of its outcome: killed or memory
    message: str


@dataclass
class Usage:
    """What some processes use at one moment, in bytes."""

    resident: int = 0
    # Memory that open files keep.
    shared: dict[_FileId, int] = field(default_factory=dict)
    # Files on disk without a name.
    unlinked: dict[_FileId, int] = field(default_factory=dict)
    hidden: bool = False  # whether a living process could not be looked into


def measure(pids: Iterable[int]) -> Usage:
    """Return what these processes use; those that are gone use nothing."""
    usage = Usage()
    for pid in pids:
        resident = _resident_bytes(pid)
        usage.resident += resident
        try:
            _add_open_files(f"/proc/{pid}/fd", usage)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            # Also raised for a process that ends just now, which has no memory any more.
            if resident > 0 and _resident_bytes(pid) > 0:
                usage.hidden = True
    return usage


def _resident_bytes(pid: int) -> int:
    with (
        suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{pid}/statm", encoding="ascii") as file,
    ):
        pages = file.read().split()[1]
        return int(pages) * _PAGE_BYTES
    return 0


def _add_open_files(folder: str, usage: Usage) -> None:
    """Count the regular files that are open and have no name, each once."""
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        # An entry may be closed, or its process may end, at any moment.
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            facts = os.stat(path)
            is_nameless = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0
            if not is_nameless or not facts.st_blocks:
                continue
            in_memory = os.readlink(path).startswith(_SHARED_MEMORY)
            files = usage.shared if in_memory else usage.unlinked
            size = facts.st_blocks * _BLOCK_BYTES
            key = facts.st_dev, facts.st_ino
            files[key] = size  # wall: the account of nameless files


def proportional_memory(pids: Iterable[int], usage: Usage) -> int:
    """Return the proportional memory of these processes with what their open files keep.

    Pages of such a file that are mapped as well are in the share of the process already, so they
    are subtracted from the file.
    """
    total = sum(usage.shared.values())
    mapped = dict.fromkeys(usage.shared, 0)
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            total += _proportional_share(pid)
            if mapped:
                _add_mapped(pid, mapped)
    for file, size in mapped.items():
        total -= min(size, usage.shared[file])
    return total


def _proportional_share(pid: int) -> int:
    total_kib = 0
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file:
            name, *values = line.split()
            if name in ("Pss_Anon:", "Pss_Shmem:"):
                total_kib += int(values[0])
    return total_kib * 1024


def _add_mapped(pid: int, mapped: dict[_FileId, int]) -> None:
    with open(f"/proc/{pid}/smaps", "rb") as file:
        mappings = _SHARED_MAPPING.findall(file.read())
    for device, inode, share_kib in mappings:
        major, minor = (int(part, 16) for part in device.split(b":"))
        key = os.makedev(major, minor), int(inode)
        if key in mapped:
            mapped[key] += int(share_kib) * 1024


class Account:
    """The usage of one scoring against its limits.

    Args:
        limits: of the scoring.
        scratch_bytes: returns what the scratch directory takes.
        whose: who uses it, for messages; "" means the scoring itself.
    """

    def __init__(
        self, limits: Limits, scratch_bytes: Callable[[], int], whose: str = ""
    ) -> None:
        self.next_check_secs = _CHECK_SECS
        self._limits = limits
        self._scratch_bytes = scratch_bytes
        self._processes = f"all processes of {whose}" if whose else "all its processes"
        self._files = f"all files of {whose}" if whose else "all its files"
        self._was_hidden = False

    def breach(self, pids: list[int]) -> Breach | None:
        """Return the limit that these processes break together; None while there is none.

        Where a check takes long, the next one is later: see `next_check_secs`.
        """
        begun = time.monotonic()
        usage = measure(pids)
        if usage.hidden and self._was_hidden:
            message = (
                "one of its processes cannot be looked into, "
                "so that what it uses cannot be counted"
            )
            return Breach("killed", message)
        self._was_hidden = usage.hidden
        limits = self._limits

        memory_limit = limits.memory_mb * _MB
        memory = usage.resident + sum(usage.shared.values())
        if memory > memory_limit:
            memory = proportional_memory(pids, usage)
        if memory > memory_limit:
            message = (
                f"memory limit of {limits.memory_mb} MB reached by {self._processes} "
                "together (memory_mb, or --memory)"
            )
            return Breach("memory", message)

        disk_limit = limits.scratch_mb * _MB
        disk = self._scratch_bytes() + sum(usage.unlinked.values())
        if disk > disk_limit:
            message = (
                f"scratch limit of {limits.scratch_mb} MB reached by {self._files} "
                "together (scratch_mb)"
            )
            return Breach("killed", message)

        is_near = 2 * memory > memory_limit or 2 * disk > disk_limit
        interval = _NEAR_CHECK_SECS if usage.hidden or is_near else _CHECK_SECS
        took = time.monotonic() - begun
        self.next_check_secs = max(interval, took / _MAX_CHECK_SHARE)
        return None


def count_threads(pids: Iterable[int]) -> int:
    """Return how many threads these processes have together, each at least one."""
    found = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found += len(os.listdir(f"/proc/{pid}/task"))
    return found


def tmpfs_bytes(pids: Iterable[int]) -> int:
    """Return what is in the file systems that these processes have as /tmp, each counted once.

    The /tmp of this process itself does not count: the first process of a namespace has it until
    its own is mounted.
    """
    used: dict[int, int] = {}  # by device
    outside = os.stat("/tmp").st_dev
    for pid in pids:
        path = os.path.join(f"/proc/{pid}/root", "tmp")
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            facts = os.statvfs(path)
            blocks = facts.f_blocks - facts.f_bfree
            used[os.stat(path).st_dev] = blocks * facts.f_frsize
    used.pop(outside, None)
    return sum(used.values())
