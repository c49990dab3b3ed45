"""The child's side: call f once, and write one answer in plain data. Runs in a process of its own."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from ..records import Limits, Score
from ._wire import write_answer

_MAX_DEPTH = 100  # of lists and dicts in an answer
_TRACEBACK_LINES = 12
_MAX_MESSAGE_CHARS = 2_000
_OWN_FILES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def call(func: Callable[[Any], Any], x: Any, result_fd: int, nonce: bytes) -> NoReturn:
    """Call f, write the answer, and end this process at once, whatever threads and exit hooks there are."""
    try:
        try:
            value = func(x)
            value = asyncio.run(value) if inspect.iscoroutine(value) else value
            answer = json.dumps({"value": to_plain(value)}).encode()
        except BaseException as error:  # SystemExit and KeyboardInterrupt, too: a candidate may raise anything
            answer = json.dumps(_describe(error)).encode()
        _flush()
        write_answer(result_fd, nonce, answer)
    finally:
        os._exit(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the candidate: nothing to flush


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
    return {"error": kind, "message": message, "traceback": "\n".join([*head, *lines, message])}


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


def settle(scratch: str, limits: Limits, seed: int, nproc: int | None) -> None:
    """Make this process the candidate's: its scratch directory, its dice, its limits. `nproc` of the user, if known."""
    os.environ["TMPDIR"] = os.environ["TEMP"] = os.environ["TMP"] = scratch
    tempfile.tempdir = None
    random.seed(seed)
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed(seed % 2**32)
    _limit(limits, nproc)


def _limit(limits: Limits, nproc: int | None) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.file_mb * 2**20,
        resource.RLIMIT_AS: limits.memory_mb * 2**20,
    }
    if limits.cpu_secs is not None:
        wanted[resource.RLIMIT_CPU] = max(1, round(limits.cpu_secs))
    if nproc is not None:
        wanted[resource.RLIMIT_NPROC] = nproc + limits.processes
    for name, value in wanted.items():
        _, hard = resource.getrlimit(name)
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(name, (bound, bound))
        except (ValueError, OSError):
            if sys.platform == "linux":  # macOS knows limits that it does not take
                raise
