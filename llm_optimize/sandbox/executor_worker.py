"""Calls of f by an executor's workers: what is sent there, and the sandboxes they keep open.

f may be large, so it travels once: the first parcel carries it, later ones only its digest, and
each worker process keeps the sandboxes of the last few digests open.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import FunctionUnusable
from ..records import Limits
from .outcome import Call, Outcome, Sandbox
from .pickling import pickle_function, unpickle_function

_MAX_IDLE = 4  # sandboxes of one worker that no call is in
Opener = Callable[[str, Callable[..., Any], Limits, Sequence[str]], Sandbox]


@dataclass(frozen=True)
class Parcel:
    """What a worker needs to open a sandbox for f; it keeps the sandbox for later calls."""

    digest: str  # of f and all that the sandbox depends on
    level: str
    limits: Limits
    # Files that cannot be opened where the level can hide files.
    hidden: tuple[str, ...]
    payload: bytes | None = field(repr=False)  # f, pickled; None: known by its digest

    def empty(self) -> Parcel:
        """Return the parcel without f."""
        return replace(self, payload=None)


def make_parcel(
    func: Callable[..., Any], level: str, limits: Limits, hidden: Sequence[str]
) -> Parcel:
    """Return what is sent to workers. Raises FunctionUnusable when f cannot be pickled."""
    payload = pickle_function(func)
    digest = hashlib.blake2b(payload, digest_size=16)
    digest.update(repr((level, limits, tuple(hidden))).encode())
    return Parcel(digest.hexdigest(), level, limits, tuple(hidden), payload)


def call_in_worker(
    opener: Opener, parcel: Parcel, x: Any, timeout_secs: float, seed: int
) -> Outcome | None:
    """Call f(x) in a sandbox of this worker process; the deadline is kept here.

    Returns None when the parcel is empty and its sandbox is not open here: send it again with f.
    Raises FunctionUnusable or SandboxUnavailable when no sandbox can be opened here.
    """
    with _pool_of(os.getpid()).borrow(opener, parcel) as sandbox:
        if sandbox is None:
            return None
        return sandbox.run(Call(x, timeout_secs, seed))


@dataclass
class _Entry:
    """One sandbox, and how many calls are in it."""

    sandbox: Sandbox
    users: int = 0


class SandboxPool:
    """The open sandboxes of one process, least recently used first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    @contextmanager
    def borrow(self, opener: Opener, parcel: Parcel) -> Iterator[Sandbox | None]:
        """Yield the sandbox of a parcel, opened if need be; None if it is not here and f is not."""
        entry = self._take(opener, parcel)
        try:
            yield None if entry is None else entry.sandbox
        finally:
            if entry is not None:
                self._give_back(entry)

    def _take(self, opener: Opener, parcel: Parcel) -> _Entry | None:
        with self._lock:
            entry = self._entries.pop(parcel.digest, None)
            if entry is None:
                if parcel.payload is None:
                    return None
                func = _load(parcel.payload)
                hidden = [path for path in parcel.hidden if os.path.exists(path)]
                entry = _Entry(opener(parcel.level, func, parcel.limits, hidden))
            self._entries[parcel.digest] = entry
            entry.users += 1
            return entry

    def _give_back(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            idle = [digest for digest, one in self._entries.items() if not one.users]
            surplus = max(0, len(self._entries) - _MAX_IDLE)
            closing = [self._entries.pop(digest) for digest in idle[:surplus]]
        for old in closing:
            old.sandbox.close()

    def close(self) -> None:
        """End all calls and close all sandboxes."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries = {}
        for entry in entries:
            entry.sandbox.close()


def _load(payload: bytes) -> Callable[..., Any]:
    try:
        return unpickle_function(payload, ())
    except Exception as error:  # the import of the user's module may do anything
        # Without a cause: what was raised may not survive the way back to the optimizer.
        raise FunctionUnusable(
            f"f cannot be loaded by a worker ({type(error).__name__}: {error}): "
            "its modules must be there, too"
        ) from None


@functools.lru_cache(maxsize=1)
def _pool_of(pid: int) -> SandboxPool:
    """Return the pool of this process, closed when the process ends.

    The process id is the key, so that a fork does not use what its parent opened.
    """
    pool = SandboxPool()
    finalize = importlib.import_module("multiprocessing.util").Finalize
    finalize(pool, pool.close, exitpriority=10)
    return pool
