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
import importlib.util
import json
import os
import select
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...records import Limits
from ..pickling import unpack
from ..scratch import remove_scratch
from ..scripts import perform
from ..wire import receive_frame, send_frame
from .isolation import NO_ISOLATION, Isolation, find_isolation
from .namespaces import uncover_proc
from .process_tree import become_subreaper, children, fork, reap, sweep
from .script_broker import ScriptBrokerServer
from .script_limits import ScoringBounds, bounds_of
from .supervisor import ChildSettings, supervise
from .visible_paths import VisiblePaths

_GOODBYE_SECS = 1.0  # keepers clean up by themselves in a few milliseconds


def main() -> None:
    """Serve the control socket on descriptor 0 until the optimizer is gone."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    settings = json.loads(receive_frame(control)[0])
    if settings["namespaced"]:
        uncover_proc()
    if settings["scratch"] is None:
        _serve_settings(control, settings)
        os._exit(0)  # without what the modules of f want to do at the end
    try:  # made here and not by the optimizer: one that is killed before it sent this leaves nothing
        os.mkdir(settings["scratch"], 0o700)
    except OSError as error:
        send_frame(control, json.dumps({"refused": str(error)}).encode())
        os._exit(1)
    try:
        tempfile.tempdir = settings[
            "scratch"
        ]  # of all scorings; it goes when the optimizer is gone
        _serve_settings(control, settings)
    finally:
        remove_scratch(settings["scratch"])
    os._exit(0)


def _serve_settings(control: socket.socket, settings: dict[str, Any]) -> None:
    """Load f and serve, until the optimizer is gone; nothing that was started here is left."""
    others: set[int] = set()
    limits, view = (
        Limits(**settings["limits"]),
        VisiblePaths(**settings["view"]) if settings["view"] else None,
    )
    bounds = bounds_of(limits, view, settings["namespaced"])
    isolation = (
        find_isolation(settings["namespaced"]) if settings["view"] else NO_ISOLATION
    )
    inlet = None
    if not settings["alone"]:  # before f is received
        inlet = _start_scripts(control, settings, bounds, others, isolation)
    func = _load(
        settings, receive_frame(control)[0], control, isolation
    )  # the payload is not kept: it may be large
    become_subreaper()
    _settle_down()
    service = ChildSettings(
        func,
        limits,
        view,
        settings["namespaced"],
        masked=tuple(settings["masked"]),
        isolation=isolation,
        alone=settings["alone"],
        inlet=inlet,
    )
    _serve(control, service, others)
    _leave(others, inlet)


def _start_scripts(
    control: socket.socket,
    settings: dict[str, Any],
    bounds: ScoringBounds,
    others: set[int],
    isolation: Isolation,
) -> socket.socket:
    """Fork the warm process of scripts, which has what is installed and never sees f; return the way to it."""
    folders = settings["installed"]
    sys.path[:] = folders
    for module in settings["imports"]:
        if _is_installed(module, folders):
            with suppress(
                Exception
            ):  # f itself will say so when it imports it and cannot
                importlib.import_module(module)
    inlet, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def be_server() -> None:
        control.close()
        inlet.close()
        _settle_down()
        service = ChildSettings(
            perform,
            bounds.limits,
            None,
            settings["namespaced"],
            tuple(settings["own_folders"]),
            masked=tuple(settings["masked"]),
            isolation=isolation,
            alone=True,
        )
        ScriptBrokerServer(theirs, service, folders, bounds).serve()

    others.add(fork(be_server))
    theirs.close()
    return inlet


def _is_installed(module: str, folders: list[str]) -> bool:
    """Whether a module lies where packages are installed, and is not the user's own, which may hold the labels."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module.partition(".")[0])
        origin = spec.origin if spec is not None else None
        return origin is not None and (
            origin == "built-in" or origin.startswith(tuple(folders))
        )
    return False


def _load(
    settings: dict[str, Any],
    payload: bytes,
    control: socket.socket,
    isolation: Isolation,
) -> Callable[[Any], Any]:
    """Import what f needs, on one thread: children of a process with OpenMP or BLAS threads hang."""
    sys.path[:] = settings["sys_path"]
    try:
        func = unpack(payload, settings["imports"])
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
    send_frame(control, json.dumps({"walls": isolation.names}).encode())
    return func


def _settle_down() -> None:
    """Let children share these pages as long as nobody counts in them."""
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket, service: ChildSettings, others: set[int]) -> None:
    """Fork a keeper for each link that arrives, and clean up behind those that died, until the optimizer is gone."""
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    with suppress(EOFError, OSError, ValueError):
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if wake.fileno() in ready:
                wake.recv(4096)
                _tidy(others)
            if control.fileno() in ready:
                _, (link,) = receive_frame(control, max_fds=1)
                others.add(
                    _fork_supervisor(
                        socket.socket(fileno=link), [control, wake, woken], service
                    )
                )


def _tidy(others: set[int]) -> None:
    """Forget keepers that ended, and kill what they left behind: it is now our child, and no keeper."""
    others.difference_update(reap())
    for pid in children(os.getpid()):
        if pid not in others:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _leave(others: set[int], inlet: socket.socket | None) -> None:
    """Give the keepers a moment to clean up, then kill whatever is left."""
    if inlet is not None:
        inlet.close()
    with suppress(ChildProcessError):
        for _ in range(int(_GOODBYE_SECS / 0.005)):
            others.difference_update(reap())
            if not others:
                break
            select.select([], [], [], 0.005)
    sweep()


def _fork_supervisor(
    link: socket.socket, ours: list[socket.socket], service: ChildSettings
) -> int:
    def keep() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in ours:
            other.close()
        supervise(link, service)

    pid = fork(keep, lambda trouble: send_frame(link, f"no: {trouble}".encode()))
    link.close()
    return pid
