"""Script broker: forks supervisors for scripts that are judged. It never holds f, nor what f knows.

The fork server forks it before f is loaded, with the installed packages that f imports. Each
scoring has a socket to it, through which f asks for supervisors; when the scoring is over, the
socket closes and they end.

Messages, one packet each:

    the supervisor of a scoring, on the inlet: the path of its scratch directory, with the broker's
        end of a new socket. The kernel adds the id of the sender, which cannot be forged.
    f, on that socket: limits as JSON, with the far end of a link. From then on the link is that of
        any supervisor; instead of "supervisor" may come {"breach": ...}.

Any code in the scoring may write to its socket, f or a candidate. So the limits that come are
narrowed to those of the scoring, and all that a socket leads to is counted together with the
scoring that it belongs to: its processes are found below the sender, from time to time, as long as
there are supervisors.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import tempfile
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import NoReturn

from ..scratch import Scratch, remove_scratch
from ..wire import send_frame
from .accounting import Account, Breach, count_threads, tmpfs_bytes
from .cgroups import join_cgroups_of
from .child_setup import ChildSettings
from .process_tree import become_subreaper, descendants, fork, kill_tree, reap, sweep
from .script_limits import ScoringBounds, narrow_limits, parse_limits, pin_paths
from .supervisor import supervise
from .supervisor_link import CREDENTIALS
from .visible_paths import visible_paths_for

_MAX_MESSAGE_BYTES = 65_536
_MAX_WAITING = 64  # requests of one scoring
_SOON_SECS = 0.02  # until the next look whether supervisors have ended
_GRACE_SECS = 0.3  # for supervisors to end by themselves
_FD_BYTES = 4
# Processes that a new supervisor comes to, though it forks only later: itself, a helper for a
# moment, and the child; in namespaces also the namespace supervisor and the init. They are counted
# before they exist, or more supervisors would be let in than fit.
_PROCESSES = 3
_PROCESSES_IN_NAMESPACES = 4
_WHOSE = "the scoring and its scripts"


@dataclass(frozen=True)
class _Request:
    """A supervisor that is asked for: the limits as they came, and the link to it."""

    message: bytes
    link: socket.socket


@dataclass
class _Client:
    """One scoring's socket, and the supervisors that it asked for."""

    end: socket.socket  # the broker's
    watcher: int  # the process that watches over the scoring
    scratch: str | None  # of the scoring; None where it lies in its namespaces
    folder: str | None  # for the scratch directories of its scripts; None likewise
    account: Account
    # Links, by process id.
    supervisors: dict[int, socket.socket] = field(default_factory=dict)
    # For other supervisors to end.
    waiting: list[_Request] = field(default_factory=list)
    closed_at: float | None = None

    def processes(self) -> list[int]:
        """Return what runs for the scoring: its own processes, and those of its scripts."""
        return processes_of(self.watcher, self.supervisors)


def processes_of(watcher: int, supervisors: dict[int, socket.socket]) -> list[int]:
    """Return the descendants of a scoring's watcher, and its supervisors with theirs."""
    found = descendants(watcher)
    for pid in supervisors:
        found.append(pid)
        found += descendants(pid)
    return found


