"""The outer jail: own processes, IPC and network, sized /tmp and /dev/shm, bounded memory.

What fails in it fails there. Bubblewrap builds it; the first process in it is `hostile.inside`,
which no signal from inside reaches, and which ends when the pipe to this side does.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from llm_optimize.records import Limits
from llm_optimize.sandbox.linux.cgroups import Cgroups
from llm_optimize.sandbox.linux.process_tree import descendants

ROOT = Path(__file__).parents[2]
USER_HOME = "/hostile"
USER_ID = 12345  # of the ordinary user that root makes
JAIL_MB = 8192
JAIL_PROCESSES = 2000
TMPFS_MB = 1024
SILENT_SECS = 120.0  # more than any program may take
KEPT_OUT = {
    "proc",
    "dev",
    "tmp",
    "sys",
    "home",
    "root",
    "run",
    "mnt",
    "media",
    "lost+found",
}


class JailEnded(Exception):
    """Nothing more comes out of the jail: it died, or hangs."""


def users() -> tuple[str, ...]:
    """Return who can be played here: root can be anybody."""
    return ("user", "root") if os.geteuid() == 0 else ("user",)


def identity(who: str) -> tuple[int, str]:
    """Return the user id and the home that somebody has in the jail."""
    if who == "root":
        return 0, "/root"
    return (USER_ID if os.geteuid() == 0 else os.geteuid()), USER_HOME


def command(who: str, passwd: str) -> list[str]:
    """Return the command that starts the jail, with this file as /etc/passwd."""
    made = [
        "bwrap",
        "--unshare-pid",
        "--unshare-ipc",
        "--unshare-net",
        "--unshare-uts",
        "--as-pid-1",
        "--new-session",
    ]
    for entry in sorted(os.listdir("/")):
        path = f"/{entry}"
        if os.path.islink(path):
            made += ["--symlink", os.readlink(path), path]
        elif entry not in KEPT_OUT and os.path.isdir(path):
            made += ["--ro-bind", path, path]
    made += ["--bind", "/sys", "/sys", "--dev", "/dev", "--proc", "/proc"]
    for path in ("/tmp", "/dev/shm"):
        made += ["--perms", "1777", "--size", str(TMPFS_MB << 20), "--tmpfs", path]
    for path in ("/root", USER_HOME):
        made += ["--perms", "755", "--size", str(TMPFS_MB << 20), "--tmpfs", path]
    for path in _needed():
        for parent in reversed(
            Path(path).parents
        ):  # bubblewrap would make them for root alone
            made += (
                ["--perms", "755", "--dir", str(parent)] if str(parent) != "/" else []
            )
        made += ["--ro-bind", path, path]
    made += ["--ro-bind", passwd, "/etc/passwd", "--chdir", "/"]
    return [*made, sys.executable, "-P", "-m", "hostile.inside"]


def _needed() -> list[str]:
    """Return the project and the interpreter, wherever they are."""
    interpreter = os.path.dirname(os.path.realpath(sys.executable))
    found = [ROOT, sys.prefix, sys.base_prefix, interpreter]
    return sorted({str(path) for path in found})


def _users(who: str) -> str:
    """Return an /etc/passwd in which the user has this home."""
    uid, home = identity(who)
    lines = Path("/etc/passwd").read_text(encoding="utf-8").splitlines()
    others = [line for line in lines if line.split(":")[2:3] != [str(uid)]]
    return (
        "\n".join(
            [
                f"{'root' if uid == 0 else 'hostile'}:x:{uid}:{uid}::{home}:/bin/sh",
                *others,
            ]
        )
        + "\n"
    )


def run_jail(who: str, order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Start a jail, give it an order, and yield what it says, line by line. Raises JailEnded."""
    groups = Cgroups(Limits(memory_mb=JAIL_MB, processes=JAIL_PROCESSES))
    group = groups.new()
    with (
        tempfile.NamedTemporaryFile("w") as passwd,
        tempfile.TemporaryFile("w+") as errors,
    ):
        passwd.write(_users(who))
        passwd.flush()
        os.chmod(passwd.name, 0o644)
        jail = _start(command(who, passwd.name), _environment(who), errors)
        try:
            if group is not None:
                group.add(jail.pid)
            jail.stdin.write(
                "go\n" + json.dumps({**order, "uid": identity(who)[0]}) + "\n"
            )
            yield from _lines(jail)
        except (BrokenPipeError, JailEnded) as error:
            errors.seek(0)
            raise JailEnded(
                f"{error}, exit code {jail.poll()}: {errors.read()[-1500:]}"
            ) from None
        finally:
            _end(jail)
            groups.close()


def _start(
    made: list[str], environment: dict[str, str], errors: IO[str]
) -> subprocess.Popen[str]:
    """Start a process that becomes the jail when it reads a line, in its control group by then."""
    return subprocess.Popen(
        ["sh", "-c", 'read go && exec "$@"', "sh", *made],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        bufsize=1,
        env=environment,
        start_new_session=True,
    )


def _end(jail: subprocess.Popen[str]) -> None:
    """Let go of the lifeline, and see to it that all in the jail is dead."""
    with suppress(BrokenPipeError):
        jail.stdin.close()
    try:
        jail.wait(5)
    except subprocess.TimeoutExpired:
        for pid in descendants(
            jail.pid
        ):  # the first of its namespace takes all others with it
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        jail.kill()
        jail.wait()
    jail.stdout.close()


def _environment(who: str) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "PYTHONPATH": str(ROOT / "tests"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": identity(who)[1],
        "LANG": "C.UTF-8",
    }


def _lines(jail: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    """Yield what the jail says until it says that it is done."""
    said: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in jail.stdout:
            said.put(line)
        said.put("")

    threading.Thread(target=listen, daemon=True).start()
    while True:
        try:
            line = said.get(timeout=SILENT_SECS)
        except queue.Empty:
            raise JailEnded("it hangs") from None
        if not line:
            raise JailEnded("it ended")
        message = json.loads(line)
        if "done" in message:
            return
        yield message
