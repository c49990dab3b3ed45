"""Child of one scoring: forked ahead by its supervisor, isolated, and given its work.

The order matters:

1. fork, leave the supervisor's session and close its sockets;
2. give up rights: mounts, Landlock, privileges; all of this before a request is read;
3. wait for the request, with the pipes for the answer and the output;
4. keep those pipes and close every other file;
5. set limits and seeds, filter system calls, call f.

Steps 1 and 2 take milliseconds and are done before there is work. The filter comes last, because it
would refuse some of the steps before.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from ...records import Limits
from ..child import answer_call, cpu_limit_secs, prepare_process
from ..data import unpack
from ..wire import receive_frame, send_frame
from .isolation import NO_ISOLATION, Isolation, restrict_files, restrict_system_calls
from .landlock import restrict_self
from .private_mounts import IN_USER_NAMESPACE
from .process_tree import fork, report_on_stderr
from .script_broker_client import BROKER_VARIABLE
from .visible_paths import VisiblePaths

# Signals for the optimizer's process group; who wants a supervisor to end hangs up.
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RESULT_FD, _BROKER_FD = 3, 4  # of a child, besides standard input, output and error
_FIRST_SPARE_FD = 200  # above all descriptors that are in use before f runs
_OWN_PROCESSES = 2  # in the user namespace of a supervisor: itself and the child
_FIRST_TO_DIE = "1000"  # in oom_score_adj


@dataclass(frozen=True)
class ChildSettings:
    """What the children of a supervisor do: call f, within these limits, with these files."""

    func: Callable[[Any], Any]
    limits: Limits
    paths: VisiblePaths | None  # None: those of the supervisor
    namespaced: bool = False  # whether each scoring has namespaces of its own
    hidden: tuple[str, ...] = ()  # folders that are empty in such namespaces
    # Files that cannot be opened, though their folders are visible.
    masked: tuple[str, ...] = ()
    isolation: Isolation = NO_ISOLATION
    # Whether the scratch directory is the working directory, too.
    for_scripts: bool = False
    # Where new sockets to the script broker are sent.
    broker_inlet: socket.socket | None = None


def fork_child(
    near: socket.socket,
    far: socket.socket,
    link: socket.socket,
    settings: ChildSettings,
    scratch: str,
) -> int:
    """Fork the child of the next scoring; return its process id.

    Args:
        near: the supervisor's end of a socket to the child.
        far: the child's end; it is closed here.
        link: from the supervisor to the optimizer; the child must not keep it.
        settings: of the child.
        scratch: its scratch directory.
    """
    broker, brokers_end = _connect_to_broker(settings.broker_inlet, scratch)

    def wait_and_score() -> None:
        os.setsid()
        for number in IGNORED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        near.close()
        link.close()
        _die_first_without_memory()
        if settings.for_scripts:
            os.chdir(scratch)
        # Counted before most of /proc is out of sight.
        user_processes = _processes_counted(settings)
        if settings.paths is not None:
            _restrict_files(settings.paths, scratch, settings)
        try:
            request, (result, output) = receive_frame(far, max_fds=2)
        except EOFError:
            os._exit(0)
        os.dup2(output, 2)  # where what goes wrong from here on is printed
        far.close()
        _keep_only(result, output, broker)
        if broker is not None:
            level = "namespace" if settings.namespaced else "process"
            inode = os.fstat(_BROKER_FD).st_ino
            os.environ[BROKER_VARIABLE] = f"{_BROKER_FD}:{inode}:{level}"
        _score(request, scratch, settings, user_processes)

    def complain(trouble: str) -> None:
        if far.fileno() >= 0:
            send_frame(far, trouble.encode())
        else:
            report_on_stderr(trouble)

    child = fork(wait_and_score, complain)
    far.close()
    for end in (broker, brokers_end):
        if end is not None:
            end.close()
    return child


def _connect_to_broker(
    inlet: socket.socket | None, scratch: str
) -> tuple[socket.socket | None, socket.socket | None]:
    """Return a new socket to the script broker, and its other end, which has been sent there.

    With it the kernel sends the id of this process, which watches over the scoring, so that the
    broker can count all that the scoring starts.
    """
    if inlet is None:
        return None, None
    ours, brokers_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with suppress(OSError):  # the broker has ended: f will see that when it asks
        socket.send_fds(inlet, [os.fsencode(scratch)], [brokers_end.fileno()])
    return ours, brokers_end


def _die_first_without_memory() -> None:
    """Make this process the first that the kernel kills when memory is short."""
    with (
        suppress(OSError),
        open("/proc/self/oom_score_adj", "w", encoding="ascii") as file,
    ):
        file.write(_FIRST_TO_DIE)


def _restrict_files(paths: VisiblePaths, scratch: str, settings: ChildSettings) -> None:
    """Take from this process the rights over files, processes and TCP that no candidate has."""
    if settings.namespaced:
        # The mounts are those of the scoring's init, and refuse what there is to refuse.
        restrict_self(paths, ["/tmp"], network=True)
        return
    limits = settings.limits
    paths = restrict_files(
        settings.isolation, paths, scratch, settings.masked, limits.scratch_mb
    )
    restrict_self(paths, [scratch], network=limits.network is not False)


def _keep_only(result: int, output: int, broker: socket.socket | None) -> None:
    """Rearrange the open files of this process, and close all others.

    Nothing is on 0, the output on 1 and 2, the answer on 3, the broker on 4. The files are copied
    high up first: a direct copy to a low number might close one that is still needed.
    """
    nothing = os.open(os.devnull, os.O_RDONLY)
    wanted = [nothing, output, output, result]
    if broker is not None:
        wanted.append(broker.fileno())
    spare = []
    for index, fd in enumerate(wanted):
        spare.append(os.dup2(fd, _FIRST_SPARE_FD + index))
    for target, fd in enumerate(spare):
        is_standard = target < _RESULT_FD  # only these are for programs that f starts
        os.dup2(fd, target, inheritable=is_standard)
    os.closerange(len(wanted), max(spare) + 1)
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.closerange(len(wanted), soft_limit)
    if broker is not None:
        broker.detach()  # its number means another file now


def _score(
    request: bytes, scratch: str, settings: ChildSettings, user_processes: int | None
) -> NoReturn:
    """Call f as the request says; its first line is JSON, the rest is x."""
    head, _, body = request.partition(b"\n")
    facts = json.loads(head)
    limits, arrays = settings.limits, facts["arrays"]
    cpu_secs = cpu_limit_secs(limits, facts["timeout_secs"])
    prepare_process(scratch, limits, cpu_secs, facts["seed"], user_processes)
    if settings.paths is not None:
        restrict_system_calls(
            settings.isolation,
            namespaced=settings.namespaced,
            network=limits.network,
        )
    answer_call(
        settings.func,
        unpack(body, arrays=arrays),
        result_fd=_RESULT_FD,
        nonce=bytes.fromhex(facts["nonce"]),
        limits=limits,
        arrays=arrays,
    )


def _processes_counted(settings: ChildSettings) -> int | None:
    """Return how many processes a limit of this child's user counts already; None for root.

    In a user namespace only its own are counted.
    """
    is_root = os.getuid() == 0
    if settings.isolation.namespaces == IN_USER_NAMESPACE and not is_root:
        return _OWN_PROCESSES
    return None if is_root else _processes_of(os.getuid())


def _processes_of(uid: int) -> int:
    """Return how many processes and threads a user has; a limit counts them all."""
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                if os.stat(f"/proc/{name}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{name}/task"))
    return count