class ScriptBrokerServer:
    """Serves scorings until everybody who could send one is gone.

    Args:
        inlet: where the sockets of scorings arrive.
        settings: of the children.
        folders: of installed packages.
        bounds: what a scoring may use.
    """

    def __init__(
        self,
        inlet: socket.socket,
        settings: ChildSettings,
        folders: list[str],
        bounds: ScoringBounds,
    ) -> None:
        self._inlet = inlet
        self._inlet.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._settings = settings
        self._folders = folders
        self._bounds = bounds
        self._clients: list[_Client] = []

    def serve(self) -> NoReturn:
        """Serve, then kill whatever is left."""
        become_subreaper()
        with suppress(EOFError):
            while True:
                self._serve_next()
        sweep()
        os._exit(0)

    def _serve_next(self) -> None:
        """Wait for a message, an end, or the time of the next check, and act on it."""
        connected = [client for client in self._clients if client.closed_at is None]
        poll = select.poll()
        poll.register(self._inlet, select.POLLIN)
        for client in connected:
            poll.register(client.end, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(self._wait_ms(connected))}
        for client in connected:
            if client.end.fileno() in ready:
                self._receive_request(client)
        if self._inlet.fileno() in ready:
            self._admit()
        self._tidy()
        if not ready:
            self._check_limits()

    def _wait_ms(self, connected: list[_Client]) -> float | None:
        """Return how long nothing needs a look; None for as long as no message comes."""
        waits: list[float] = []
        for client in connected:
            if client.supervisors:
                waits.append(client.account.next_check_secs)
            if client.waiting:
                waits.append(_SOON_SECS)
        if len(connected) < len(self._clients):
            waits.append(_SOON_SECS)  # supervisors of a scoring that is over are to end
        return 1000 * min(waits) if waits else None

    # Scorings, and what comes through their sockets.

    def _admit(self) -> None:
        """Take the socket of a scoring that is about to begin, from the process that watches it."""
        room = socket.CMSG_SPACE(CREDENTIALS.size) + socket.CMSG_SPACE(_FD_BYTES)
        scratch, ancillary, _, _ = self._inlet.recvmsg(_MAX_MESSAGE_BYTES, room)
        found = {kind: data for _, kind, data in ancillary}
        if socket.SCM_RIGHTS not in found:
            raise EOFError("nobody is left to send a scoring")
        (fd,) = struct.unpack("i", found[socket.SCM_RIGHTS][:_FD_BYTES])
        watcher, _, _ = CREDENTIALS.unpack(found[socket.SCM_CREDENTIALS])
        client = self._new_client(
            socket.socket(fileno=fd), watcher, os.fsdecode(scratch)
        )
        self._clients.append(client)

    def _new_client(
        self, their_socket: socket.socket, watcher: int, scratch: str
    ) -> _Client:
        limits = self._bounds.limits
        supervisors: dict[int, socket.socket] = {}
        if self._settings.namespaced:
            # Each scoring and each script has a /tmp of its own, which knows how full it is.
            account = Account(
                limits,
                lambda: tmpfs_bytes(processes_of(watcher, supervisors)),
                _WHOSE,
            )
            return _Client(their_socket, watcher, None, None, account, supervisors)
        folder = tempfile.mkdtemp(prefix="llm_optimize-")
        of_scoring = Scratch(scratch, limits.scratch_mb)
        of_scripts = Scratch(folder, limits.scratch_mb)
        account = Account(
            limits,
            lambda: of_scoring.used_bytes() + of_scripts.used_bytes(),
            _WHOSE,
        )
        return _Client(their_socket, watcher, scratch, folder, account, supervisors)

    def _receive_request(self, client: _Client) -> None:
        """Serve the request that came; a scoring that sends something else is cut off."""
        try:
            message, links, _, _ = socket.recv_fds(client.end, _MAX_MESSAGE_BYTES, 1)
            if not links:
                raise ValueError("no link, or the end")
        except (ValueError, OSError):
            self._close(client)
        else:
            link = socket.socket(fileno=links[0])
            self._answer(client, _Request(message, link))

    def _answer(self, client: _Client, request: _Request) -> None:
        """Fork a supervisor, or refuse because there are too many processes.

        For the scoring a script is over when its report has come, a moment before its supervisor
        has ended. What is asked for in that moment waits, or a scoring that never had too many
        processes would be refused.
        """
        if not self._is_full(client):  # wall: the count of a scoring's supervisors
            self._begin(client, request)
            return
        is_one_ending = any(map(_has_hung_up, client.supervisors.values()))
        if is_one_ending and len(client.waiting) < _MAX_WAITING:
            client.waiting.append(request)
            return
        message = (
            f"limit of {self._bounds.limits.processes} processes and threads reached by "
            f"{_WHOSE} together (processes)"
        )
        # The other side must not take this for a supervisor and send to it.
        request.link.shutdown(socket.SHUT_RD)
        _refuse(request.link, Breach("killed", message))
        request.link.close()

    def _begin(self, client: _Client, request: _Request) -> None:
        fds: list[int] = []
        try:
            asked = parse_limits(request.message)
            narrow = narrow_limits(asked, self._bounds, client.scratch)
            limits = narrow  # wall: narrowed limits
            if not self._settings.namespaced:
                limits, fds = pin_paths(limits)
            paths = visible_paths_for(limits, self._folders)
            settings = replace(self._settings, limits=limits, paths=paths)
            pid = self._fork_supervisor(client, request.link, settings)
            client.supervisors[pid] = request.link
        except (ValueError, TypeError, OSError):
            self._close(client)
        finally:
            for fd in fds:
                os.close(fd)

    def _is_full(self, client: _Client) -> bool:
        """Whether no further supervisor with its child may come; the first one always may."""
        if not client.supervisors:
            return False
        whole = _PROCESSES
        if self._settings.namespaced:
            whole = _PROCESSES_IN_NAMESPACES
        expected = count_threads(client.processes()) + whole
        for supervisor in client.supervisors:
            there = 1 + len(descendants(supervisor))
            expected += max(0, whole - there)
        return expected > self._bounds.limits.processes

    def _fork_supervisor(
        self, client: _Client, link: socket.socket, settings: ChildSettings
    ) -> int:
        others = [self._inlet]
        for one in self._clients:
            others.append(one.end)
            others += one.supervisors.values()
            others += [request.link for request in one.waiting]

        def be_supervisor() -> None:
            for other in others:
                other.close()
            join_cgroups_of(client.watcher)
            if client.folder is not None:
                tempfile.tempdir = client.folder
            supervise(link, settings)

        def complain(trouble: str) -> None:
            send_frame(link, f"no: {trouble}".encode())

        return fork(be_supervisor, complain)

    # Checks and ends.

    def _check_limits(self) -> None:
        """Cut off a scoring that uses too much together with its scripts, and kill these."""
        for client in self._clients:
            if client.closed_at is not None or not client.supervisors:
                continue
            breach = client.account.breach(client.processes())
            if breach is not None:
                self._close(client)
                for pid, link in client.supervisors.items():
                    _refuse(link, breach)
                    kill_tree(pid)

    @staticmethod
    def _close(client: _Client) -> None:
        client.end.close()
        for request in client.waiting:
            request.link.close()
        client.waiting.clear()
        client.closed_at = time.monotonic()

    def _tidy(self) -> None:
        """Forget supervisors that ended; kill those of a finished scoring that do not end."""
        ended = set(reap())
        now = time.monotonic()
        for client in self._clients:
            for pid in ended & client.supervisors.keys():
                client.supervisors.pop(pid).close()
            if client.closed_at is None:
                continue
            if now > client.closed_at + _GRACE_SECS:
                for pid in client.supervisors:
                    kill_tree(pid)
            if not client.supervisors and client.folder is not None:
                remove_scratch(client.folder)
        kept: list[_Client] = []
        for client in self._clients:
            if client.supervisors or client.closed_at is None:
                kept.append(client)
        self._clients = kept
        for client in self._clients:
            for request in list(client.waiting):
                client.waiting.remove(request)
                self._answer(client, request)


def _has_hung_up(link: socket.socket) -> bool:
    """Whether the other side of a link has hung up: its supervisor is about to end."""
    poll = select.poll()
    poll.register(link, 0)  # a hang-up is reported whatever is asked for
    return bool(poll.poll(0))


def _refuse(link: socket.socket, breach: Breach) -> None:
    """Tell a client that waits for a supervisor, or for its report, which limit was broken."""
    with suppress(OSError):
        # Both sides share this setting; the other one never reads, or will not any more.
        link.setblocking(False)
        send_frame(link, json.dumps({"breach": asdict(breach)}).encode())
