"""One scoring after the other (Linux): a keeper's loop, and the child that it forks before there is work for it.

link, to and from the optimizer, once:               keeper: keeper  optimizer: G
link, to and from the optimizer, for each scoring:   keeper: ready   optimizer: request   optimizer: K   keeper: facts
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from ...records import Limits
from ..child import call, cpu_limit_secs, prepare_process
from ..data import unpack
from ..scratch import Scratch, remove_scratch
from ..wire import receive_frame, send_frame
from .accounting import Account
from .isolation import NO_ISOLATION, Isolation, restrict_files, restrict_system_calls
from .landlock import restrict_self
from .namespaces import enter_scoring_namespaces, run_init, run_namespace_supervisor
from .private_mounts import IN_USER_NAMESPACE, enter_user_namespace
from .process_tree import become_subreaper, fork, report_on_stderr, sweep, watch
from .visible_paths import VisiblePaths

BROKER_VARIABLE = "LLM_OPTIMIZE_SCRIPT_BROKER"  # the variable that tells a child where its way to the scripts' warm process is
_BROKER_FD = 4
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OWN_PROCESSES = 2  # in the user namespace of a keeper: itself and the child
_LINK_GONE = 3  # exit code of a process that can score no more


@dataclass(frozen=True)
class ChildSettings:
    """What is served: f, within these limits, with this view of the files."""

    func: Callable[[Any], Any]
    limits: Limits
    view: VisiblePaths | None  # None: that of the process that serves
    namespaced: bool = False  # whether each scoring has namespaces of its own
    hidden: tuple[
        str, ...
    ] = ()  # folders that such a one does not see, though this process does
    masked: tuple[
        str, ...
    ] = ()  # files that nobody opens in a scoring, though they lie in what is seen
    isolation: Isolation = NO_ISOLATION
    alone: bool = False  # whether the scratch directory is the working directory, too
    inlet: socket.socket | None = None  # to the warm process of scripts


def supervise(
    link: socket.socket, service: ChildSettings, scorings: int | None = None
) -> NoReturn:
    """Be a keeper: serve one scoring after the other until the other end is gone, or so many."""
    os.setsid()
    for number in _DEAF_TO:
        signal.signal(number, signal.SIG_IGN)  # whoever wants an end hangs up
    with suppress(EOFError), _complaining(link):
        send_frame(link, b"supervisor")
        if not link.recv(
            1
        ):  # from here on whatever is started here is in the right control group
            raise EOFError("the optimizer is gone")
        if service.namespaced:
            _in_namespaces(link, service)
        else:
            become_subreaper()
            if service.isolation.private == IN_USER_NAMESPACE:
                enter_user_namespace()
            while scorings is None or scorings > 0:
                _with_scratch(link, service)
                scorings = None if scorings is None else scorings - 1
    os._exit(0)


def _in_namespaces(link: socket.socket, service: ChildSettings) -> NoReturn:
    """Score in fresh namespaces each time; with their first process everything in them ends."""

    def serve() -> None:
        with _complaining(link):
            while run_init(lambda: _one_in_namespaces(link, service)) == 0:
                pass
        os._exit(0)

    run_namespace_supervisor(serve, network=bool(service.limits.network))


def _one_in_namespaces(link: socket.socket, service: ChildSettings) -> NoReturn:
    with suppress(EOFError), _complaining(link):
        seen = (*service.view.readable, *service.view.writable) if service.view else ()
        enter_scoring_namespaces(seen, service.hidden, service.limits.scratch_mb)
        _one_scoring(
            link, service, tempfile.mkdtemp(prefix="llm_optimize-", dir="/tmp")
        )
        os._exit(0)
    os._exit(_LINK_GONE)


@contextmanager
def _complaining(link: socket.socket) -> Iterator[None]:
    """Tell the other end, if it is there, what went wrong or what the system refuses; then whoever serves here ends."""
    try:
        yield
    except EOFError:
        raise
    except Exception as error:
        said = (
            str(error) if isinstance(error, OSError) else traceback.format_exc(limit=-5)
        )
        with suppress(OSError):
            send_frame(link, f"no: {said.strip()}".encode())
        os._exit(_LINK_GONE)


def _with_scratch(link: socket.socket, service: ChildSettings) -> None:
    """Serve one scoring, and remove whatever it leaves."""
    scratch = tempfile.mkdtemp(prefix="llm_optimize-")
    try:
        _one_scoring(link, service, scratch)
    finally:
        sweep()
        remove_scratch(scratch)


def _one_scoring(link: socket.socket, service: ChildSettings, scratch: str) -> None:
    near, far = socket.socketpair()
    with near:
        child = _fork_child(near, far, link, service, scratch)
        send_frame(link, b"ready")
        request, fds = receive_frame(link, max_fds=2)
        try:
            with suppress(
                BrokenPipeError, ConnectionResetError
            ):  # the child has failed: what it said is reported below
                send_frame(near, request, tuple(fds))
        finally:
            for fd in fds:
                os.close(fd)
        timeout_secs = json.loads(request[: request.index(b"\n")])["timeout_secs"]
        watch(
            child,
            link,
            timeout_secs,
            Account(
                service.limits, Scratch(scratch, service.limits.scratch_mb).used_bytes
            ),
            near,
        )


def _fork_child(
    near: socket.socket,
    far: socket.socket,
    link: socket.socket,
    service: ChildSettings,
    scratch: str,
) -> int:
    door, theirs = _open_door(service.inlet, scratch)

    def wait_and_score() -> None:
        os.setsid()
        for number in _DEAF_TO:
            signal.signal(number, signal.SIG_DFL)
        near.close()
        link.close()
        _put_forward()
        if service.alone:
            os.chdir(scratch)
        nproc = _processes_counted(service)  # before most of /proc is out of sight
        if service.view is not None:
            _confine(service.view, scratch, service)
        try:
            request, (result, output) = receive_frame(far, max_fds=2)
        except EOFError:
            os._exit(0)
        os.dup2(output, 2)  # where what goes wrong from here on is printed
        far.close()
        _score(request, _only_files(result, output, door), scratch, service, nproc)

    def complain(trouble: str) -> None:
        if far.fileno() >= 0:
            send_frame(far, trouble.encode())
        else:
            report_on_stderr(trouble)

    child = fork(wait_and_score, complain)
    far.close()
    for end in (door, theirs):
        if end is not None:
            end.close()
    return child


def _confine(view: VisiblePaths, scratch: str, service: ChildSettings) -> None:
    """Take from this process the rights over files, processes and TCP that a candidate does not have."""
    free = [scratch]
    if service.namespaced:
        free = ["/tmp"]
    else:
        view = restrict_files(
            service.isolation, view, scratch, service.masked, service.limits.scratch_mb
        )
    restrict_self(
        view, free, network=service.namespaced or service.limits.network is not False
    )


def _open_door(
    inlet: socket.socket | None, scratch: str
) -> tuple[socket.socket | None, socket.socket | None]:
    """Return a new way to the warm process of scripts, and its other end, which has been sent there.

    With it the kernel sends the id of this process, which watches over the scoring, so that all that the scoring starts
    can be counted together.
    """
    if inlet is None:
        return None, None
    door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with suppress(OSError):  # it has ended: the child will see that when it knocks
        socket.send_fds(inlet, [os.fsencode(scratch)], [theirs.fileno()])
    return door, theirs


def _put_forward() -> None:
    """Make this process the first to die when memory is short."""
    with (
        suppress(OSError),
        open("/proc/self/oom_score_adj", "w", encoding="ascii") as file,
    ):
        file.write("1000")


def _score(
    request: bytes,
    has_door: bool,
    scratch: str,
    service: ChildSettings,
    nproc: int | None,
) -> NoReturn:
    """Become the child of one scoring, with this output, this answer and no other open file; then call f."""
    head, _, body = request.partition(b"\n")
    facts = json.loads(head)
    if has_door:
        level = "namespace" if service.namespaced else "process"
        os.environ[BROKER_VARIABLE] = (
            f"{_BROKER_FD}:{os.fstat(_BROKER_FD).st_ino}:{level}"
        )
    limits, arrays = service.limits, facts["arrays"]
    prepare_process(
        scratch,
        limits,
        cpu_limit_secs(limits, facts["timeout_secs"]),
        facts["seed"],
        nproc,
    )
    if service.view is not None:
        restrict_system_calls(service.isolation, service.namespaced, limits.network)
    call(
        service.func,
        unpack(body, arrays),
        3,
        bytes.fromhex(facts["nonce"]),
        limits,
        arrays,
    )


def _only_files(result: int, output: int, door: socket.socket | None) -> bool:
    """Put the output on 1 and 2, nothing on 0, the answer on 3, a door on 4; close all else; return whether 4 is."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = [nothing, output, output, result] + ([door.fileno()] if door else [])
    high = [os.dup2(fd, 200 + place) for place, fd in enumerate(wanted)]
    for place, fd in enumerate(high):
        os.dup2(fd, place, inheritable=place < 3)
    os.closerange(len(high), max(high) + 1)
    os.closerange(len(high), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    if door:
        door.detach()
    return door is not None


def _processes_counted(service: ChildSettings) -> int | None:
    """Return how many processes a limit of this child's user counts already; None for root.

    In a user namespace only its own are counted.
    """
    if service.isolation.private == IN_USER_NAMESPACE and os.getuid() != 0:
        return _OWN_PROCESSES
    return _processes_of_user()


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
