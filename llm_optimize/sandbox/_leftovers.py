"""What the kernel keeps after a process is dead (Linux): shared memory, semaphores, message queues.

Seen before a scoring and after it: what is new, belongs to this user and is used by no living process, was left behind
by the candidate. In an IPC namespace of its own everything goes by itself.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from dataclasses import dataclass

_SHM_FOLDER = "/dev/shm"
_IPC_RMID = 0  # linux/ipc.h
_KINDS = {"shm": ("shmid", "cpid", "nattch"), "sem": ("semid", "", ""), "msg": ("msqid", "lspid", "")}


@dataclass(frozen=True)
class Kept:
    """What is there at one moment: names in /dev/shm, and System V objects by kind and number."""

    files: frozenset[str]
    objects: frozenset[tuple[str, int]]


def kept() -> Kept:
    """Return what is there now."""
    return Kept(frozenset(_files()), frozenset((kind, number) for kind in _KINDS for number, _, _ in _objects(kind)))


def remove_new(before: Kept) -> None:
    """Remove what came since, is this user's, and is used by nobody who lives."""
    fresh = [path for path in _files() if path not in before.files]
    held = _open_files() if fresh else set()
    for path in fresh:
        with suppress(OSError):
            if os.lstat(path).st_ino not in held:
                os.unlink(path)
    libc = ctypes.CDLL(None)
    for kind in _KINDS:
        for number, creator, attached in _objects(kind):
            if (kind, number) not in before.objects and not attached and not _alive(creator):
                control = (libc.shmctl, libc.semctl, libc.msgctl)[list(_KINDS).index(kind)]
                control(number, 0, _IPC_RMID) if kind == "sem" else control(number, _IPC_RMID, 0)


def _files() -> list[str]:
    with suppress(OSError), os.scandir(_SHM_FOLDER) as entries:
        return [entry.path for entry in entries if entry.stat(follow_symlinks=False).st_uid == os.geteuid()]
    return []


def _objects(kind: str) -> list[tuple[int, int, int]]:
    """Return the number, the creator's process id (0: unknown) and the attachments of each of this user's objects."""
    number, creator, attached = _KINDS[kind]
    found = []
    with suppress(OSError), open(f"/proc/sysvipc/{kind}", encoding="ascii") as file:
        names = file.readline().split()
        for line in file:
            row = dict(zip(names, map(int, line.split()), strict=False))
            if row["cuid"] == os.geteuid():
                found.append((row[number], row.get(creator, 0), row.get(attached, 0)))
    return found


def _open_files() -> set[int]:
    """Return the inodes of the files in /dev/shm that some process of this user maps or holds open.

    Not their names: a named semaphore is mapped under the name of a temporary file that it was made as.
    """
    found: set[int] = set()
    device = os.stat(_SHM_FOLDER).st_dev
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            found |= {int(line.split(maxsplit=5)[4]) for line in file if f" {_SHM_FOLDER}" in line}
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    facts = os.stat(f"/proc/{pid}/fd/{fd}")
                    found |= {facts.st_ino} if facts.st_dev == device else set()
    return found


def _alive(pid: int) -> bool:
    return pid != 0 and os.path.exists(f"/proc/{pid}")
