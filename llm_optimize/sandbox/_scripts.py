"""The warm process of scripts (Linux): for code that is judged. It never holds f, nor what f knows.

It is forked off before f is loaded, with the installed packages that f imports. Each scoring has a door to it, by which
f asks for keepers; when the scoring is over, its door closes and they end.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NoReturn

from ..records import Limits
from ._keeper import become_subreaper, fork, kill_with_kin, reap, sweep
from ._slot import Service, serve_link
from ._view import View, view_of

_MAX_MESSAGE_BYTES = 65_536
_GRACE_SECS = 0.3  # for keepers to end by themselves


@dataclass
class _Door:
    """One scoring's door, and the keepers that came of it."""

    socket: socket.socket
    keepers: set[int] = field(default_factory=set)
    closed_at: float | None = None


class ScriptServer:
    """Serves doors until everybody who could send one is gone."""

    def __init__(self, inlet: socket.socket, service: Service, folders: list[str]) -> None:
        """Take where doors arrive, what is served by default, and the folders of installed packages."""
        self._inlet = inlet
        self._service = service
        self._folders = folders
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
        """Wait for the next message or end, and see to it."""
        open_doors = [door for door in self._doors if door.closed_at is None]
        poll = select.poll()
        for end in (self._inlet, *(door.socket for door in open_doors)):
            poll.register(end, select.POLLIN)
        closing = len(open_doors) < len(self._doors)
        ready = {fd for fd, _ in poll.poll(50 if closing else None)}
        for door in open_doors:
            if door.socket.fileno() in ready:
                self._hear(door)
        if self._inlet.fileno() in ready:
            self._admit()
        self._tidy()

    def _admit(self) -> None:
        _, fds, _, _ = socket.recv_fds(self._inlet, _MAX_MESSAGE_BYTES, 1)
        if not fds:
            raise EOFError("nobody is left to send a door")
        self._doors.append(_Door(socket.socket(fileno=fds[0])))

    def _hear(self, door: _Door) -> None:
        """Fork a keeper for the link that came; whoever sends something else is not heard any more."""
        try:
            message, fds, _, _ = socket.recv_fds(door.socket, _MAX_MESSAGE_BYTES, 1)
            if not fds:
                raise ValueError("no link, or the end")
            with socket.socket(fileno=fds[0]) as link:
                limits = Limits(**json.loads(message))
                service = replace(self._service, limits=limits, view=self._view(limits))
                door.keepers.add(self._fork_keeper(link, service))
        except (ValueError, TypeError, OSError):
            door.socket.close()
            door.closed_at = time.monotonic()

    def _view(self, limits: Limits) -> View:
        return view_of(limits, self._folders)

    def _fork_keeper(self, link: socket.socket, service: Service) -> int:
        others: list[Callable[[], None]] = [self._inlet.close, *(door.socket.close for door in self._doors)]

        def keep() -> None:
            for close in others:
                close()
            serve_link(link, service)

        return fork(keep)

    def _tidy(self) -> None:
        """Forget keepers that ended; kill those that a door left behind and that do not end."""
        ended = set(reap())
        for door in self._doors:
            door.keepers -= ended
            if door.closed_at is not None and time.monotonic() > door.closed_at + _GRACE_SECS:
                for pid in door.keepers:
                    kill_with_kin(pid)
        self._doors = [door for door in self._doors if door.keepers or door.closed_at is None]
