"""Which process it is, told apart from a later one that got the same pid."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

_LINUX = sys.platform == "linux"


@dataclass(frozen=True)
class Holder:
    """A process that writes a run."""

    pid: int
    host: str
    started: str  # when, in the words of its machine

    @property
    def is_me(self) -> bool:
        """Whether it is this very process."""
        return self == this_process()

    @property
    def is_far(self) -> bool:
        """Whether it runs on another machine, of which nothing is known here."""
        return self.host != socket.gethostname()

    @property
    def is_gone(self) -> bool:
        """Whether it is known to have ended."""
        if self.is_far:
            return False
        surroundings, _, _ = self.started.rpartition(" ")
        if (
            _LINUX and surroundings != _surroundings()
        ):  # started before a reboot, or in a container of its own
            return surroundings.partition(" ")[0] != _boot()
        return _started(self.pid) != self.started


def this_process() -> Holder:
    """Return who we are."""
    return Holder(os.getpid(), socket.gethostname(), _started(os.getpid()))


def _started(pid: int) -> str:
    """Return when a living process began; empty when there is none."""
    if not _LINUX:
        return _started_elsewhere(pid)
    try:
        state, *fields = (
            Path(f"/proc/{pid}/stat")
            .read_text("utf-8", "replace")
            .rpartition(")")[2]
            .split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return (
        "" if state in "ZX" else f"{_surroundings()} {fields[18]}"
    )  # the 22nd field: clock ticks since the boot


def _surroundings() -> str:
    return f"{_boot()} {os.readlink('/proc/self/ns/pid')}"


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip()


def _started_elsewhere(pid: int) -> str:
    import psutil

    try:
        process = psutil.Process(pid)
        return (
            ""
            if process.status() == psutil.STATUS_ZOMBIE
            else f"{process.create_time()}"
        )
    except psutil.NoSuchProcess:
        return ""
