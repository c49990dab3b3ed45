"""A keeper (Linux): a process that runs no foreign code, watches over one child at a time, and leaves none of its kin.

It is a subreaper: what the child leaves behind, however it hid, becomes the keeper's own child and is swept.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Literal

from ..wire import receive_frame, send_frame
from .accounting import Account, Breach

_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_SWEEP_SECS = 2.0  # then whoever is above takes over
_ROUNDS = (
    10  # of killing before the last blow; what is left goes to the subreaper above
)
_TRACEBACK_FRAMES = -6
CRASH_EXIT_CODE = (
    70  # exit code of a process of ours that failed: EX_SOFTWARE of sysexits.h
)
_SECOND_LINE_SECS = 2.0  # after the deadline, when the optimizer did not say "kill"


def become_subreaper() -> None:
    """Make orphans among this process's descendants its own children."""
    if (
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        != 0
    ):
        raise OSError(
            ctypes.get_errno(),
            "this kernel does not let us adopt orphans (PR_SET_CHILD_SUBREAPER)",
        )


def fork(
    body: Callable[[], None], complain: Callable[[str], None] | None = None
) -> int:
    """Fork a child that runs `body` and never returns; return its process id.

    A body ends by itself; one that does not is a crash, with exit code CRASH. What it raised is said to `complain` in
    the child, by default on standard error.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
    except BaseException:  # nobody above would see it: this process ends here
        with suppress(OSError):
            (complain or report_on_stderr)(
                traceback.format_exc(limit=_TRACEBACK_FRAMES).strip()
            )
    finally:
        os._exit(CRASH_EXIT_CODE)


def report_on_stderr(trouble: str) -> None:
    """Write on standard error that a process of ours failed, and how."""
    os.write(2, f"a process of the sandbox failed: {trouble}\n".encode())


def watch(
    child: int,
    link: socket.socket,
    timeout_secs: float,
    account: Account,
    near: socket.socket,
) -> None:
    """Wait until the child ends, breaks a limit or is to be ended; kill all its kin; report; then take the word.

    `near` leads to the child as long as it has no work: there it says what went wrong before.

    The word is one byte, sent exactly once for each child, so that none is left in the link for the next.

    Raises EOFError, after the killing, when the other end is gone.
    """
    ended = _wait(child, link, timeout_secs + _SECOND_LINE_SECS, account)
    told = ended == "link"
    gone = told and not _word(link)
    facts = _bury(child)
    facts["left"] = sweep()
    facts["trouble"] = _last_words(near) if facts["exit"] == CRASH_EXIT_CODE else ""
    facts["breach"] = asdict(ended) if isinstance(ended, Breach) else None
    if gone:
        raise EOFError("the optimizer is gone")
    send_frame(link, json.dumps(facts).encode())
    if not told and not _word(link):
        raise EOFError("the optimizer is gone")


def _wait(
    child: int, link: socket.socket, timeout_secs: float, account: Account
) -> Breach | Literal["link", "child", "time"]:
    """Return what happened first: a word on the link, the end of the child, the breach of a limit, or nothing."""
    deadline = time.monotonic() + timeout_secs
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(link, select.POLLIN)
        while (left_secs := deadline - time.monotonic()) > 0:
            ready = {
                fd for fd, _ in poll.poll(1000 * min(left_secs, account.next_look_secs))
            }
            if ready:
                return "link" if link.fileno() in ready else "child"
            breach = account.breach(descendants(os.getpid()))
            if breach is not None:
                return breach
        return "time"
    finally:
        os.close(pidfd)


def _last_words(near: socket.socket) -> str:
    near.setblocking(False)
    with suppress(OSError, EOFError):
        return receive_frame(near)[0].decode("utf-8", "replace")
    return ""


def _word(link: socket.socket) -> bool:
    """Wait for the word; return whether it came, and not the end of the other side."""
    try:
        return link.recv(1) != b""
    except OSError:
        return False


def _bury(child: int) -> dict[str, Any]:
    """Kill a child with its process group, reap it, and return how it ended and what it used."""
    for target in (-child, child):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(target, signal.SIGKILL)
    deadline = time.monotonic() + _SWEEP_SECS
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid or time.monotonic() > deadline:
            break
        time.sleep(0.0005)
    return {
        "exit": os.waitstatus_to_exitcode(status) if pid else None,
        "cpu_secs": used.ru_utime + used.ru_stime,
        "peak_memory_mb": used.ru_maxrss / 1024,  # ru_maxrss is in KiB on Linux
    }


def sweep() -> int:
    """Kill all descendants of this process again and again until there is none; return how many resist."""
    deadline = time.monotonic() + _SWEEP_SECS
    while True:
        reap()
        found = descendants(os.getpid())
        if not found or time.monotonic() > deadline:
            return len(found)
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.0005)


def reap() -> list[int]:
    """Reap the children of this process that have ended; return their ids."""
    ended: list[int] = []
    with suppress(ChildProcessError):
        while (pid := os.waitpid(-1, os.WNOHANG)[0]) != 0:
            ended.append(pid)
    return ended


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`, parents first."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def children(pid: int) -> list[int]:
    """Return the ids of the children of a process, of all its threads; none when it is gone."""
    found: list[int] = []
    with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with (
                suppress(FileNotFoundError, ProcessLookupError),
                open(f"/proc/{pid}/task/{task}/children") as file,
            ):
                found += map(int, file.read().split())
    return found


def kill_tree(pid: int) -> None:
    """Kill a process that does not answer any more, and all below it first: as long as it lives, they can be found."""
    for _ in range(_ROUNDS):
        for found in descendants(pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(found, signal.SIGKILL)
        time.sleep(0.0005)
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
