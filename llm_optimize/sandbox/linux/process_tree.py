"""Process tree: forking, adopting and killing all that a candidate starts.

A process that hides from its parent by forking twice becomes an orphan, and the kernel gives
orphans to the nearest ancestor that is a subreaper. Each supervisor is one: so whatever a child
left behind, in whatever session, is found among the supervisor's own descendants and killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from .libc import PR_SET_CHILD_SUBREAPER, libc

CRASH_EXIT_CODE = 70  # of a process of ours that failed: EX_SOFTWARE of sysexits.h
SWEEP_SECS = 2.0  # for killing; what resists is left to the process above
_KILL_ROUNDS = 10  # of killing below a process before the process itself
_PAUSE_SECS = 0.0005  # between rounds
_TRACEBACK_FRAMES = -6  # negative: the last ones


def become_subreaper() -> None:
    """Make orphans among this process's descendants its own children."""
    if libc().prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        message = "this kernel does not let us adopt orphans (PR_SET_CHILD_SUBREAPER)"
        raise OSError(ctypes.get_errno(), message)


def fork(
    body: Callable[[], None], complain: Callable[[str], None] | None = None
) -> int:
    """Fork a child that runs `body` and never returns; return its process id.

    A body ends the process by itself. One that returns or raises is a crash, with exit code
    CRASH_EXIT_CODE; its traceback is given to `complain` in the child, by default to standard
    error.
    """
    pid = os.fork()
    if pid:
        return pid
    try:
        body()
    except BaseException:  # nobody above would see it: this process ends here
        trouble = traceback.format_exc(limit=_TRACEBACK_FRAMES).strip()
        with suppress(OSError):
            (complain or report_on_stderr)(trouble)
    finally:
        os._exit(CRASH_EXIT_CODE)


def report_on_stderr(trouble: str) -> None:
    """Write on standard error that a process of ours failed, and how."""
    os.write(2, f"a process of the sandbox failed: {trouble}\n".encode())


def works_in_fork(attempt: Callable[[], object]) -> bool:
    """Whether something can be done here, tried in a fork of this process that ends with it."""

    def try_it() -> None:
        with exit_with_errno():
            attempt()
        os._exit(0)

    _, status = os.waitpid(fork(try_it), 0)
    return status == 0


@contextmanager
def exit_with_errno() -> Iterator[None]:
    """End this process with the number of an OSError as its exit code, for the parent to read."""
    try:
        yield
    except OSError as error:
        os._exit(error.errno or 1)


def sweep() -> int:
    """Kill all descendants of this process until there is none; return how many resist.

    One round is not enough: a process may fork between the look and the kill, and what it forked
    becomes ours in the next round.
    """
    deadline = time.monotonic() + SWEEP_SECS
    while True:
        reap()
        found = descendants(os.getpid())  # wall: the sweep
        if not found or time.monotonic() > deadline:
            return len(found)
        for pid in found:
            kill(pid)
        time.sleep(_PAUSE_SECS)


def reap() -> list[int]:
    """Reap the children of this process that have ended; return their ids."""
    ended: list[int] = []
    with suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append(pid)
    return ended


def descendants(pid: int) -> list[int]:
    """Return the ids of all processes below `pid`, parents first."""
    found: list[int] = []
    for child in children(pid):
        found.append(child)
        found += descendants(child)
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


def kill(pid: int) -> None:
    """Kill a process, or a group by its negative id; one that is gone or another's is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """Kill a process of ours that does not answer, and all below it.

    What is below goes first: as long as its ancestor lives, it can be found.
    """
    for _ in range(_KILL_ROUNDS):
        for found in descendants(pid):
            kill(found)
        time.sleep(_PAUSE_SECS)
    kill(pid)
