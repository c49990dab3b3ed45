"""Fork server: loads f once, then forks a supervisor for each link that the optimizer sends.

It only imports and forks, and stays single-threaded: a fork of a process with threads may wait for
ever for a lock that another thread held. The page in this folder's `__init__.py` shows all
processes.

Messages on the control socket, each a frame:

    optimizer: settings as JSON    optimizer: the pickle of f
    fork server: {"isolation": [...]}, or {"error": ...}, or {"refused": ...}
    optimizer, for each supervisor: an empty frame with the far end of its link

The end of the control socket is the end of all: see `_leave`.
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
from ..pickling import unpickle_function
from ..scratch import remove_scratch
from ..scripts import run_job
from ..wire import receive_frame, send_frame
from .child_setup import ChildSettings
from .isolation import NO_ISOLATION, Isolation, find_isolation
from .namespaces import uncover_proc
from .process_tree import become_subreaper, children, fork, kill, reap, sweep
from .script_broker import ScriptBrokerServer
from .script_limits import ScoringBounds, bounds_of
from .supervisor import supervise
from .visible_paths import VisiblePaths

_GOODBYE_SECS = 1.0  # supervisors clean up by themselves in a few milliseconds
_PAUSE_SECS = 0.005
_MAX_WAKEUP_BYTES = 4096
_TRACEBACK_FRAMES = -3  # negative: the last ones


def main() -> None:
    """Serve the control socket on descriptor 0 until the optimizer is gone."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    settings = json.loads(receive_frame(control)[0])
    if settings["namespaced"]:
        uncover_proc()
    scratch = settings["scratch"]
    if scratch is None:
        _load_and_serve(control, settings)
        os._exit(0)  # without the exit hooks of f's modules
    # The folder of all scorings is made here and not by the optimizer: one that is killed before it
    # sent the settings leaves nothing.
    try:
        os.mkdir(scratch, 0o700)
    except OSError as error:
        send_frame(control, json.dumps({"refused": str(error)}).encode())
        os._exit(1)
    try:
        tempfile.tempdir = scratch
        _load_and_serve(control, settings)
    finally:
        remove_scratch(scratch)
    os._exit(0)


def _load_and_serve(control: socket.socket, settings: dict[str, Any]) -> None:
    """Load f and serve, until the optimizer is gone; nothing that was started here is left."""
    namespaced = settings["namespaced"]
    limits = Limits(**settings["limits"])
    paths = None
    isolation = NO_ISOLATION
    if settings["paths"]:
        paths = VisiblePaths(**settings["paths"])
        isolation = find_isolation(namespaced=namespaced)
    bounds = bounds_of(limits, paths, namespaced=namespaced)
    ours: set[int] = set()  # ids of the script broker and the supervisors
    broker_inlet = None
    if not settings["for_scripts"]:
        # Before f is received, so that the broker's memory never holds it.
        broker_inlet = _fork_script_broker(control, settings, bounds, ours, isolation)
    # The pickle is not kept in a variable: it may be large.
    func = _load(settings, receive_frame(control)[0], control, isolation)
    become_subreaper()  # wall: adopting orphans
    _freeze_memory()
    child_settings = ChildSettings(
        func,
        limits,
        paths,
        namespaced=namespaced,
        masked=tuple(settings["masked"]),
        isolation=isolation,
        for_scripts=settings["for_scripts"],
        broker_inlet=broker_inlet,
    )
    _serve(control, child_settings, ours)
    _leave(ours, broker_inlet)


