"""The outer walls of the level `namespace`: a world that bubblewrap builds, in which the warm process is the first.

What bubblewrap does not do by itself, each with a test: it is started with a clean environment (`--clearenv` leaves the
old one in /proc/1/environ), its writable file systems get a size, nothing in it is writable but those, and it is ended
by a pipe and not by `--die-with-parent`, which kills when the thread that started it ends.
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

_TRIAL_SECS = 20.0
_HOW_TO_GET = "install it (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)"
_HOW_TO_ALLOW = (
    "user namespaces seem to be forbidden here (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; "
    "in a container: allow unshare and mount in its seccomp profile)"
)


def command(view: VisiblePaths, limits: Limits, hidden: Sequence[str]) -> list[str]:
    """Return the command that other commands are appended to; it was tried.

    Raises SandboxUnavailable, with what is missing and how to get it.
    """
    program = shutil.which("bwrap")
    if program is None:
        raise SandboxUnavailable(
            f"sandbox='namespace' needs the program bubblewrap: {_HOW_TO_GET}"
        )
    made = [program, *_namespaces(limits), *_files(view, limits, hidden)]
    try:
        tried = subprocess.run(
            [*made, "true"],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=_TRIAL_SECS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"bubblewrap does not start: {error}") from error
    if tried.returncode != 0:
        raise SandboxUnavailable(
            f"bubblewrap cannot build a sandbox: {tried.stderr.strip()[-500:]}; {_HOW_TO_ALLOW}"
        )
    return made


def _namespaces(limits: Limits) -> list[str]:
    kinds = [
        "user",
        "pid",
        "ipc",
        "uts",
        "cgroup-try",
        *([] if limits.network else ["net"]),
    ]
    return [
        *(f"--unshare-{kind}" for kind in kinds),
        "--as-pid-1",
        "--new-session",
        "--hostname",
        "sandbox",
    ]


def _files(view: VisiblePaths, limits: Limits, hidden: Sequence[str]) -> list[str]:
    size = str(limits.scratch_mb * 2**20)
    made = ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp"):
        made += ["--size", size, "--tmpfs", folder]
    for path in view.readable:
        if (
            os.path.islink(path) and os.path.dirname(path) == "/"
        ):  # /bin, /lib and so on
            made += ["--symlink", os.readlink(path), path]
        else:
            made += ["--ro-bind", path, path]
    for path in view.writable:
        made += ["--bind", path, path]
    for path in view.accelerators:
        made += ["--dev-bind", path, path]
    for path in view.without(hidden):
        made += ["--ro-bind", os.devnull, path]
    here = os.getcwd()
    visible = any(_overlap(here, top) for top in (*view.readable, *view.writable))
    return [
        *made,
        "--remount-ro",
        "/dev",
        "--remount-ro",
        "/",
        "--chdir",
        here if visible else "/tmp",
    ]


def _overlap(one: str, other: str) -> bool:
    """Whether one path is the other, or below it."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
