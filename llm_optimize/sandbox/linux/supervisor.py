"""Supervisor: runs no foreign code, watches over one child at a time, leaves no process of it.

Words on the link to the optimizer, each a frame unless it is a single byte:

    once:              supervisor: "supervisor"    optimizer: G
    for each scoring:  supervisor: "ready"         optimizer: request    optimizer: K
                       supervisor: facts as JSON

A supervisor that cannot work sends "no: " and the reason instead, and ends. The page in this
folder's `__init__.py` shows where it stands among the other processes.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Literal, NoReturn

from ..scratch import Scratch, remove_scratch
from ..wire import receive_frame, send_frame
from .accounting import Account, Breach
from .child_setup import IGNORED_SIGNALS, ChildSettings, fork_child
from .namespaces import enter_scoring_namespaces, run_init, run_namespace_supervisor
from .private_mounts import IN_USER_NAMESPACE, enter_user_namespace
from .process_tree import (
    CRASH_EXIT_CODE,
    SWEEP_SECS,
    become_subreaper,
    descendants,
    kill,
    sweep,
)

_LINK_GONE = 3  # exit code of a process that can score no more
# After the deadline, for the optimizer's K; then the child is killed in any case.
_GRACE_SECS = 2.0
_REAP_PAUSE_SECS = 0.0005
_TRACEBACK_FRAMES = -5  # negative: the last ones


def supervise(
    link: socket.socket, settings: ChildSettings, scorings: int | None = None
) -> NoReturn:
    """Serve one scoring after the other, until the other end is gone, or so many."""
    os.setsid()
    for number in IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError), _reporting_trouble(link):
        send_frame(link, b"supervisor")
        # After this byte, all that is started here is in the right control group.
        if not link.recv(1):
            raise EOFError("the optimizer is gone")
        if settings.namespaced:
            _serve_in_namespaces(link, settings)
        become_subreaper()  # wall: adopting orphans
        if settings.isolation.namespaces == IN_USER_NAMESPACE:
            enter_user_namespace()
        while scorings is None or scorings > 0:
            _serve_with_scratch(link, settings)
            if scorings is not None:
                scorings -= 1
    os._exit(0)


def _serve_in_namespaces(link: socket.socket, settings: ChildSettings) -> NoReturn:
    """Score in fresh namespaces each time; with their init everything in them ends."""

    def be_namespace_supervisor() -> None:
        with _reporting_trouble(link):
            exit_code = 0
            while exit_code == 0:
                exit_code = run_init(lambda: _serve_as_init(link, settings))
        os._exit(0)

    network = bool(settings.limits.network)
    run_namespace_supervisor(be_namespace_supervisor, network=network)


def _serve_as_init(link: socket.socket, settings: ChildSettings) -> NoReturn:
    """Be the init of one scoring's namespaces; nothing needs sweeping, the kernel does it."""
    with suppress(EOFError), _reporting_trouble(link):
        seen: tuple[str, ...] = ()
        if settings.paths is not None:
            seen = (*settings.paths.readable, *settings.paths.writable)
        enter_scoring_namespaces(seen, settings.hidden, settings.limits.scratch_mb)
        scratch = tempfile.mkdtemp(prefix="llm_optimize-", dir="/tmp")
        _serve_one(link, settings, scratch)
        os._exit(0)
    os._exit(_LINK_GONE)


@contextmanager
def _reporting_trouble(link: socket.socket) -> Iterator[None]:
    """Tell the other end, if it is there, what failed; then this process ends."""
    try:
        yield
    except EOFError:
        raise
    except Exception as error:
        if isinstance(error, OSError):
            trouble = str(error)  # what the system refuses
        else:
            trouble = traceback.format_exc(limit=_TRACEBACK_FRAMES)
        with suppress(OSError):
            send_frame(link, f"no: {trouble.strip()}".encode())
        os._exit(_LINK_GONE)


def _serve_with_scratch(link: socket.socket, settings: ChildSettings) -> None:
    """Serve one scoring, and remove whatever it leaves."""
    scratch = tempfile.mkdtemp(prefix="llm_optimize-")
    try:
        _serve_one(link, settings, scratch)
    finally:
        sweep()
        remove_scratch(scratch)


