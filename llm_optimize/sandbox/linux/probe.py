"""Probe of this machine: each mechanism of the sandbox is tried by a tiny attempt, none is guessed.

The attempts take rights away from the process that makes them, so each is made in a fork, and all
of them in a fresh interpreter, which has one thread.
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
from .bubblewrap import bubblewrap_command
from .cgroups import Cgroups
from .landlock import landlock_abi, restrict_self
from .libc import set_no_new_privileges
from .private_mounts import (
    AS_ROOT,
    IN_USER_NAMESPACE,
    SHARED_MEMORY,
    enter_private_mounts,
    enter_user_namespace,
    find_namespace_method,
)
from .process_tree import works_in_fork
from .seccomp import LOCAL, FilterPolicy, install_filter
from .visible_paths import VisiblePaths, visible_paths_for

_NOTHING = VisiblePaths((), (), (), ())
_NEWER_KERNEL = (
    "take a newer kernel: Linux 5.13 for files, 6.7 for TCP, 6.12 for signals; "
    "with lsm=landlock where it is off"
)
_ALLOW_NAMESPACES = (
    "allow user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "elsewhere: sysctl user.max_user_namespaces=10000; in a container: allow unshare and mount "
    "in its seccomp profile), on Linux 5.14 or later"
)
_DELEGATE_GROUPS = (
    "run it where groups can be made: as root, or in a session to which systemd delegates the "
    "controller (systemd-run --user --scope -p Delegate=yes)"
)


def main() -> None:
    """Try all mechanisms, and write the results as JSON."""
    tried = [
        *_try_landlock(),
        *_try_private_mounts(),
        _try_seccomp(),
        _try_bubblewrap(),
        *_try_cgroups(),
    ]
    rows = [asdict(mechanism) for mechanism in tried]
    sys.stdout.write(json.dumps(rows))


def expect_refusal(deed: Callable[[], object]) -> None:
    """Do what a mechanism is to refuse. Raises OSError when it was not refused."""
    try:
        deed()
    except OSError:
        return
    raise OSError("it was not refused")


def _try_landlock() -> list[Mechanism]:
    abi = landlock_abi()
    found = f"ABI {abi}" if abi else "not in this kernel"

    def files() -> None:
        restrict_self(_NOTHING, [], network=True)
        expect_refusal(lambda: os.listdir("/"))

    def connections() -> None:
        restrict_self(_NOTHING, [], network=False)
        with socket.socket() as any_socket:
            expect_refusal(lambda: any_socket.bind(("127.0.0.1", 0)))

    def signals() -> None:
        restrict_self(_NOTHING, [], network=True)
        expect_refusal(lambda: os.kill(os.getppid(), signal.SIGCONT))

    rows = (
        ("Landlock: files", files, "reading and writing outside of what is named"),
        ("Landlock: TCP", connections, "TCP connections with network=False"),
        ("Landlock: signals", signals, "signals to other processes"),
    )
    mechanisms = []
    for name, attempt, holds in rows:
        mechanism = Mechanism(
            name,
            works=works_in_fork(attempt),
            found=found,
            holds=holds,
            repair=_NEWER_KERNEL,
        )
        mechanisms.append(mechanism)
    return mechanisms


def _try_private_mounts() -> list[Mechanism]:
    method = find_namespace_method()
    descriptions = {IN_USER_NAMESPACE: "in a user namespace", AS_ROOT: "as root"}
    found = descriptions.get(method, "")

    def enter() -> None:
        if method == IN_USER_NAMESPACE:
            enter_user_namespace()
        enter_private_mounts(_NOTHING, tempfile.gettempdir(), [os.devnull], 1)

    def mounts() -> None:
        enter()
        expect_refusal(lambda: os.utime("/"))
        expect_refusal(lambda: os.open(os.devnull, os.O_RDONLY))

    def memory() -> None:
        outer_device = os.stat(SHARED_MEMORY).st_dev
        outer_ipc = os.readlink("/proc/self/ns/ipc")
        enter()
        same_device = os.stat(SHARED_MEMORY).st_dev == outer_device
        same_ipc = os.readlink("/proc/self/ns/ipc") == outer_ipc
        if same_device or same_ipc:
            raise OSError("they are those of the machine")

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
    mechanisms = [
        Mechanism(
            "user namespaces",
            works=works_in_fork(enter_user_namespace),
            found="",
            holds="a candidate's own namespaces, the taking of all inotify instances",
            repair=_ALLOW_NAMESPACES,
        )
    ]
    for name, attempt, holds in rows:
        mechanism = Mechanism(
            name,
            works=bool(method) and works_in_fork(attempt),
            found=found,
            holds=holds,
            repair=_ALLOW_NAMESPACES,
        )
        mechanisms.append(mechanism)
    return mechanisms


def _try_seccomp() -> Mechanism:
    def calls() -> None:
        set_no_new_privileges()
        install_filter(FilterPolicy(LOCAL))
        parent = os.getppid()
        expect_refusal(lambda: resource.prlimit(parent, resource.RLIMIT_CORE))
        expect_refusal(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    return Mechanism(
        "seccomp filter",
        works=works_in_fork(calls),
        found=os.uname().machine,
        holds="limits and priorities of other processes, keyrings, io_uring; "
        "UDP and the like with network=False",
        repair="take a kernel with CONFIG_SECCOMP_FILTER on x86-64 or aarch64",
    )


def _try_bubblewrap() -> Mechanism:
    problem = ""
    with suppress(OSError):
        os.chdir("/")
    try:
        bubblewrap_command(visible_paths_for(Limits(), ()), Limits(), ())
    except SandboxUnavailable as error:
        problem = str(error)
    return Mechanism(
        "bubblewrap",
        works=not problem,
        found="",
        holds="network, other processes, homes: the level 'namespace' as a whole",
        repair=problem,
    )


def _try_cgroups() -> list[Mechanism]:
    groups = Cgroups(Limits())
    made = groups.new()
    controllers = groups.controllers if made is not None else ()
    groups.close()
    rows = (
        ("memory", "more memory than memory_mb by several processes together"),
        ("pids", "more processes than its limit, also as root"),
    )
    mechanisms = []
    for name, holds in rows:
        mechanism = Mechanism(
            f"cgroup {name}",
            works=name in controllers,
            found="",
            holds=holds,
            repair=_DELEGATE_GROUPS,
        )
        mechanisms.append(mechanism)
    return mechanisms
