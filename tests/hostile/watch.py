"""Comparison of the world before and after, from outside. Each kind of breach has a name."""

from __future__ import annotations

import ctypes
import hashlib
import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .scene import Scene, ipc_objects

_SURVIVOR = b"HOSTILE-SURVIVOR"
_QUEUE = b"/hostile-mq"
_IOPRIO_GET, _WHO_PROCESS = 252, 1  # of x86_64
_OURS = "llm_optimize-"
_LOOK_SECS = 0.02
_THING_SECS = 0.25
Facts = dict[str, Any]


def snapshot(scene: Scene, optimizer: int) -> dict[str, Facts]:
    """Return all that must be the same afterwards, by kind."""
    files, others = _files(scene), processes()
    mine = {name for thing in scene.things for name in thing.names}
    rows = {row for thing in scene.things for row in thing.rows}
    return {
        "file": {path: facts[0] for path, facts in files.items()},
        "mode": {path: facts[1] for path, facts in files.items()},
        "limits of others": {f"process {pid}": _standing(pid) for pid, _ in others},
        "killed": {"bystander": scene.bystander.poll(), "optimizer": _alive(optimizer)},
        "shared memory": dict.fromkeys(
            sorted(set(os.listdir("/dev/shm")) - mine), "there"
        ),
        "ipc": dict.fromkeys(
            sorted(f"{kind} {number}" for kind, number in ipc_objects() - rows), "there"
        ),
        "queue": {_QUEUE.decode(): queue_exists()},
        "mount": dict.fromkeys(
            Path("/proc/self/mounts").read_text().splitlines(), "there"
        ),
        "temporary file": {
            name: "there" for name in os.listdir("/tmp") if not name.startswith(_OURS)
        },
        "scratch left": {
            "directories": sum(name.startswith(_OURS) for name in os.listdir("/tmp"))
        },
        "process left": {"processes": len(others), "survivors": _survivors()},
    }


def differences(before: dict[str, Facts], after: dict[str, Facts]) -> Iterator[str]:
    """Yield a sentence for each breach, which begins with its kind."""
    for kind, facts in before.items():
        found = after[kind]
        if kind in ("scratch left", "process left"):
            yield from (
                f"{kind}: {found[name]} {name}, {was} before"
                for name, was in facts.items()
                if found[name] > was
            )
            continue
        # Supervisors come and go; what stays keeps its limits.
        gone_is_fine = kind == "limits of others"
        for name in sorted({*facts, *found}):
            if facts.get(name) != found.get(name) and not (
                gone_is_fine and (name not in facts or name not in found)
            ):
                yield (
                    f"{kind}: {name}: {_lines(facts, found, name)} became "
                    f"{_lines(found, facts, name)}"
                )


def _lines(facts: Facts, others: Facts, name: str) -> str:
    """Return the lines of a fact that the other does not have."""
    lines = str(facts.get(name, "nothing")).splitlines()
    there = str(others.get(name)).splitlines()
    return ", ".join(line for line in lines if line not in there)[:200]


