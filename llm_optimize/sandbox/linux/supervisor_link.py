"""Link to a supervisor: the optimizer's end of the socket to one supervisor process."""

from __future__ import annotations

import json
import logging
import select
import socket
import struct
from contextlib import suppress
from typing import Protocol

from .cgroups import Cgroup
from .process_tree import kill_tree

_log = logging.getLogger(__name__)
REPORT_SECS = 2.5  # for a supervisor to kill all and report; then it is replaced
_READY_SECS = 10.0  # for a supervisor and a child to be forked, on a busy machine
_LENGTH_BYTES = 4
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid of a sender: unix(7)


class SupervisorSource(Protocol):
    """Where supervisors come from: a fork server, or the script broker."""

    # Mechanisms around their children beside Landlock, as people read it.
    isolation: tuple[str, ...]

    def open_link(self) -> socket.socket:
        """Return the link to a new supervisor; nobody answers on it when the source is gone."""

    def works(self) -> bool:
        """Whether supervisors come when they are asked for."""

    def owns(self, pid: int) -> bool:
        """Whether this is a process below the source, and not another that has its number now."""

    def close(self) -> None:
        """Let go of the source."""


class Supervisor:
    """The optimizer's end of the link to a supervisor.

    Args:
        source: asked for a new supervisor where no link is given.
        cgroup: the group that the supervisor is put into.
        link: to a supervisor that exists.
    """

    def __init__(
        self,
        source: SupervisorSource | None,
        cgroup: Cgroup | None,
        link: socket.socket | None = None,
    ) -> None:
        self.source = source
        self.cgroup = cgroup
        self.usable = True
        self.link = link or source.open_link()  # type: ignore[union-attr]  # one is given
        # The kernel then says which process sends a frame, by the number that it has here.
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.refusal = ""  # what the other side sent instead of an expected word
        # The limit for which it refuses to work.
        self.breach: dict[str, str] | None = None
        self._has_greeted = False
        self._pid: int | None = None  # of the process that watches over the next child

    def ready(self) -> bool:
        """Wait until the supervisor has a child ready for work; return whether it has."""
        self.link.settimeout(_READY_SECS)
        try:
            if not self._has_greeted:
                pid = self._receive_word(b"supervisor")
                # Before the "G" it forks nothing, so that all its descendants are in the group.
                if self.cgroup is not None:
                    self.cgroup.add(pid)
                self.link.sendall(b"G")
                self._has_greeted = True
            self._pid = self._receive_word(b"ready")
        except (EOFError, OSError):
            self.usable = False
            return False
        self.link.settimeout(REPORT_SECS)
        return True

    def _receive_word(self, expected: bytes) -> int:
        """Return the id of the process that sends the expected word, whatever its namespace."""
        room = socket.CMSG_SPACE(CREDENTIALS.size)
        head, ancillary, _, _ = self.link.recvmsg(_LENGTH_BYTES, room)
        if len(head) < _LENGTH_BYTES:
            raise EOFError("the supervisor is gone")
        word = self.link.recv(int.from_bytes(head, "big"))
        if word != expected:
            self.refuse(word)
            raise EOFError("the supervisor cannot work")
        _, _, data = ancillary[0]
        pid, _, _ = CREDENTIALS.unpack(data)
        return int(pid)

    def refuse(self, word: bytes) -> None:
        """Keep why the other side refuses to work: `no: ...`, or JSON that names a limit."""
        self.usable = False
        with suppress(ValueError, TypeError, LookupError):
            breach = json.loads(word)["breach"]
            self.breach = {
                "status": str(breach["status"]),
                "message": str(breach["message"]),
            }
            return
        self.refusal = word.decode("utf-8", "replace").removeprefix("no: ")
        _log.warning("a supervisor of the sandbox says: %s", self.refusal)

    def kill(self) -> None:
        """Kill a supervisor that does not answer; its fork server sweeps behind it.

        A candidate may have stopped it by a signal.
        """
        self.usable = False
        if self._pid is None or self.source is None:
            return
        if self.source.owns(self._pid):
            kill_tree(self._pid)

    def alive(self) -> bool:
        """Whether the other end is there."""
        poll = select.poll()
        poll.register(self.link, select.POLLRDHUP)
        return not poll.poll(0)

    def hang_up(self) -> None:
        """Make the supervisor kill its child and end; a call that waits for it returns."""
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def discard(self) -> None:
        """Let go of the supervisor; without the link it ends by itself."""
        self.link.close()
        if self.cgroup is not None:
            self.cgroup.remove()
