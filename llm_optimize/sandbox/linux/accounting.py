"""What all processes of a scoring use together (Linux), counted now and then by whoever watches over them.

Limits of the kernel hold for each process alone, and never for what only an open file keeps: a memfd, a file that was
unlinked. Where a control group can be made it counts all memory; here the same is counted from /proc, by an ordinary
user, at the moments at which the scratch directory is looked at anyhow:

1. The cheap upper bound: resident memory of all processes, pages that they share counted again for each, and all shared
   memory that is kept by open files. Nearly every scoring stays below its limit with that, and is not looked at closer.
2. Else the proportional share of each process (PSS: a page that n processes share counts 1/n for each), so that what a
   fork shares with its parents is counted once or, with those outside of the scoring, in part.

A process that cannot be looked into could hide any amount, so one that is so in two looks in a row ends the scoring.
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
_LOOK_SECS = 0.25
_SOON_SECS = 0.05  # where half of a limit is used
_LOOK_SHARE = 0.05  # of the time, at most, for looking
_PAGE_BYTES = resource.getpagesize()
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system
_SHARED_MEMORY = ("/memfd:", "/dev/shm/", "/dev/zero", "/SYSV")
# A shared mapping in smaps: its device, its inode, and its proportional share in KiB.
_SHARED_MAPPING = re.compile(
    rb"^[0-9a-f]+-[0-9a-f]+ ..[-x]s \S+ (\S+) (\d+)[^\n]*\n(?:\w+:[^\n]*\n)*?Pss: +(\d+)",
    re.M,
)


@dataclass(frozen=True)
class Breach:
    """A limit that a scoring broke."""

    status: str  # of its outcome: killed or memory
    message: str


@dataclass
class Usage:
    """What some processes use at one moment, in bytes."""

    resident: int = 0
    shared: dict[tuple[int, int], int] = field(
        default_factory=dict
    )  # by device and inode: kept by open files
    unlinked: dict[tuple[int, int], int] = field(
        default_factory=dict
    )  # the same, on disk, under no name any more
    hidden: bool = False  # whether a living process could not be looked into


def measure(pids: Iterable[int]) -> Usage:
    """Return what these processes use; those that are gone use nothing."""
    use = Usage()
    for pid in pids:
        resident = _resident(pid)
        use.resident += resident
        try:
            _add_open_files(f"/proc/{pid}/fd", use)
        except (FileNotFoundError, ProcessLookupError):
            continue
        except (
            PermissionError
        ):  # as of one that ends just now, which has no memory any more
            use.hidden = use.hidden or (resident > 0 and _resident(pid) > 0)
    return use


def _resident(pid: int) -> int:
    with (
        suppress(FileNotFoundError, ProcessLookupError),
        open(f"/proc/{pid}/statm", encoding="ascii") as file,
    ):
        return int(file.read().split()[1]) * _PAGE_BYTES
    return 0


def _add_open_files(folder: str, use: Usage) -> None:
    """Count the regular files that are open and have no name, each once."""
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        with suppress(
            FileNotFoundError, ProcessLookupError, PermissionError
        ):  # closed, or ended, just now
            facts = os.stat(path)
            if stat.S_ISREG(facts.st_mode) and facts.st_nlink == 0 and facts.st_blocks:
                kind = (
                    use.shared
                    if os.readlink(path).startswith(_SHARED_MEMORY)
                    else use.unlinked
                )
                kind[facts.st_dev, facts.st_ino] = facts.st_blocks * _BLOCK_BYTES


def proportional_memory(pids: Iterable[int], use: Usage) -> int:
    """Return the memory of these processes, shared pages in part, and what their open files keep, counted once.

    Pages of such a file that are mapped as well are in the share of the process: they are taken off again.
    """
    total, mapped = sum(use.shared.values()), dict.fromkeys(use.shared, 0)
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            total += _share(pid)
            if mapped:
                _add_mapped(pid, mapped)
    return total - sum(min(size, use.shared[file]) for file, size in mapped.items())


def _share(pid: int) -> int:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        lines = [line.split() for line in file]
    return sum(
        int(line[1]) * 1024 for line in lines if line[0] in ("Pss_Anon:", "Pss_Shmem:")
    )


def _add_mapped(pid: int, mapped: dict[tuple[int, int], int]) -> None:
    with open(f"/proc/{pid}/smaps", "rb") as file:
        for device, inode, share in _SHARED_MAPPING.findall(file.read()):
            major, minor = (int(part, 16) for part in device.split(b":"))
            key = os.makedev(major, minor), int(inode)
            if key in mapped:
                mapped[key] += int(share) * 1024


class Account:
    """The use of one scoring against its limits."""

    def __init__(
        self, limits: Limits, scratch_bytes: Callable[[], int], whose: str = ""
    ) -> None:
        """Take the limits, how to find out what the scratch directory takes, and whose use this is, if not its own."""
        self.next_look_secs = _LOOK_SECS
        self._limits = limits
        self._scratch_bytes = scratch_bytes
        self._processes = f"all processes of {whose}" if whose else "all its processes"
        self._files = f"all files of {whose}" if whose else "all its files"
        self._was_hidden = False

    def breach(self, pids: list[int]) -> Breach | None:
        """Return the limit that these processes break together; None while there is none.

        Looks seldom where a look takes long.
        """
        begun = time.monotonic()
        use = measure(pids)
        if use.hidden and self._was_hidden:
            said = "one of its processes cannot be looked into, so that what it uses cannot be counted"
            return Breach("killed", said)
        self._was_hidden = use.hidden
        limits = self._limits
        memory, memory_limit = (
            use.resident + sum(use.shared.values()),
            limits.memory_mb * _MB,
        )
        if memory > memory_limit:
            memory = proportional_memory(pids, use)
        if memory > memory_limit:
            said = f"memory limit of {limits.memory_mb} MB reached by {self._processes} together (memory_mb)"
            return Breach("memory", said)
        disk, disk_limit = (
            self._scratch_bytes() + sum(use.unlinked.values()),
            limits.scratch_mb * _MB,
        )
        if disk > disk_limit:
            said = f"scratch limit of {limits.scratch_mb} MB reached by {self._files} together (scratch_mb)"
            return Breach("killed", said)
        near = use.hidden or 2 * memory > memory_limit or 2 * disk > disk_limit
        took = time.monotonic() - begun
        self.next_look_secs = max(
            _SOON_SECS if near else _LOOK_SECS, took / _LOOK_SHARE
        )
        return None


def count_threads(pids: Iterable[int]) -> int:
    """Return how many threads these processes have together, each at least one."""
    found = 0
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):
            found += len(os.listdir(f"/proc/{pid}/task"))
    return found


def tmpfs_bytes(pids: Iterable[int]) -> int:
    """Return what is in all that these processes have as /tmp, each file system counted once.

    One that has the caller's own /tmp, as the first process of a namespace has until its mounts are made, has nothing
    of its own in it.
    """
    found: dict[int, int] = {}
    outside = os.stat("/tmp").st_dev
    for pid in pids:
        path = os.path.join(f"/proc/{pid}/root", "tmp")
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            facts = os.statvfs(path)
            found[os.stat(path).st_dev] = (
                facts.f_blocks - facts.f_bfree
            ) * facts.f_frsize
    found.pop(outside, None)
    return sum(found.values())
