"""Child process of one scoring, on every system: it calls f once and writes one answer.

The order is: `prepare_process` sets limits, streams and seeds; `answer_call` calls f, writes the
answer as plain data and ends the process. A candidate runs in here, so nothing after the call of f
relies on what it left behind.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import math
import os
import random
import re
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ..records import Limits
from .blame import fault_of
from .data import NotPlainData, Packer, join, length_of
from .wire import write_answer, write_endless

_TRACEBACK_LINES = 12
_MAX_MESSAGE_CHARS = 2_000
_MAX_CPU_SECS = 10**9  # about what a limit of the system can hold
_NO_MEMORY = join(
    {"memory": True, "message": "MemoryError", "traceback": "MemoryError"}
)
_KEY_OF_API = re.compile(r"\b[A-Z][A-Z0-9_]*_(?:API_)?(?:KEY|TOKEN)\b")
_OUR_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_MAYBE_FORBIDDEN = (
    "the sandbox may forbid it: limits.readable, writable and network allow more, as do "
    "--readable, --writable and --network"
)


def answer_call(
    func: Callable[[Any], Any],
    x: Any,
    *,
    result_fd: int,
    nonce: bytes,
    limits: Limits,
    arrays: bool,
    linger_secs: float = 0.0,
) -> NoReturn:
    """Call f, write the answer, and end this process at once, without any exit hooks.

    Args:
        func: the user's f.
        x: the candidate, as plain data.
        result_fd: the file that the answer is written to.
        nonce: of the call; it goes with the answer.
        limits: of the scoring. An answer that is too long for sure is replaced by a note that it
        is:
            its JSON might take all the memory.
        arrays: whether numpy arrays may be in the value.
        linger_secs: how long to live on after the answer. Where the parent kills this process with
            its children, it must find it alive: one that has ended cannot be asked for them.
    """
    try:
        try:
            value = func(x)
            if type(value) is types.CoroutineType:
                value = asyncio.run(value)
            answer = _as_answer(value, limits, arrays=arrays)
        except NotPlainData as error:
            described = _describe(TypeError(str(error)), limits)
            answer = join({**described, "unusable": True})
        except BaseException as error:
            # SystemExit and KeyboardInterrupt, too: a candidate may raise anything.
            answer = _as_failure(error, x, limits)
        _flush()
        if answer is None:
            write_endless(result_fd)
        else:
            write_answer(result_fd, nonce, answer)
        time.sleep(linger_secs)
    finally:
        os._exit(0)


def _as_answer(value: Any, limits: Limits, *, arrays: bool) -> bytes | None:
    """Return what f returned as an answer; None when it is too long."""
    packer = Packer(arrays=arrays)
    plain = packer.plain(value)
    if length_of(plain) > limits.result_mb * 2**20:  # wall: the length of an answer
        return None
    return packer.join({"value": plain})


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the candidate: nothing to flush


def _as_failure(error: BaseException, x: Any, limits: Limits) -> bytes:
    """Return an exception as an answer; without memory for that, only that there is none."""
    try:
        return join({**_describe(error, limits), "fault": fault_of(error, x)})
    except MemoryError:
        # The traceback holds the frames, and with them what fills the memory.
        error.__traceback__ = None
        return _NO_MEMORY


def _describe(error: BaseException, limits: Limits) -> dict[str, Any]:
    """Return an exception as text: its class, its message, and the traceback without our frames."""
    kind = type(error).__name__
    try:
        text = str(error)
    except BaseException as second:  # a hostile __str__
        text = f"(its text cannot be read: {type(second).__name__})"
    message = kind
    if text:
        message = f"{kind}: {text}"[:_MAX_MESSAGE_CHARS]
    message += _limit_behind(error, limits) + _missing_variable(error, text, limits)
    frames = []
    for frame in traceback.extract_tb(error.__traceback__):
        if not frame.filename.startswith(_OUR_PACKAGE):
            frames.append(frame)
    lines = "".join(traceback.format_list(frames)).splitlines()[-_TRACEBACK_LINES:]
    if lines:
        lines.insert(0, "Traceback (most recent call last):")
    return {
        "memory": isinstance(error, MemoryError),
        "message": message,
        "traceback": "\n".join([*lines, message]),
    }


def _limit_behind(error: BaseException, limits: Limits) -> str:
    """Return the limit that an error of the system may come from, in brackets; "" for others."""
    if isinstance(error, MemoryError):
        return f" [memory limit of {limits.memory_mb} MB reached: limits.memory_mb or --memory]"
    number = None
    if issubclass(type(error), OSError):
        # The slot of OSError itself: a subclass may define `errno` as anything.
        number = OSError.__dict__["errno"].__get__(error)
    if type(number) is not int:
        return ""
    limit = {
        errno.EACCES: _MAYBE_FORBIDDEN,
        errno.EPERM: _MAYBE_FORBIDDEN,
        errno.EROFS: "the sandbox may forbid it: limits.writable or --writable allows it",
        errno.ENETUNREACH: "no network in this sandbox: limits.network or --network allows it",
        errno.EFBIG: f"limit of {limits.file_mb} MB for a file: file_mb",
        errno.ENOSPC: f"limit of {limits.scratch_mb} MB for all files, "
        "or the disk is full: scratch_mb",
        errno.EMFILE: f"limit of {limits.open_files} open files: open_files",
        errno.EAGAIN: f"limit of {limits.processes} processes and threads: processes",
    }.get(number)
    return f" [{limit}]" if limit else ""


def _missing_variable(error: BaseException, text: str, limits: Limits) -> str:
    """Return how f gets an environment variable that it missed, in brackets; "" for others.

    It is one that `os.environ[...]` did not find, or a key that a client of an API asks for.
    """
    name = ""
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, KeyError) and frames:
        in_environ = frames[-1].filename == os.__file__ or "<frozen os>" in str(
            frames[-1]
        )
        if in_environ:
            name = text.strip("'")
    else:
        found = _KEY_OF_API.search(text)
        name = found[0] if found else ""
    if not name or name in os.environ:
        return ""
    if name in limits.env:
        return f" [{name} is let through but not set: export it where the run begins]"
    return f" [f sees only the variables that limits.env or --env names: --env {name}]"


def prepare_process(
    scratch: str, limits: Limits, cpu_secs: int, seed: int, user_processes: int | None
) -> None:
    """Make this process the candidate's: its streams, scratch directory, random seeds and limits.

    Args:
        scratch: path of the scratch directory.
        limits: of the scoring.
        cpu_secs: of each process, as `cpu_limit_secs` returns it.
        seed: of random and numpy.random. The hashes of texts are those of the process that this one
            was forked from, always the same; PYTHONHASHSEED is for what the candidate starts.
        user_processes: how many processes its user has now, to which the limit is added; None where
            that is not known or not counted.
    """
    os.environ["PYTHONHASHSEED"] = str(seed % 2**32)
    sys.stdout, sys.stderr = _line_buffered(1), _line_buffered(2)
    os.environ["TMPDIR"] = os.environ["TEMP"] = os.environ["TMP"] = scratch
    tempfile.tempdir = None
    random.seed(seed)  # wall: a seed for each scoring
    if "numpy" in sys.modules:
        # numpy loads this module only when it is used.
        importlib.import_module("numpy.random").seed(seed % 2**32)
    _set_limits(limits, cpu_secs, user_processes)


def _line_buffered(fd: int) -> TextIO:
    """Return a stream that writes each line at once: a killed process cannot flush its output."""
    return open(
        fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def cpu_limit_secs(limits: Limits, timeout_secs: float) -> int:
    """Return the CPU seconds of each process.

    By default, what all cores together can use in twice the deadline.
    """
    wanted = limits.cpu_secs
    if wanted is None:
        wanted = 2 * timeout_secs * (os.cpu_count() or 1)
    return math.ceil(min(wanted, _MAX_CPU_SECS))


def _set_limits(limits: Limits, cpu_secs: int, user_processes: int | None) -> None:
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
    if user_processes is not None:
        wanted[resource.RLIMIT_NPROC] = user_processes + limits.processes
    for name, value in wanted.items():
        soft, hard = value, value
        if name == resource.RLIMIT_CPU:
            hard += 1  # a second between SIGXCPU, which says why, and SIGKILL
        _, present = resource.getrlimit(name)
        if present != resource.RLIM_INFINITY:
            soft, hard = min(soft, present), min(hard, present)
        try:
            resource.setrlimit(name, (soft, hard))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS knows limits that it does not take
                raise
