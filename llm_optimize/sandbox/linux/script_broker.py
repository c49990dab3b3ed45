"""The warm process of scripts (Linux): for code that is judged. It never holds f, nor what f knows.

It is forked off before f is loaded, with the installed packages that f imports. Each scoring has a door to it, by which
f asks for keepers; when the scoring is over, its door closes and they end.

Whoever sits in the scoring may write to its door, f or a candidate. So the limits that come are narrowed to those of
the scoring, and what comes of a door counts together with the scoring that it belongs to: this process is told by the
kernel which process watches over that one, and looks at both from time to time, as long as there are keepers.
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
from .process_tree import become_subreaper, descendants, fork, kill_tree, reap, sweep
from .script_limits import ScoringBounds, narrow_limits, parse_limits, pin_paths
from .supervisor import ChildSettings, supervise
from .visible_paths import visible_paths_for

_MAX_MESSAGE_BYTES = 65_536
_MAX_WAITING = 64  # requests of one door
_SOON_SECS = 0.02  # until one looks again whether keepers have ended
_GRACE_SECS = 0.3  # for keepers to end by themselves
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)
# What a keeper comes to, which forks only when it is told to go: itself, a helper for a moment, and the child; in
# namespaces also the slot and the first process. Counted before they are there, or more would be let in than fit.
_SUPERVISOR_PROCESSES = {False: 3, True: 4}
_WHOSE = "the scoring and its scripts"


@dataclass(frozen=True)
class _Request:
    """A keeper that is asked for: the limits as they came, and the link over which it will be spoken to."""

    message: bytes
    link: socket.socket


@dataclass
class _Door:
    """One scoring's door, and the keepers that came of it."""

    end: socket.socket
    watcher: int  # the process that watches over the scoring
    scratch: str | None  # of the scoring; None where it lies in a world of its own
    folder: str | None  # in which its scripts have theirs; None likewise
    account: Account
    supervisors: dict[int, socket.socket] = field(
        default_factory=dict
    )  # with their links, to say why they were killed
    waiting: list[_Request] = field(
        default_factory=list
    )  # for keepers to end that nobody needs any more
    closed_at: float | None = None

    def processes(self) -> list[int]:
        """Return what runs for the scoring: its own processes, and those of its scripts with their keepers."""
        return [
            *descendants(self.watcher),
            *(
                pid
                for supervisor in self.supervisors
                for pid in (supervisor, *descendants(supervisor))
            ),
        ]