def _fork_script_broker(
    control: socket.socket,
    settings: dict[str, Any],
    bounds: ScoringBounds,
    ours: set[int],
    isolation: Isolation,
) -> socket.socket:
    """Fork the script broker, with the installed packages that f imports; return the way to it."""
    folders = settings["installed"]
    sys.path[:] = folders
    for module in settings["imports"]:
        if _is_installed(module, folders):
            with suppress(Exception):  # f itself will fail when it imports the module
                importlib.import_module(module)
    inlet, outlet = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def be_broker() -> None:
        control.close()
        inlet.close()
        _freeze_memory()
        child_settings = ChildSettings(
            run_job,
            bounds.limits,
            paths=None,
            namespaced=settings["namespaced"],
            hidden=tuple(settings["own_folders"]),
            masked=tuple(settings["masked"]),
            isolation=isolation,
            for_scripts=True,
        )
        ScriptBrokerServer(outlet, child_settings, folders, bounds).serve()

    ours.add(fork(be_broker))
    outlet.close()
    return inlet


def _is_installed(module: str, folders: list[str]) -> bool:
    """Whether a module is an installed one, and not the user's own, which may hold the labels."""
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(module.partition(".")[0])
        if spec is None or spec.origin is None:
            return False
        return spec.origin == "built-in" or spec.origin.startswith(tuple(folders))
    return False


def _load(
    settings: dict[str, Any],
    payload: bytes,
    control: socket.socket,
    isolation: Isolation,
) -> Callable[[Any], Any]:
    """Import what f needs, on one thread: children of a process with OpenMP threads hang."""
    sys.path[:] = settings["sys_path"]
    try:
        func = unpickle_function(payload, settings["imports"])
    except BaseException as error:  # the import of the user's module may do anything
        lines = traceback.format_exception(error, limit=_TRACEBACK_FRAMES)
        send_frame(control, json.dumps({"error": "".join(lines)}).encode())
        sys.exit(1)
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random")  # each child seeds it
    # From here on the numeric libraries of children may use threads as the optimizer's do.
    for name, value in settings["threads"].items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    send_frame(control, json.dumps({"isolation": isolation.names}).encode())
    return func


def _freeze_memory() -> None:
    """Keep the garbage collector from objects that exist: it would unshare their pages in forks."""
    gc.collect()
    gc.freeze()


def _serve(control: socket.socket, settings: ChildSettings, ours: set[int]) -> None:
    """Fork a supervisor for each link that arrives, until the optimizer is gone.

    SIGCHLD writes a byte into `woken`, so that the same poll also wakes up when a supervisor ends.
    """
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    signal.set_wakeup_fd(woken.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        try:
            ready = {fd for fd, _ in poll.poll()}
            if wake.fileno() in ready:
                wake.recv(_MAX_WAKEUP_BYTES)
                _tidy(ours)
            if control.fileno() in ready:
                _, (fd,) = receive_frame(control, max_fds=1)
                link = socket.socket(fileno=fd)
                ours.add(_fork_supervisor(link, [control, wake, woken], settings))
        except (EOFError, OSError, ValueError):
            break  # wall: the lifeline


def _tidy(ours: set[int]) -> None:
    """Forget supervisors that ended, and kill what they left behind.

    What a dead supervisor left has become a child of this process, and is none that it forked.
    """
    ours.difference_update(reap())
    for pid in children(os.getpid()):
        if pid not in ours:
            kill(pid)


def _leave(ours: set[int], broker_inlet: socket.socket | None) -> None:
    """Give the supervisors a moment to clean up, then kill whatever is left.

    Their links end with the optimizer, too, and the broker's inlet is closed here.
    """
    if broker_inlet is not None:
        broker_inlet.close()
    with suppress(ChildProcessError):
        for _ in range(int(_GOODBYE_SECS / _PAUSE_SECS)):
            ours.difference_update(reap())
            if not ours:
                break
            select.select([], [], [], _PAUSE_SECS)
    sweep()


def _fork_supervisor(
    link: socket.socket, others: list[socket.socket], settings: ChildSettings
) -> int:
    """Fork a supervisor, which keeps its link and closes the other sockets."""

    def be_supervisor() -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            other.close()
        supervise(link, settings)

    def complain(trouble: str) -> None:
        send_frame(link, f"no: {trouble}".encode())

    pid = fork(be_supervisor, complain)
    link.close()
    return pid
