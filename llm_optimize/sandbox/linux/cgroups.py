"""Control groups, where this user may make them: limits for all processes of a scoring together.

Both versions are known: memory and pids of version 1, and of version 2 where they are delegated to
a folder that can be written, as systemd does for a user's session. Sources: cgroups(7),
cgroup-v2.rst and cgroup-v1/memory.rst of Linux.
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
_PREFIX = "llm_optimize-"  # of the names of our groups; the process id of the optimizer follows
# Supervisor, namespace supervisor, init, and the child itself.
_OWN_PROCESSES = 4
_REMOVE_SECS = 1.0  # for the last process of a group to be gone
_PAUSE_SECS = 0.005
_SELF = "0"  # in cgroup.procs, the process that writes it


class Cgroups:
    """The groups of one sandbox, one for each supervisor.

    Args:
        limits: of each scoring.
        root: a folder with the files `cgroup` and `mounts` of a process.
    """

    def __init__(self, limits: Limits, root: str = "/proc/self") -> None:
        self._limits = limits
        self._parents = _find_parents(Path(root))
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
                name = f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
                folders[controller] = parent / name
                folders[controller].mkdir()
                _set_limit(controller, folders[controller], self._limits)
        except OSError as error:
            _log.info("no control group: %s; limits hold for each process alone", error)
            self._parents = {}
        if not self._parents:
            return None
        group = Cgroup(folders)
        self._made.append(group)
        return group

    def close(self) -> None:
        """Remove all groups; their processes have ended, or are about to."""
        until = time.monotonic() + _REMOVE_SECS
        while self._made and time.monotonic() < until:
            self._made = [group for group in self._made if not group.remove()]
            if self._made:
                time.sleep(_PAUSE_SECS)


class Cgroup:
    """One group.

    Args:
        folders: of the group in each hierarchy, by controller.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def add(self, pid: int) -> None:
        """Put a process, and what it will start, into the group; one that has ended is ignored."""
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
                lines = (folder / name).read_text().splitlines()
                counts = dict(line.split() for line in lines)
                return int(counts.get("oom_kill", 0))
        return 0

    def remove(self) -> bool:
        """Remove the group; return whether it is gone, which needs that no process is in it."""
        for folder in self._folders.values():
            with suppress(FileNotFoundError):
                try:
                    folder.rmdir()
                except OSError:
                    return False
        return True


def _set_limit(controller: str, folder: Path, limits: Limits) -> None:
    if controller == "pids":
        (folder / "pids.max").write_text(str(limits.processes + _OWN_PROCESSES))
        return
    file = folder / "memory.max"  # version 2
    if not file.exists():
        file = folder / "memory.limit_in_bytes"  # version 1
    file.write_text(str(limits.memory_mb * 2**20))


def _memberships(process: Path) -> list[tuple[str, str]]:
    """Return controllers and path of each hierarchy that a process is in."""
    found: list[tuple[str, str]] = []
    for line in (process / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        found.append((controllers, path))
    return found


def _mount_points(process: Path) -> list[tuple[str, str, list[str]]]:
    """Return path, kind and options of each mount that a process sees."""
    found: list[tuple[str, str, list[str]]] = []
    for line in (process / "mounts").read_text().splitlines():
        _, top, kind, options, *_ = line.split()
        found.append((top, kind, options.split(",")))
    return found


def _find_parents(process: Path) -> dict[str, Path]:
    """Return the folder in which groups can be made, by controller."""
    try:
        memberships = _memberships(process)
        mounts = _mount_points(process)
    except OSError:
        return {}
    found: dict[str, Path] = {}
    for controllers, path in memberships:
        for top, kind, options in mounts:
            here = Path(top) / path.lstrip("/")
            if kind == "cgroup2" and not controllers:
                # A sibling of our own group is preferred to one below it.
                folders = (here,) if path == "/" else (here.parent, here)
                for folder in folders:
                    for name in _delegated(folder):
                        found.setdefault(name, folder)
            elif kind == "cgroup" and controllers in _KNOWN and controllers in options:
                found[controllers] = here
    return {name: path for name, path in found.items() if os.access(path, os.W_OK)}


def _delegated(folder: Path) -> list[str]:
    """Return our controllers that groups below a folder have; none if no process may be moved."""
    processes = folder / "cgroup.procs"
    with suppress(OSError):
        if os.access(folder, os.W_OK) and os.access(processes, os.W_OK):
            names = (folder / "cgroup.subtree_control").read_text().split()
            return [name for name in names if name in _KNOWN]
    return []


def _remove_stale(parent: Path) -> None:
    """Remove the groups of programs that were killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not os.path.exists(f"/proc/{pid}"):
            with suppress(OSError):
                folder.rmdir()


def join_cgroups_of(pid: int, root: str = "/proc") -> None:
    """Put this process into our groups of another one, so that the kernel counts them together.

    Where these cannot be seen or written, as inside bubblewrap, nothing changes.
    """
    process, own = Path(root) / str(pid), Path(root) / "self"
    with suppress(OSError):
        for folder in _our_groups(process, own):
            (folder / "cgroup.procs").write_text(_SELF)


def _our_groups(process: Path, own: Path) -> list[Path]:
    """Return the folders of our groups that a process is in, as this process sees them."""
    mounts = _mount_points(own)
    found: list[Path] = []
    for controllers, path in _memberships(process):
        if not Path(path).name.startswith(_PREFIX):
            continue
        for top, kind, options in mounts:
            is_version_1 = kind == "cgroup" and controllers in _KNOWN
            if (is_version_1 and controllers in options) or (
                kind == "cgroup2" and not controllers
            ):
                found.append(Path(top) / path.lstrip("/"))
    return found
