"""What of the sandbox works on this machine (Linux), each mechanism found out by a tiny attempt and none by a guess.

The attempts take rights away from the process that makes them, so each is made in a fork, and all of them in a fresh
interpreter, which has one thread.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict

from ...errors import SandboxUnavailable
from ...records import Limits
from ..machine import Mechanism
from .bubblewrap import command
from .cgroups import Cgroups
from .landlock import landlock_abi, restrict_self, set_no_new_privileges
from .private_mounts import (
    AS_ROOT,
    IN_USER_NAMESPACE,
    enter_private_mounts,
    enter_user_namespace,
    find_namespace_method,
    works,
)
from .seccomp import LOCAL, FilterPolicy, install_filter
from .visible_paths import VisiblePaths, visible_paths_for

_NOTHING = VisiblePaths((), (), (), ())
_KERNEL = "take a newer kernel: Linux 5.13 for files, 6.7 for TCP, 6.12 for signals; with lsm=landlock where it is off"
_NAMESPACES = (
    "allow user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; elsewhere: sysctl "
    "user.max_user_namespaces=10000; in a container: allow unshare and mount in its seccomp profile), "
    "on Linux 5.14 or later"
)
_GROUPS = (
    "run it where groups can be made: as root, or in a session to which systemd hands the controller down "
    "(systemd-run --user --scope -p Delegate=yes)"
)


def main() -> None:
    """Try all, and write what came of it as JSON."""
    tried = [*_landlock(), *_private(), _filter(), _bubblewrap(), *_groups()]
    sys.stdout.write(json.dumps([asdict(one) for one in tried]))


def refused(deed: Callable[[], object]) -> None:
    """Do what a wall is to refuse. Raises OSError when it was not refused."""
    try:
        deed()
    except OSError:
        return
    raise OSError("it was not refused")


def _landlock() -> list[Mechanism]:
    abi = landlock_abi()
    found = f"ABI {abi}" if abi else "not in this kernel"

    def files() -> None:
        restrict_self(_NOTHING, [], network=True)
        refused(lambda: os.listdir("/"))

    def connections() -> None:
        restrict_self(_NOTHING, [], network=False)
        with socket.socket() as any_socket:
            refused(lambda: any_socket.bind(("127.0.0.1", 0)))

    def signals() -> None:
        restrict_self(_NOTHING, [], network=True)
        refused(lambda: os.kill(os.getppid(), signal.SIGCONT))

    rows = (
        ("Landlock: files", files, "reading and writing outside of what is named"),
        ("Landlock: TCP", connections, "TCP connections with network=False"),
        ("Landlock: signals", signals, "signals to other processes"),
    )
    return [
        Mechanism(name, works(attempt), found, holds, _KERNEL)
        for name, attempt, holds in rows
    ]


def _private() -> list[Mechanism]:
    way = find_namespace_method()
    found = {IN_USER_NAMESPACE: "in a user namespace", AS_ROOT: "as root"}.get(way, "")
    user = works(enter_user_namespace)

    def enter() -> None:
        if way == IN_USER_NAMESPACE:
            enter_user_namespace()
        enter_private_mounts(_NOTHING, tempfile.gettempdir(), [os.devnull], 1)

    def mounts() -> None:
        enter()
        refused(lambda: os.utime("/"))
        refused(lambda: os.open(os.devnull, os.O_RDONLY))

    def memory() -> None:
        outer = [os.stat("/dev/shm").st_dev, os.readlink("/proc/self/ns/ipc")]
        enter()
        inner = [os.stat("/dev/shm").st_dev, os.readlink("/proc/self/ns/ipc")]
        if any(one == other for one, other in zip(outer, inner, strict=True)):
            raise OSError("they are those of the machine")

    holds = "a candidate's own namespaces, the taking of all inotify instances"
    rows = (
        (
            "read-only mounts",
            mounts,
            "chmod, chown, touch and setxattr outside; opening the runs' database and keys",
        ),
        (
            "private /dev/shm and IPC",
            memory,
            "shared memory, semaphores and queues of other programs, and leftovers",
        ),
    )
    return [
        Mechanism("user namespaces", user, "", holds, _NAMESPACES),
        *(
            Mechanism(name, bool(way) and works(deed), found, holds, _NAMESPACES)
            for name, deed, holds in rows
        ),
    ]


def _filter() -> Mechanism:
    def calls() -> None:
        set_no_new_privileges()
        install_filter(FilterPolicy(LOCAL))
        refused(lambda: resource.prlimit(os.getppid(), resource.RLIMIT_CORE))
        refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    holds = "limits and priorities of other processes, keyrings, io_uring; UDP and the like with network=False"
    repair = "take a kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64"
    return Mechanism("seccomp filter", works(calls), os.uname().machine, holds, repair)


def _bubblewrap() -> Mechanism:
    holds, said = (
        "network, other processes, homes: the level 'namespace' as a whole",
        "",
    )
    with suppress(OSError):
        os.chdir("/")
    try:
        command(visible_paths_for(Limits(), ()), Limits(), ())
    except SandboxUnavailable as error:
        said = str(error)
    return Mechanism("bubblewrap", not said, "", holds, said)


def _groups() -> list[Mechanism]:
    groups = Cgroups(Limits())
    made = groups.new()
    controllers = groups.controllers if made is not None else ()
    groups.close()
    rows = (
        ("memory", "more memory than memory_mb by several processes together"),
        ("pids", "more processes than its limit, also as root"),
    )
    return [
        Mechanism(f"cgroup {name}", name in controllers, "", holds, _GROUPS)
        for name, holds in rows
    ]
