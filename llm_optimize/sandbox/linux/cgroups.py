"""Control groups (Linux), where this user may make them: limits for all processes of a scoring together.

Both versions are spoken: memory and pids of version 1, and of version 2 where they are handed down to a folder that can
be written, as systemd does for a user's session. Sources: cgroups(7), cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

from ...records import Limits

_log = logging.getLogger(__name__)
_KNOWN = ("memory", "pids")
_OURS = "llm_optimize-"
_OWN_PROCESSES = 4  # keeper, slot, first process of a namespace, and the child itself
_BUSY_SECS = 1.0  # for the last process of a group to be gone


class Cgroups:
    """The groups of one sandbox: one for each keeper."""

    def __init__(self, limits: Limits, root: str = "/proc/self") -> None:
        """Look where groups can be made; `root` holds the files `cgroup` and `mounts` of a process."""
        self._limits = limits
        self._parents = _parents(Path(root))
        self._made: list[Cgroup] = []
        for parent in self._parents.values():
            _remove_stale(parent)

    @property
    def controllers(self) -> tuple[str, ...]:
        """What is limited for all processes together: `memory`, `pids`, both or nothing."""
        return tuple(sorted(self._parents))

    def new(self) -> Cgroup | None:
        """Return a new group; None where none can be made."""
        folders: dict[str, Path] = {}
        try:
            for controller, parent in self._parents.items():
                folders[controller] = (
                    parent / f"{_OURS}{os.getpid()}-{secrets.token_hex(4)}"
                )
                folders[controller].mkdir()
                _limit(controller, folders[controller], self._limits)
        except OSError as error:
            _log.info("no control group: %s; limits hold for each process alone", error)
            self._parents = {}
        if not self._parents:
            return None
        self._made.append(Cgroup(folders))
        return self._made[-1]

    def close(self) -> None:
        """Remove all groups; their processes have ended, or are about to."""
        until = time.monotonic() + _BUSY_SECS
        while self._made and time.monotonic() < until:
            self._made = [group for group in self._made if not group.remove()]
            if self._made:
                time.sleep(0.005)


class Cgroup:
    """One group."""

    def __init__(self, folders: dict[str, Path]) -> None:
        """Take its folder in each hierarchy."""
        self._folders = folders

    def add(self, pid: int) -> None:
        """Put a process, and what it will start, into the group; one that has ended is left aside."""
        for folder in self._folders.values():
            with suppress(ProcessLookupError):
                (folder / "cgroup.procs").write_text(str(pid))

    def oom_kills(self) -> int:
        """Return how often memory ran out so far and a process was killed for it."""
        folder = self._folders.get("memory")
        if folder is None:
            return 0
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                counts = dict(
                    line.split() for line in (folder / name).read_text().splitlines()
                )
                return int(counts.get("oom_kill", 0))
        return 0

    def remove(self) -> bool:
        """Remove the group; return whether it is gone, which it is not while a process is in it."""
        for folder in self._folders.values():
            with suppress(FileNotFoundError):
                try:
                    folder.rmdir()
                except OSError:
                    return False
        return True


def _limit(controller: str, folder: Path, limits: Limits) -> None:
    if controller == "pids":
        (folder / "pids.max").write_text(str(limits.processes + _OWN_PROCESSES))
        return
    version_2 = (folder / "memory.max").exists()
    (folder / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(
        str(limits.memory_mb * 2**20)
    )


def _parents(root: Path) -> dict[str, Path]:
    """Return the folder in which groups can be made, by controller."""
    try:
        own = [
            line.split(":", 2) for line in (root / "cgroup").read_text().splitlines()
        ]
        mounts = [line.split() for line in (root / "mounts").read_text().splitlines()]
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for _, controllers, path in own:
        for _, top, kind, options, *_ in mounts:
            here = Path(top) / path.lstrip("/")
            if kind == "cgroup2" and not controllers:
                for folder in (here.parent, here) if path != "/" else (here,):
                    found |= {
                        name: folder
                        for name in _handed_down(folder)
                        if name not in found
                    }
            elif (
                kind == "cgroup"
                and controllers in ("memory", "pids")
                and controllers in options.split(",")
            ):
                found[controllers] = here
    return {
        name: folder for name, folder in found.items() if os.access(folder, os.W_OK)
    }


def _handed_down(folder: Path) -> list[str]:
    """Return which of our controllers the groups below a folder have; none when no process may be moved there."""
    with suppress(OSError):
        if os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK):
            return [
                name
                for name in (folder / "cgroup.subtree_control").read_text().split()
                if name in _KNOWN
            ]
    return []


def _remove_stale(parent: Path) -> None:
    """Remove the groups of programs that were killed."""
    for folder in parent.glob(f"{_OURS}*"):
        pid = folder.name.removeprefix(_OURS).partition("-")[0]
        if not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):
                folder.rmdir()


def join_cgroups_of(pid: int, root: str = "/proc") -> None:
    """Put this process into the groups of another one that were made here, so that the kernel counts them together.

    Where these cannot be seen or written to, as in a world of bubblewrap's, everything stays as it is.
    """
    with suppress(OSError):
        for folder in _groups_of(Path(root) / str(pid), Path(root) / "self"):
            (folder / "cgroup.procs").write_text(
                "0"
            )  # zero stands for whoever writes it


def _groups_of(process: Path, own: Path) -> list[Path]:
    """Return the folders of our groups that a process is in."""
    mounts = [line.split() for line in (own / "mounts").read_text().splitlines()]
    found: list[Path] = []
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if Path(path).name.startswith(_OURS):
            for _, top, kind, options, *_ in mounts:
                is_ours = (
                    kind == "cgroup"
                    and controllers in options.split(",")
                    and controllers in _KNOWN
                )
                if is_ours or (kind == "cgroup2" and not controllers):
                    found.append(Path(top) / path.lstrip("/"))
    return found