def processes() -> list[tuple[int, str]]:
    """Return number and start time of every process of the jail that lives, but for this one."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            if fields[0] not in "ZX" and int(pid) != os.getpid():
                found.append((int(pid), fields[19]))
    return found


def quiet(within_secs: float = 2.0) -> None:
    """Wait until processes neither come nor go for a moment."""
    until, seen, looks = time.monotonic() + within_secs, processes(), 0
    while looks < 4 and time.monotonic() < until:
        time.sleep(0.03)
        now = processes()
        looks = looks + 1 if now == seen else 0
        seen = now


def reap() -> None:
    """Bury orphans that this process, the first of its namespace, inherited."""
    for pid, ppid, state in _family():
        if ppid == os.getpid() and state == "Z":
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


def _family() -> Iterator[tuple[int, int, str]]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            yield int(pid), int(fields[1]), fields[0]


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            not in "ZX"
        )
    return False


def _survivors() -> int:
    found = 0
    for pid, _ in processes():
        with suppress(OSError):
            found += _SURVIVOR in Path(f"/proc/{pid}/cmdline").read_bytes()
    return found


def _standing(pid: int) -> str | None:
    """Return limits, niceness, processors, policy and priorities of a process."""
    try:
        return "\n".join(
            [
                *(
                    " ".join(line.split())
                    for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
                ),
                f"nice {os.getpriority(os.PRIO_PROCESS, pid)}",
                f"processors {sorted(os.sched_getaffinity(pid))}",
                f"policy {os.sched_getscheduler(pid)}",
                f"io {ctypes.CDLL(None).syscall(_IOPRIO_GET, _WHO_PROCESS, pid)}",
                f"oom {Path(f'/proc/{pid}/oom_score_adj').read_text().strip()}",
            ]
        )
    except OSError:
        return None


def _files(scene: Scene) -> dict[str, tuple[str, str]]:
    """Return content and metadata of the home, but for what the stores' writer changes."""
    found = {}
    changing = {*scene.hidden}
    # Below a home may stand the interpreter, mounted.
    device = os.stat(scene.home).st_dev
    for folder, folders, names in os.walk(scene.home):
        folders[:] = [
            name
            for name in folders
            if os.lstat(os.path.join(folder, name)).st_dev == device
        ]
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            with suppress(FileNotFoundError):
                facts = os.lstat(path)
                content, times = "folder", ""
                if stat.S_ISREG(facts.st_mode) and path not in changing:
                    content = hashlib.sha256(Path(path).read_bytes()).hexdigest()[:16]
                    times = str(facts.st_mtime_ns)
                attributes = os.listxattr(path, follow_symlinks=False)
                found[path] = (
                    content,
                    f"{facts.st_mode:o} {facts.st_uid}:{facts.st_gid} {times} {attributes}",
                )
    return found


def queue_exists() -> bool:
    """Whether the POSIX queue of program 83 is there."""
    librt = ctypes.CDLL("librt.so.1", use_errno=True)
    number = librt.mq_open(_QUEUE, os.O_RDONLY)
    if number >= 0:
        os.close(number)
    return number >= 0


class Sampler(threading.Thread):
    """Looks at processes, memory and inotify while a program runs; others make their things."""

    def __init__(self, scene: Scene) -> None:
        """Begin."""
        super().__init__(daemon=True)
        self._scene = scene
        self._over = threading.Event()
        self._first = (len(processes()), memory_mb())
        self.most_processes, self.most_memory_mb, self.no_inotify = 0, 0.0, 0
        self.start()

    def run(self) -> None:
        """Look until told to stop."""
        next_thing = time.monotonic()
        while not self._over.wait(_LOOK_SECS):
            self.most_processes = max(
                self.most_processes, len(processes()) - self._first[0]
            )
            self.most_memory_mb = max(self.most_memory_mb, memory_mb() - self._first[1])
            self.no_inotify += not inotify_works()
            if time.monotonic() >= next_thing:
                self._scene.make_things()
                next_thing = time.monotonic() + _THING_SECS

    def stop(self) -> None:
        """End."""
        self._over.set()
        self.join()


def inotify_works() -> bool:
    """Whether one more instance can be had."""
    number = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    if number >= 0:
        os.close(number)
    return number >= 0


def memory_mb() -> float:
    """Return the memory of the whole jail without caches: of its control group, or the machine."""
    for folder, names in _memory_files():
        with suppress(OSError):
            rows = dict(
                line.split()[:2]
                for line in (folder / "memory.stat").read_text().splitlines()
            )
            return sum(int(rows[name]) for name in names) / 2**20
    rows = dict(
        line.split(":") for line in Path("/proc/meminfo").read_text().splitlines()
    )
    return sum(int(rows[name].split()[0]) for name in ("AnonPages", "Shmem")) / 1024


def _memory_files() -> Iterator[tuple[Path, tuple[str, str]]]:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if path == "/":
            continue  # that would be the whole machine's
        if controllers == "memory":
            yield Path("/sys/fs/cgroup/memory" + path), ("total_rss", "total_shmem")
        elif not controllers:
            yield Path("/sys/fs/cgroup" + path), ("anon", "shmem")
