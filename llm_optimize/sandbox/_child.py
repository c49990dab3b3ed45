"""The child's side: call f once, and write one answer in plain data. Runs in a process of its own."""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import os
import random
import sys
import tempfile
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ..records import Limits, Score
from ._wire import write_answer, write_endless

_MAX_DEPTH = 100  # of lists and dicts in an answer
_TRACEBACK_LINES = 12
_MAX_MESSAGE_CHARS = 2_000
_MAX_CPU_SECS = 10**9  # about what a limit of the system can hold
_NO_MEMORY = b'{"memory": true, "message": "MemoryError", "traceback": "MemoryError"}'
_OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def call(func: Callable[[Any], Any], x: Any, result_fd: int, nonce: bytes, max_bytes: int) -> NoReturn:
    """Call f, write the answer, and end this process at once, whatever threads and exit hooks there are.

    Of an answer that is longer than `max_bytes` for sure, only that is written: its JSON might take all the memory.
    """
    try:
        try:
            value = func(x)
            value = asyncio.run(value) if type(value) is types.CoroutineType else value
            plain = to_plain(value)
            answer = json.dumps({"value": plain}).encode() if _length(plain) <= max_bytes else None
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a candidate may raise anything
            answer = _as_answer(error)
        _flush()
        if answer is None:
            write_endless(result_fd)
        else:
            write_answer(result_fd, nonce, answer)
    finally:
        os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the candidate: nothing to flush


def _as_answer(error: BaseException) -> bytes:
    """Return an exception as an answer; where no memory is left for that, only that there is none."""
    try:
        return json.dumps(_describe(error)).encode()
    except MemoryError:
        error.__traceback__ = None  # it holds the frames, and with them what fills the memory
        return _NO_MEMORY


def _describe(error: BaseException) -> dict[str, Any]:
    """Return an exception as text: its class, its message, and the lines of its traceback that are not ours."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # a hostile __str__
        text = f"(its text cannot be read: {type(second).__name__})"
    message = f"{kind}: {text}"[:_MAX_MESSAGE_CHARS] if text else kind
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OWN_FILES)]
    lines = "".join(traceback.format_list(frames)).splitlines()[-_TRACEBACK_LINES:]
    head = ["Traceback (most recent call last):"] if lines else []
    told = "\n".join([*head, *lines, message])
    return {"memory": isinstance(error, MemoryError), "message": message, "traceback": told}


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return a value as plain JSON data, looking at exact types only: no method of a foreign object is called.

    Raises TypeError for anything else.
    """
    if depth > _MAX_DEPTH:
        raise TypeError(f"f returned data nested deeper than {_MAX_DEPTH} levels")
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if kind in (list, tuple):
        return [to_plain(part, depth + 1) for part in value]
    if kind is dict and all(type(key) is str for key in value):
        return {key: to_plain(part, depth + 1) for key, part in value.items()}
    if kind is Score:
        return {
            "score": value.value,
            "feedback": value.feedback,
            "metrics": to_plain(dict(value.metrics), depth + 1),
            "instances": to_plain(dict(value.instances), depth + 1),
        }
    return _plain_number(value)


def _length(plain: Any) -> int:
    """Return how many bytes plain data takes as JSON at least."""
    if isinstance(plain, str):
        return len(plain)
    if isinstance(plain, dict):
        return sum(len(name) + _length(part) for name, part in plain.items())
    return 1 + sum(map(_length, plain)) if isinstance(plain, list) else 1


def _plain_number(value: Any) -> Any:
    """Return a numpy scalar or 0-d array as a number. Raises TypeError for everything else."""
    numpy = sys.modules.get("numpy")
    kind = type(value)
    if numpy is not None and (kind is numpy.ndarray or kind in numpy.sctypeDict.values()):
        if value.shape == () and value.dtype.kind in "biuf":
            return value.item()
        if kind is numpy.str_:
            return str.__str__(value)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    raise TypeError(f"f returned a value of type {name}: return a number, or (number, text), or a dict of plain data")


def settle(scratch: str, limits: Limits, cpu_secs: int, seed: int, nproc: int | None) -> None:
    """Make this process the candidate's: its streams, its scratch directory, its dice, its limits.

    `nproc` is how many processes its user has now, where that is known and counts.
    """
    sys.stdout, sys.stderr = _lines_to(1), _lines_to(2)
    os.environ["TMPDIR"] = os.environ["TEMP"] = os.environ["TMP"] = scratch
    tempfile.tempdir = None
    random.seed(seed)
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random").seed(seed % 2**32)  # numpy loads it only when it is used
    _limit(limits, cpu_secs, nproc)


def _lines_to(fd: int) -> TextIO:
    """Return a stream that writes each line at once: a process that is killed cannot flush what it printed."""
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def cpu_limit(limits: Limits, timeout_secs: float) -> int:
    """Return the CPU seconds of each process: the limit, or what all cores together can use in twice the deadline."""
    wanted = limits.cpu_secs if limits.cpu_secs is not None else 2 * timeout_secs * (os.cpu_count() or 1)
    return math.ceil(min(wanted, _MAX_CPU_SECS))


def _limit(limits: Limits, cpu_secs: int, nproc: int | None) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_mb * 2**20,
        resource.RLIMIT_AS: limits.memory_mb * 2**20,
        resource.RLIMIT_CPU: cpu_secs,
    }
    if nproc is not None:
        wanted[resource.RLIMIT_NPROC] = nproc + limits.processes
    for name, value in wanted.items():
        _, hard = resource.getrlimit(name)
        top = value + (name == resource.RLIMIT_CPU)  # a second between SIGXCPU, which says why, and SIGKILL
        soft, top = (value, top) if hard == resource.RLIM_INFINITY else (min(value, hard), min(top, hard))
        try:
            resource.setrlimit(name, (soft, top))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS knows limits that it does not take
                raise