def _serve_one(link: socket.socket, settings: ChildSettings, scratch: str) -> None:
    """Fork a child, say that it is ready, hand the next request to it, and watch over it."""
    near, far = socket.socketpair()
    with near:
        child = fork_child(near, far, link, settings, scratch)
        send_frame(link, b"ready")
        request, fds = receive_frame(link, max_fds=2)
        try:
            # A child that has failed is gone: what it sent before is reported by `_watch`.
            with suppress(BrokenPipeError, ConnectionResetError):
                send_frame(near, request, tuple(fds))
        finally:
            for fd in fds:
                os.close(fd)
        head = request[: request.index(b"\n")]
        timeout_secs = json.loads(head)["timeout_secs"]
        limits = settings.limits
        used = Scratch(scratch, limits.scratch_mb).used_bytes
        _watch(child, link, timeout_secs, Account(limits, used), near)


def _watch(
    child: int,
    link: socket.socket,
    timeout_secs: float,
    account: Account,
    near: socket.socket,
) -> None:
    """Wait until the child ends, breaks a limit or is to be ended; kill all of it; report.

    The optimizer sends one K for each child, before the report or after it. It is always read here,
    so that none is left in the link for the next child.

    Args:
        child: process id.
        link: to the optimizer.
        timeout_secs: of the call. The optimizer keeps the deadline; if it does not, this process
            does so two seconds later.
        account: counts what the processes use together.
        near: leads to the child as long as it has no work; there it tells what failed before.

    Raises EOFError, after the killing, when the other end is gone.
    """
    end = _wait(child, link, timeout_secs + _GRACE_SECS, account)
    k_was_sent = end == "link"
    is_gone = k_was_sent and not _receive_k(link)
    facts = _kill_and_reap(child)
    facts["left"] = sweep()
    facts["trouble"] = ""
    if facts["exit"] == CRASH_EXIT_CODE:
        facts["trouble"] = _last_message(near)
    facts["breach"] = asdict(end) if isinstance(end, Breach) else None
    if is_gone:
        raise EOFError("the optimizer is gone")
    send_frame(link, json.dumps(facts).encode())
    if not k_was_sent and not _receive_k(link):
        raise EOFError("the optimizer is gone")


def _wait(
    child: int, link: socket.socket, timeout_secs: float, account: Account
) -> Breach | Literal["link", "child", "time"]:
    """Return what happened first: a K or the end of the link, the end of the child, a breach."""
    deadline = time.monotonic() + timeout_secs
    pidfd = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        poll.register(link, select.POLLIN)
        while (left_secs := deadline - time.monotonic()) > 0:
            wait_secs = min(left_secs, account.next_check_secs)
            ready = {fd for fd, _ in poll.poll(1000 * wait_secs)}
            if link.fileno() in ready:
                return "link"
            if ready:
                return "child"
            found = descendants(os.getpid())
            breach = account.breach(found)  # wall: the limit of the scratch directory
            if breach is not None:
                return breach
        return "time"
    finally:
        os.close(pidfd)


def _last_message(near: socket.socket) -> str:
    near.setblocking(False)
    with suppress(OSError, EOFError):
        return receive_frame(near)[0].decode("utf-8", "replace")
    return ""


def _receive_k(link: socket.socket) -> bool:
    """Wait for the K; return whether it came, and not the end of the other side."""
    try:
        return link.recv(1) != b""
    except OSError:
        return False


def _kill_and_reap(child: int) -> dict[str, Any]:
    """Kill a child with its process group, reap it, and return how it ended and what it used."""
    kill(-child)
    kill(child)
    deadline = time.monotonic() + SWEEP_SECS
    while True:
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid or time.monotonic() > deadline:
            break
        time.sleep(_REAP_PAUSE_SECS)
    return {
        "exit": os.waitstatus_to_exitcode(status) if pid else None,
        "cpu_secs": used.ru_utime + used.ru_stime,
        "peak_memory_mb": used.ru_maxrss / 1024,  # ru_maxrss is in KiB on Linux
    }
