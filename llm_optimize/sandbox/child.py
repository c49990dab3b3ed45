"""The child's side: call f once, and write one answer in plain data. Runs in a process of its own."""

from __future__ import annotations

import asyncio
import errno
import importlib
import math
import os
import random
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ..records import Limits
from .data import NotPlainData, Packer, join, length_of
from .wire import write_answer, write_endless

_TRACEBACK_LINES = 12
_MAX_MESSAGE_CHARS = 2_000
_MAX_CPU_SECS = 10**9  # about what a limit of the system can hold
_NO_MEMORY = join(
    {"memory": True, "message": "MemoryError", "traceback": "MemoryError"}
)
_OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def call(
    func: Callable[[Any], Any],
    x: Any,
    result_fd: int,
    nonce: bytes,
    limits: Limits,
    arrays: bool,
    linger_secs: float = 0.0,
) -> NoReturn:
    """Call f, write the answer, and end this process at once, whatever threads and exit hooks there are.

    Of an answer that is longer than the limit for sure, only that is written: its JSON might take all the memory. A
    process that lingers after its answer is killed with its children: one that has ended cannot be asked for them.
    """
    try:
        try:
            value = func(x)
            value = asyncio.run(value) if type(value) is types.CoroutineType else value
            answer = _as_answer(value, limits, arrays)
        except NotPlainData as error:
            answer = join(
                {**_describe(TypeError(str(error)), limits), "unusable": True}
            )
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a candidate may raise anything
            answer = _as_failure(error, limits)
        _flush()
        if answer is None:
            write_endless(result_fd)
        else:
            write_answer(result_fd, nonce, answer)
        time.sleep(linger_secs)
    finally:
        os._exit(0)


def _as_answer(value: Any, limits: Limits, arrays: bool) -> bytes | None:
    """Return what f returned as an answer; None when it is too long."""
    packer = Packer(arrays)
    plain = packer.plain(value)
    return (
        packer.join({"value": plain})
        if length_of(plain) <= limits.result_mb * 2**20
        else None
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the candidate: nothing to flush


def _as_failure(error: BaseException, limits: Limits) -> bytes:
    """Return an exception as an answer; where no memory is left for that, only that there is none."""
    try:
        return join(_describe(error, limits))
    except MemoryError:
        error.__traceback__ = (
            None  # it holds the frames, and with them what fills the memory
        )
        return _NO_MEMORY


def _describe(error: BaseException, limits: Limits) -> dict[str, Any]:
    """Return an exception as text: its class, its message, and the lines of its traceback that are not ours."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # a hostile __str__
        text = f"(its text cannot be read: {type(second).__name__})"
    message = (
        f"{kind}: {text}"[:_MAX_MESSAGE_CHARS] if text else kind
    ) + _limit_behind(error, limits)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OWN_FILES)
    ]
    lines = "".join(traceback.format_list(frames)).splitlines()[-_TRACEBACK_LINES:]
    head = ["Traceback (most recent call last):"] if lines else []
    told = "\n".join([*head, *lines, message])
    return {
        "memory": isinstance(error, MemoryError),
        "message": message,
        "traceback": told,
    }


def _limit_behind(error: BaseException, limits: Limits) -> str:
    """Return which limit an error of the system may come from, in brackets; nothing for other errors."""
    number = (
        OSError.__dict__["errno"].__get__(error)
        if issubclass(type(error), OSError)
        else None
    )
    limit = {
        errno.EACCES: "the sandbox may forbid it: see limits.readable, writable and network",
        errno.EPERM: "the sandbox may forbid it: see limits.readable, writable and network",
        errno.EROFS: "the sandbox may forbid it: see limits.writable",
        errno.ENETUNREACH: "no network in this sandbox: see limits.network",
        errno.EFBIG: f"limit of {limits.file_mb} MB for a file: file_mb",
        errno.ENOSPC: f"limit of {limits.scratch_mb} MB for all files, or the disk is full: scratch_mb",
        errno.EMFILE: f"limit of {limits.open_files} open files: open_files",
        errno.EAGAIN: f"limit of {limits.processes} processes and threads: processes",
    }.get(number if type(number) is int else 0)
    return f" [{limit}]" if limit else ""


def prepare_process(
    scratch: str, limits: Limits, cpu_secs: int, seed: int, nproc: int | None
) -> None:
    """Make this process the candidate's: its streams, its scratch directory, its dice, its limits.

    `nproc` is how many processes its user has now, where that is known and counts. The hashes of texts are those of
    the warm process, always the same; PYTHONHASHSEED is for what the candidate starts.
    """
    os.environ["PYTHONHASHSEED"] = str(seed % 2**32)
    sys.stdout, sys.stderr = _lines_to(1), _lines_to(2)
    os.environ["TMPDIR"] = os.environ["TEMP"] = os.environ["TMP"] = scratch
    tempfile.tempdir = None
    random.seed(seed)
    if "numpy" in sys.modules:
        importlib.import_module("numpy.random").seed(
            seed % 2**32
        )  # numpy loads it only when it is used
    _limit(limits, cpu_secs, nproc)


def _lines_to(fd: int) -> TextIO:
    """Return a stream that writes each line at once: a process that is killed cannot flush what it printed."""
    return open(
        fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def cpu_limit_secs(limits: Limits, timeout_secs: float) -> int:
    """Return the CPU seconds of each process: the limit, or what all cores together can use in twice the deadline."""
    wanted = (
        limits.cpu_secs
        if limits.cpu_secs is not None
        else 2 * timeout_secs * (os.cpu_count() or 1)
    )
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
        top = value + (
            name == resource.RLIMIT_CPU
        )  # a second between SIGXCPU, which says why, and SIGKILL
        soft, top = (
            (value, top)
            if hard == resource.RLIM_INFINITY
            else (min(value, hard), min(top, hard))
        )
        try:
            resource.setrlimit(name, (soft, top))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS knows limits that it does not take
                raise