class ScriptBrokerServer:
    """Serves doors until everybody who could send one is gone."""

    def __init__(
        self,
        inlet: socket.socket,
        service: ChildSettings,
        folders: list[str],
        bounds: ScoringBounds,
    ) -> None:
        """Take where doors arrive, what is served, the folders of installed packages, and what a scoring may use."""
        self._inlet = inlet
        self._inlet.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._service = service
        self._folders = folders
        self._bounds = bounds
        self._doors: list[_Door] = []

    def serve(self) -> NoReturn:
        """Serve, then kill whatever is left."""
        become_subreaper()
        with suppress(EOFError):
            while True:
                self._wait()
        sweep()
        os._exit(0)

    def _wait(self) -> None:
        """Wait for the next message, end or look, and see to it."""
        open_doors = [door for door in self._doors if door.closed_at is None]
        poll = select.poll()
        for end in (self._inlet, *(door.end for door in open_doors)):
            poll.register(end, select.POLLIN)
        waits = [door.account.next_look_secs for door in open_doors if door.supervisors]
        if len(open_doors) < len(self._doors) or any(
            door.waiting for door in open_doors
        ):
            waits.append(_SOON_SECS)
        ready = {fd for fd, _ in poll.poll(1000 * min(waits) if waits else None)}
        for door in open_doors:
            if door.end.fileno() in ready:
                self._hear(door)
        if self._inlet.fileno() in ready:
            self._admit()
        self._tidy()
        if not ready:
            self._look()

    # Doors, and what comes through them.

    def _admit(self) -> None:
        """Take the door of a scoring that is about to begin, from the process that watches over it."""
        room = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(4)
        scratch, ancillary, _, _ = self._inlet.recvmsg(_MAX_MESSAGE_BYTES, room)
        found = {kind: data for _, kind, data in ancillary}
        if socket.SCM_RIGHTS not in found:
            raise EOFError("nobody is left to send a door")
        door = socket.socket(fileno=struct.unpack("i", found[socket.SCM_RIGHTS][:4])[0])
        watcher = _CREDENTIALS.unpack(found[socket.SCM_CREDENTIALS])[0]
        self._doors.append(self._made(door, watcher, os.fsdecode(scratch)))

    def _made(self, door: socket.socket, watcher: int, scratch: str) -> _Door:
        limits = self._bounds.limits
        if (
            self._service.namespaced
        ):  # each scoring has a /tmp of its own, whose file system knows how full it is
            made = _Door(
                door,
                watcher,
                None,
                None,
                Account(limits, lambda: tmpfs_bytes(made.processes()), _WHOSE),
            )
            return made
        folder = tempfile.mkdtemp(prefix="llm_optimize-")
        both = [Scratch(path, limits.scratch_mb) for path in (scratch, folder)]
        return _Door(
            door,
            watcher,
            scratch,
            folder,
            Account(limits, lambda: sum(one.used_bytes() for one in both), _WHOSE),
        )

    def _hear(self, door: _Door) -> None:
        """Serve the request that came; whoever sends something else is not heard any more."""
        try:
            message, links, _, _ = socket.recv_fds(door.end, _MAX_MESSAGE_BYTES, 1)
            if not links:
                raise ValueError("no link, or the end")
        except (ValueError, OSError):
            self._close(door)
        else:
            self._answer(door, _Request(message, socket.socket(fileno=links[0])))

    def _answer(self, door: _Door, request: _Request) -> None:
        """Fork a keeper, or say that there are too many processes.

        A script is over for the scoring when its report has come, a moment before its keeper has ended: what was asked
        for in that moment waits, or a scoring that never had too many processes would be refused.
        """
        if not self._is_full(door):
            self._begin(door, request)
        elif len(door.waiting) < _MAX_WAITING and any(
            map(_is_left, door.supervisors.values())
        ):
            door.waiting.append(request)
        else:
            said = f"limit of {self._bounds.limits.processes} processes and threads reached by {_WHOSE} together"
            request.link.shutdown(
                socket.SHUT_RD
            )  # whoever is refused cannot take it for a keeper and speak to it
            _refuse(request.link, Breach("killed", f"{said} (processes)"))
            request.link.close()

    def _begin(self, door: _Door, request: _Request) -> None:
        fds: list[int] = []
        try:
            limits = narrow_limits(
                parse_limits(request.message), self._bounds, door.scratch
            )
            if not self._service.namespaced:
                limits, fds = pin_paths(limits)
            service = replace(
                self._service,
                limits=limits,
                view=visible_paths_for(limits, self._folders),
            )
            door.supervisors[self._fork_supervisor(door, request.link, service)] = (
                request.link
            )
        except (ValueError, TypeError, OSError):
            self._close(door)
        finally:
            for fd in fds:
                os.close(fd)

    def _is_full(self, door: _Door) -> bool:
        """Whether no further keeper with its child may come: of one script at a time every scoring is able."""
        whole = _SUPERVISOR_PROCESSES[self._service.namespaced]
        coming = sum(
            max(0, whole - 1 - len(descendants(supervisor)))
            for supervisor in door.supervisors
        )
        expected = count_threads(door.processes()) + coming + whole
        return bool(door.supervisors) and expected > self._bounds.limits.processes

    def _fork_supervisor(
        self, door: _Door, link: socket.socket, service: ChildSettings
    ) -> int:
        others = [self._inlet, *(one.end for one in self._doors)]
        for one in self._doors:
            others += [
                *one.supervisors.values(),
                *(waiting.link for waiting in one.waiting),
            ]

        def keep() -> None:
            for other in others:
                other.close()
            join_cgroups_of(door.watcher)
            if door.folder is not None:
                tempfile.tempdir = door.folder
            supervise(link, service)

        return fork(keep, lambda trouble: send_frame(link, f"no: {trouble}".encode()))

    # Looks and ends.

    def _look(self) -> None:
        """Close the door of a scoring that uses too much together with its scripts, and end these."""
        for door in self._doors:
            if door.closed_at is None and door.supervisors:
                breach = door.account.breach(door.processes())
                if breach is not None:
                    self._close(door)
                    for pid, link in door.supervisors.items():
                        _refuse(link, breach)
                        kill_tree(pid)

    @staticmethod
    def _close(door: _Door) -> None:
        door.end.close()
        for request in door.waiting:
            request.link.close()
        door.waiting.clear()
        door.closed_at = time.monotonic()

    def _tidy(self) -> None:
        """Forget keepers that ended; kill those that a door left behind and that do not end."""
        ended = set(reap())
        for door in self._doors:
            for pid in ended & door.supervisors.keys():
                door.supervisors.pop(pid).close()
            if (
                door.closed_at is not None
                and time.monotonic() > door.closed_at + _GRACE_SECS
            ):
                for pid in door.supervisors:
                    kill_tree(pid)
            if (
                door.closed_at is not None
                and not door.supervisors
                and door.folder is not None
            ):
                remove_scratch(door.folder)
        self._doors = [
            door for door in self._doors if door.supervisors or door.closed_at is None
        ]
        for door in self._doors:
            for request in list(door.waiting):
                door.waiting.remove(request)
                self._answer(door, request)


def _is_left(link: socket.socket) -> bool:
    """Whether the other side has hung up: the keeper of this link is about to end."""
    poll = select.poll()
    poll.register(link, 0)  # a hang-up is reported whatever is asked for
    return bool(poll.poll(0))


def _refuse(link: socket.socket, breach: Breach) -> None:
    """Tell whoever waits for a keeper, or for what it reports, which limit was broken."""
    with suppress(OSError):
        link.setblocking(
            False
        )  # of the other side, too, which is one that never reads or will not any more
        send_frame(link, json.dumps({"breach": asdict(breach)}).encode())
