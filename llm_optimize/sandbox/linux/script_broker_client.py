"""Script broker, seen from inside a scoring: where f asks for supervisors of scripts."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict

from ...records import Limits

# FD:INODE:LEVEL, in the environment of a child.
BROKER_VARIABLE = "LLM_OPTIMIZE_SCRIPT_BROKER"


class ScriptBroker:
    """The socket that leads from a scoring to the script broker of its sandbox.

    Args:
        fd: of the socket; it stays open.
        limits: that are asked for; the broker narrows them to those of the scoring.
    """

    isolation: tuple[str, ...] = ()  # the scripts have that of the scoring

    def __init__(self, fd: int, limits: Limits) -> None:
        self._fd = fd
        self._limits = limits

    def open_link(self) -> socket.socket:
        """Return the link to a new supervisor; nobody answers on it when the broker is gone."""
        message = json.dumps(asdict(self._limits)).encode()
        ours, theirs = socket.socketpair()
        # A copy of the descriptor is wrapped, so that closing the wrapper leaves the socket open.
        with theirs, suppress(OSError):
            with socket.socket(fileno=os.dup(self._fd)) as broker:
                socket.send_fds(broker, [message], [theirs.fileno()])
        return ours

    def works(self) -> bool:
        """Whether it is worth asking again: a broker that is gone stays so."""
        return True

    def owns(self, pid: int) -> bool:
        """Whether a process may be killed from here: none, the broker does it."""
        return False

    def close(self) -> None:
        """Do nothing: the socket belongs to the scoring."""


def find_script_broker(limits: Limits) -> tuple[ScriptBroker, str] | None:
    """Return the broker of the scoring that this code runs in, and its level; None outside of one.

    The inode tells whether the descriptor is still the socket that the variable speaks of.
    """
    with suppress(ValueError, OSError):
        fd, inode, level = os.environ.get(BROKER_VARIABLE, "").split(":")
        if os.fstat(int(fd)).st_ino == int(inode):
            return ScriptBroker(int(fd), limits), level
    return None
