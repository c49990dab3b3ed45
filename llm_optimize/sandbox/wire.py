"""Frames between the optimizer and the sandbox's processes, and the answer of a child.

A frame is a length and so many bytes. What a child sends is bounded before it is read, never
unpickled, and believed only if it carries the nonce of its call.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import deque
from typing import Any

from ..records import Limits
from ..text import visible
from .blame import CALL, IMPORT
from .data import TooMuchMemory, unpack
from .outcome import Outcome, OutcomeStatus

NONCE_BYTES = 16
_LENGTH = struct.Struct("!I")
_MAX_RECEIVE_BYTES = 1 << 20  # at a time
# The longest length that fits; longer than any answer that is read.
_ENDLESS = 2**32 - 1
_KEPT_OUTPUT_BYTES = 32_768  # of the head, and of the tail
# An answer's objects may take so many times the memory that its JSON may take.
_MAX_GROWTH = 8
_TEXT_FIELDS = ("message", "traceback")  # of an answer without a value


def send_frame(sock: socket.socket, data: bytes, fds: tuple[int, ...] = ()) -> None:
    """Send a length and the data; open files travel with the length."""
    socket.send_fds(sock, [_LENGTH.pack(len(data))], list(fds))
    sock.sendall(data)


def receive_frame(sock: socket.socket, max_fds: int = 0) -> tuple[bytes, list[int]]:
    """Return the next frame and the files with it. Raises EOFError when the other side is gone."""
    head, fds, _, _ = socket.recv_fds(sock, _LENGTH.size, max_fds)
    while len(head) < _LENGTH.size:
        head += _receive_some(sock, _LENGTH.size - len(head))
    missing = _LENGTH.unpack(head)[0]
    parts = []
    while missing:
        part = _receive_some(sock, min(missing, _MAX_RECEIVE_BYTES))
        parts.append(part)
        missing -= len(part)
    return b"".join(parts), fds


def _receive_some(sock: socket.socket, max_bytes: int) -> bytes:
    data = sock.recv(max_bytes)
    if not data:
        raise EOFError("the other side is gone")
    return data


def write_answer(fd: int, nonce: bytes, answer: bytes) -> None:
    """Write the one frame of a child: its length, the nonce of the call, the answer."""
    length = min(len(nonce) + len(answer), _ENDLESS)
    data = memoryview(_LENGTH.pack(length) + nonce + answer)
    while data:
        written = os.write(fd, data)
        data = data[written:]


def write_endless(fd: int) -> None:
    """Write, in place of an answer, that it is longer than any limit."""
    os.write(fd, _LENGTH.pack(_ENDLESS))


class Answer:
    """The answer of a child as it arrives: bounded before it is parsed, and trusted in nothing.

    Args:
        nonce: of the call, `NONCE_BYTES` long.
        limits: that held for the call.
        arrays: whether numpy arrays may come.
    """

    def __init__(self, nonce: bytes, limits: Limits, *, arrays: bool = False) -> None:
        self._nonce = nonce
        self._limits = limits
        self._arrays = arrays
        self._max_bytes = min(limits.result_mb * 2**20, _ENDLESS - 1)
        self._data = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes that were read; not much more than one frame is kept."""
        if len(self._data) <= self._max_bytes + 2 * _LENGTH.size + NONCE_BYTES:
            self._data += data

    @property
    def complete(self) -> bool:
        """Whether nothing more is awaited: a whole frame is here, or one that is too long."""
        if len(self._data) < _LENGTH.size:
            return False
        if self._size > self._max_bytes:
            return True
        return len(self._data) >= self._size + _LENGTH.size

    @property
    def empty(self) -> bool:
        """Whether nothing came at all."""
        return not self._data

    @property
    def _size(self) -> int:
        return int(_LENGTH.unpack_from(self._data)[0])

    def outcome(self) -> Outcome:
        """Return the outcome that the answer describes; `protocol` for one that is not believed."""
        if len(self._data) < _LENGTH.size:
            return _protocol("the answer was cut off")
        received = len(self._data) - _LENGTH.size
        if received < self._size <= self._max_bytes:
            return _protocol("the answer was cut off")
        limit = f"the limit of {self._limits.result_mb} MB"
        if self._size > self._max_bytes:
            return _protocol(f"the answer is longer than {limit} (result_mb)")
        if received > self._size:
            return _protocol("more than one answer was written")
        body = memoryview(self._data)[_LENGTH.size :]  # no copy: it may be large
        if body[:NONCE_BYTES] != self._nonce:  # wall: the nonce of a call
            return _protocol("the answer was forged: something else than f wrote it")
        max_memory_bytes = _MAX_GROWTH * self._limits.result_mb * 2**20
        try:
            answer = unpack(
                body[NONCE_BYTES:],
                arrays=self._arrays,
                max_memory_bytes=max_memory_bytes,
            )
            return self._read(answer)
        except TooMuchMemory:
            return _protocol(
                f"the answer would take more than {_MAX_GROWTH} times {limit} in memory "
                "(result_mb): it holds too many small values"
            )
        except (ValueError, RecursionError, TypeError, LookupError):
            return _protocol("the answer is malformed")

    def _read(self, answer: Any) -> Outcome:
        """Return the outcome in an authentic answer.

        Any code in the child can read the nonce, so the answer may still have any shape.
        """
        if not isinstance(answer, dict):
            return _protocol("the answer is malformed")
        if "value" in answer:
            return Outcome(OutcomeStatus.OK, value=answer["value"])
        if not all(isinstance(answer.get(name), str) for name in _TEXT_FIELDS):
            return _protocol("the answer has neither a value nor a message")
        message = visible(answer["message"])
        lines = visible(answer["traceback"])
        if answer.get("memory") is True:
            limit = f"memory limit of {self._limits.memory_mb} MB reached (memory_mb, or --memory)"
            return Outcome(OutcomeStatus.MEMORY, message=limit, traceback=lines)
        fault = answer.get("fault")
        return Outcome(
            OutcomeStatus.RAISED,
            message=message,
            traceback=lines,
            unusable=answer.get("unusable") is True,
            fault=fault if fault in (CALL, IMPORT) else "",
        )


def _protocol(message: str) -> Outcome:
    return Outcome(OutcomeStatus.PROTOCOL, message=message)


class Output:
    """The output of a child: head and tail are kept, and everything is counted in `total`."""

    def __init__(self) -> None:
        self.total = 0
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0

    def feed(self, data: bytes) -> None:
        """Add bytes that were read."""
        self.total += len(data)
        room = _KEPT_OUTPUT_BYTES - len(self._head)
        self._head += data[:room]
        rest = data[room:]
        if rest:
            self._tail.append(rest)
            self._tail_bytes += len(rest)
        while self._tail:
            oldest_bytes = len(self._tail[0])
            if self._tail_bytes - oldest_bytes < _KEPT_OUTPUT_BYTES:
                break
            self._tail.popleft()
            self._tail_bytes -= oldest_bytes

    def text(self) -> str:
        """Return head and tail, with a note of how much is left out between them.

        Control characters are made visible, so that they do nothing to a terminal.
        """
        tail = b"".join(self._tail)[-_KEPT_OUTPUT_BYTES:]
        left_out = self.total - len(self._head) - len(tail)
        note = f"\n[... {left_out} bytes ...]\n" if left_out else ""
        head = self._head.decode("utf-8", "replace")
        return visible(head + note + tail.decode("utf-8", "replace"))
