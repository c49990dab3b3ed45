"""The warm process (Linux): it loads f once, and forks a keeper for each worker; a keeper forks a child per scoring.

optimizer --control--> zygote        one per sandbox; only imports, stays single-threaded
    |                     \\ fork
    +------link------> keeper        one per worker; one child at a time, ready before it is needed
                          \\ fork
                         child       calls f once
"""

from __future__ import annotations

import gc
import importlib
import itertools
import json
import os
import resource
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from ..records import Limits
from ._child import call, cpu_limit, settle
from ._keeper import become_subreaper, children, fork, reap, sweep, watch
from ._payload import unpack
from ._scratch import remove_scratch
from ._wire import receive_frame, send_frame

_GOODBYE_SECS = 1.0  # keepers clean up by themselves in a few milliseconds


def main() -> None:
    """Serve the control socket on descriptor 0 until the optimizer is gone."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    settings = json.loads(receive_frame(control)[0])
    func = _load(settings, receive_frame(control)[0], control)  # the payload is not kept: it may be large
    limits = Limits(**{**settings["limits"], "env": ()})
    become_subreaper()
    gc.collect()
    gc.freeze()  # children share these pages as long as nobody counts in them
    tempfile.tempdir = settings["scratch"]  # of all scorings; it goes when the optimizer is gone
    keepers = _serve(control, func, limits)
    _leave(keepers, settings["scratch"])


def _load(settings: dict[str, Any], payload: bytes, control: socket.socket) -> Callable[[Any], Any]:
    """Import what f needs, on one thread: children of a process with OpenMP or BLAS threads hang."""
    sys.path[:] = settings["sys_path"]
    try:
        func = unpack(payload)
    except BaseException as error:  # the import of the user's module may do anything
        said = "".join(traceback.format_exception(error, limit=-3))
        send_frame(control, json.dumps({"error": said}).encode())
        sys.exit(1)
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")  # each child sets its dice
    for name, value in settings["threads"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    send_frame(control, b"{}")
    return func


def _serve(control: socket.socket, func: Callable[[Any], Any], limits: Limits) -> set[int]:
    """Fork a keeper for each link that arrives, clean up behind those that died; return the rest when all is over."""
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    keepers: set[int] = set()
    try:
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake.fileno() in ready:
                wake.recv(4096)
                _tidy(keepers)
            if control.fileno() in ready:
                _, (link,) = receive_frame(control, max_fds=1)
                keepers.add(_fork_keeper(socket.socket(fileno=link), [control, wake, woken], func, limits))
    except (EOFError, OSError, ValueError):  # the optimizer is gone
        return keepers


def _tidy(keepers: set[int]) -> None:
    """Forget keepers that ended, and kill what they left behind: it is now our child, and no keeper."""
    keepers.difference_update(reap())
    for pid in children(os.getpid()):
        if pid not in keepers:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _leave(keepers: set[int], scratch: str) -> NoReturn:
    """Give the keepers a moment to clean up, then kill and remove whatever is left."""
    with suppress(ChildProcessError):
        for _ in range(int(_GOODBYE_SECS / 0.005)):
            keepers.difference_update(reap())
            if not keepers:
                break
            select.select([], [], [], 0.005)
    sweep()
    remove_scratch(scratch)
    os._exit(0)


def _fork_keeper(link: socket.socket, others: list[socket.socket], func: Callable[[Any], Any], limits: Limits) -> int:
    def keep() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            other.close()
        os.setsid()
        become_subreaper()
        keep_scoring(link, func, limits)

    pid = fork(keep)
    link.close()
    return pid


def keep_scoring(
    link: socket.socket, func: Callable[[Any], Any], limits: Limits, scorings: int | None = None
) -> NoReturn:
    """Say who this is, then serve one scoring after the other, each in a child that was forked before it was needed."""
    with suppress(EOFError, OSError):
        send_frame(link, str(os.getpid()).encode())
        for _ in itertools.count() if scorings is None else range(scorings):
            near, far = socket.socketpair()
            scratch = tempfile.mkdtemp(prefix="llm_optimize-")
            try:
                child = _spare(near, far, link, scratch, func, limits)
                _one_scoring(link, near, child)
            finally:
                near.close()
                sweep()
                remove_scratch(scratch)
    os._exit(0)


def _one_scoring(link: socket.socket, near: socket.socket, child: int) -> None:
    request, fds = receive_frame(link, max_fds=2)
    try:
        send_frame(near, request, tuple(fds))
    finally:
        for fd in fds:
            os.close(fd)
    watch(child, link, json.loads(request[: request.index(b"\n")])["timeout_secs"])


def _spare(
    near: socket.socket,
    far: socket.socket,
    link: socket.socket,
    scratch: str,
    func: Callable[[Any], Any],
    limits: Limits,
) -> int:
    def wait_and_score() -> None:
        os.setsid()
        near.close()
        link.close()
        try:
            request, (result, output) = receive_frame(far, max_fds=2)
        except EOFError:
            os._exit(0)
        far.close()
        score(request, result, output, scratch, func, limits)

    child = fork(wait_and_score)
    far.close()
    return child


def score(
    request: bytes, result: int, output: int, scratch: str, func: Callable[[Any], Any], limits: Limits
) -> NoReturn:
    """Become the child of one scoring: this output, this answer, no other open file; then call f."""
    head, _, body = request.partition(b"\n")
    facts = json.loads(head)
    result = _only_files(result, output)
    settle(scratch, limits, cpu_limit(limits, facts["timeout_secs"]), facts["seed"], _processes_of_user())
    call(func, json.loads(body), result, bytes.fromhex(facts["nonce"]), limits.result_mb * 2**20)


def _only_files(result: int, output: int) -> int:
    """Put the output on 1 and 2, nothing on 0, the answer on 3, and close all else; return 3."""
    kept = os.dup(result), os.dup(output)
    spare = [os.dup(fd) for fd in kept]  # above 3 for sure after two rounds of dup
    nothing = os.open(os.devnull, os.O_RDONLY)
    high = [os.dup2(fd, 100 + place) for place, fd in enumerate([nothing, spare[1], spare[1], spare[0]])]
    for place, fd in enumerate(high):
        os.dup2(fd, place, inheritable=place < 3)
    os.closerange(4, max(high) + 1)
    os.closerange(4, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    return 3


def _processes_of_user() -> int | None:
    """Return how many processes and threads this user has, for a limit that counts them all; None for root."""
    uid = os.getuid()
    if uid == 0:
        return None
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count
