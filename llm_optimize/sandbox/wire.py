"""What travels between the optimizer and a child: frames, capped before they are read; never a pickle towards us."""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from typing import Any

from ..records import Limits
from ..text import visible
from .data import TooMuchMemory, unpack
from .outcome import Outcome, OutcomeStatus

NONCE_BYTES = 16
_LENGTH = struct.Struct("!I")
_ENDLESS = (
    2**32 - 1
)  # the longest length that fits, and longer than any answer that is read
_KEPT_OUTPUT_BYTES = 32_768  # of the head, and of the tail
_MAX_GROWTH = 8  # of an answer's objects in memory, times what its JSON may take
_WORDS = (
    "message",
    "traceback",
)  # what an answer without a value has, beside whether memory ran out


def send_frame(sock: socket.socket, data: bytes, fds: tuple[int, ...] = ()) -> None:
    """Send a length and the data; open files travel with the length."""
    socket.send_fds(sock, [_LENGTH.pack(len(data))], list(fds))
    sock.sendall(data)


def receive_frame(sock: socket.socket, max_fds: int = 0) -> tuple[bytes, list[int]]:
    """Return the next frame and the files with it. Raises EOFError when the other side is gone."""
    head, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, max_fds)
    while len(head) < _LENGTH.size:
        head += _some(sock, _LENGTH.size - len(head))
    missing, parts = _LENGTH.unpack(head)[0], []
    while missing:
        parts.append(_some(sock, min(missing, 1 << 20)))
        missing -= len(parts[-1])
    return b"".join(parts), fds


def _some(sock: socket.socket, size: int) -> bytes:
    data = sock.recv(size)
    if not data:
        raise EOFError("the other side is gone")
    return data


def write_answer(fd: int, nonce: bytes, answer: bytes) -> None:
    """Write the one frame of a child: its length, the nonce of the call, the answer."""
    data = memoryview(
        _LENGTH.pack(min(len(nonce) + len(answer), _ENDLESS)) + nonce + answer
    )
    while data:
        data = data[os.write(fd, data) :]


def write_endless(fd: int) -> None:
    """Write, in place of an answer, that it is longer than any limit."""
    os.write(fd, _LENGTH.pack(_ENDLESS))


class Answer:
    """The answer of a child as it arrives: bounded before it is parsed, and trusted in nothing."""

    def __init__(self, nonce: bytes, limits: Limits, arrays: bool = False) -> None:
        """Take the nonce of the call, the limits that held for it, and whether numpy arrays may come."""
        self._nonce = nonce
        self._limits = limits
        self._arrays = arrays
        self._max_bytes = min(limits.result_mb * 2**20, _ENDLESS - 1)
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what was read; no more than one frame is kept."""
        if len(self._data) <= self._max_bytes + 2 * _LENGTH.size + NONCE_BYTES:
            self._data += data

    @property
    def complete(self) -> bool:
        """Whether nothing more is awaited: a whole frame, or one that is too long anyhow."""
        if len(self._data) < _LENGTH.size:
            return False
        return (
            self._size > self._max_bytes or len(self._data) >= self._size + _LENGTH.size
        )

    @property
    def empty(self) -> bool:
        """Whether nothing came at all."""
        return not self._data

    @property
    def _size(self) -> int:
        return int(_LENGTH.unpack_from(self._data)[0])

    def outcome(self) -> Outcome:
        """Return what the answer says."""
        if (
            len(self._data) < _LENGTH.size
            or len(self._data) - _LENGTH.size < self._size <= self._max_bytes
        ):
            return _protocol("the answer was cut off")
        if self._size > self._max_bytes:
            return _protocol(
                f"the answer is longer than the limit of {self._limits.result_mb} MB (result_mb)"
            )
        if len(self._data) > _LENGTH.size + self._size:
            return _protocol("more than one answer was written")
        body = memoryview(self._data)[_LENGTH.size :]  # no copy: it may be large
        if body[:NONCE_BYTES] != self._nonce:
            return _protocol("the answer was forged: something else than f wrote it")
        try:
            return self._read(
                unpack(
                    body[NONCE_BYTES:],
                    self._arrays,
                    _MAX_GROWTH * self._limits.result_mb * 2**20,
                )
            )
        except TooMuchMemory:
            said = f"the answer would take more than {_MAX_GROWTH} times the limit of {self._limits.result_mb} MB"
            return _protocol(
                f"{said} in memory (result_mb): it holds too many small values"
            )
        except (ValueError, RecursionError, TypeError, LookupError):
            return _protocol("the answer is malformed")

    def _read(self, answer: Any) -> Outcome:
        """Return what an authentic answer says; any code in the child may have written it, in any shape."""
        if not isinstance(answer, dict):
            return _protocol("the answer is malformed")
        if "value" in answer:
            return Outcome(OutcomeStatus.OK, value=answer["value"])
        if not all(isinstance(answer.get(name), str) for name in _WORDS):
            return _protocol("the answer has neither a value nor a message")
        message, lines = visible(answer["message"]), visible(answer["traceback"])
        if answer.get("memory") is True:
            limit = f"memory limit of {self._limits.memory_mb} MB reached (memory_mb)"
            return Outcome(OutcomeStatus.MEMORY, message=limit, traceback=lines)
        unusable = answer.get("unusable") is True
        return Outcome(
            OutcomeStatus.RAISED, message=message, traceback=lines, unusable=unusable
        )


def _protocol(message: str) -> Outcome:
    return Outcome(OutcomeStatus.PROTOCOL, message=message)


class Output:
    """What a child prints: the head and the tail are kept, everything is counted."""

    def __init__(self) -> None:
        self.total = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self.total += len(data)
        room = _KEPT_OUTPUT_BYTES - len(self._head)
        self._head += data[:room]
        if data[room:]:
            self._tail.append(data[room:])
            self._tail_bytes += len(self._tail[-1])
        while (
            self._tail and self._tail_bytes - len(self._tail[0]) >= _KEPT_OUTPUT_BYTES
        ):
            self._tail_bytes -= len(self._tail.popleft())

    def text(self) -> str:
        """Return the head and the tail, and how much between them is left out; control characters do nothing in it."""
        tail = b"".join(self._tail)[-_KEPT_OUTPUT_BYTES:]
        left_out = self.total - len(self._head) - len(tail)
        note = f"\n[... {left_out} bytes ...]\n" if left_out else ""
        return visible(
            self._head.decode("utf-8", "replace")
            + note
            + tail.decode("utf-8", "replace")
        )
