"""Bubblewrap: the program that builds the world of the level `namespace` around the fork server.

What it does not do by itself, each with a test: it is started with a clean environment
(`--clearenv` leaves the old one in /proc/1/environ), its writable file systems get a size, nothing
in it is writable but those, and it is ended by a pipe and not by `--die-with-parent`, which kills
when the *thread* that started it ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from ...errors import SandboxUnavailable
from ...records import Limits
from ..environment import clean_environment
from .visible_paths import VisiblePaths

_TIMEOUT_SECS = 20.0
_HOW_TO_INSTALL = (
    "install it (Debian, Ubuntu: apt install bubblewrap; "
    "Fedora: dnf install bubblewrap)"
)
_HOW_TO_ALLOW = (
    "user namespaces seem to be forbidden here "
    "(Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "in a container: allow unshare and mount in its seccomp profile)"
)


def bubblewrap_command(
    paths: VisiblePaths, limits: Limits, hidden: Sequence[str]
) -> list[str]:
    """Return the command that other commands are appended to, after trying it.

    Raises SandboxUnavailable, with what is missing and how to get it.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(
            f"sandbox='namespace' needs the program bubblewrap: {_HOW_TO_INSTALL}"
        )
    command = [program, *_namespaces(limits), *_files(paths, limits, hidden)]
    try:
        tried = subprocess.run(
            [*command, "true"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"bubblewrap does not start: {error}") from error
    if tried.returncode != 0:
        reason = tried.stderr.strip()[-500:]
        raise SandboxUnavailable(
            f"bubblewrap cannot build a sandbox: {reason}; {_HOW_TO_ALLOW}"
        )
    return command


def _namespaces(limits: Limits) -> list[str]:
    kinds = ["user", "pid", "ipc", "uts", "cgroup-try"]
    if not limits.network:
        kinds.append("net")  # wall: the network namespace
    options = [f"--unshare-{kind}" for kind in kinds]
    return [*options, "--as-pid-1", "--new-session", "--hostname", "sandbox"]


def _files(paths: VisiblePaths, limits: Limits, hidden: Sequence[str]) -> list[str]:
    size = str(limits.scratch_mb * 2**20)
    options = ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp"):
        options += ["--size", size, "--tmpfs", folder]
    for path in paths.readable:
        is_system_link = os.path.islink(path) and os.path.dirname(path) == "/"
        if is_system_link:  # /bin, /lib and so on
            options += ["--symlink", os.readlink(path), path]
        else:
            options += ["--ro-bind", path, path]
    for path in paths.writable:
        options += ["--bind", path, path]
    for path in paths.accelerators:
        options += ["--dev-bind", path, path]
    for path in paths.visible_among(hidden):
        options += ["--ro-bind", os.devnull, path]
    options += ["--remount-ro", "/dev", "--remount-ro", "/"]
    here = os.getcwd()
    folder = "/tmp"
    for top in (*paths.readable, *paths.writable):
        is_inside = here == top or here.startswith(top + "/")
        if is_inside or top.startswith(here + "/"):
            folder = here
    return [*options, "--chdir", folder]
