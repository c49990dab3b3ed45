"""Calls of f by the workers of an executor: what is sent there, and the warm sandboxes that a worker keeps."""

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
from .pickling import pack, unpack

_KEPT = 4  # sandboxes of one worker that nobody uses at the moment
Opener = Callable[[str, Callable[..., Any], Limits, Sequence[str]], Sandbox]


@dataclass(frozen=True)
class Parcel:
    """What a worker needs to call f; it keeps the sandbox that it makes of it."""

    digest: str  # of f and all that the sandbox depends on
    level: str
    limits: Limits
    hidden: tuple[str, ...]  # files that are not seen where the level can hide files
    payload: bytes | None = field(
        repr=False
    )  # f; None: the worker may know it by the digest

    def empty(self) -> Parcel:
        """Return it without f, which may be large."""
        return replace(self, payload=None)


def make_parcel(
    func: Callable[..., Any], level: str, limits: Limits, hidden: Sequence[str]
) -> Parcel:
    """Return what is sent to workers. Raises FunctionUnusable when f cannot be packed."""
    payload = pack(func)
    digest = hashlib.blake2b(payload, digest_size=16)
    digest.update(repr((level, limits, tuple(hidden))).encode())
    return Parcel(digest.hexdigest(), level, limits, tuple(hidden), payload)


def call_there(
    opener: Opener, parcel: Parcel, x: Any, timeout_secs: float, seed: int
) -> Outcome | None:
    """Return what becomes of f(x) in this process's sandbox; None when f is not known here and did not come along.

    The deadline is kept here. Raises FunctionUnusable or SandboxUnavailable when no sandbox can be opened here.
    """
    with _shelf(os.getpid()).borrowed(opener, parcel) as sandbox:
        return None if sandbox is None else sandbox.run(Call(x, timeout_secs, seed))


@dataclass
class _Entry:
    """One sandbox, and how many calls are in it."""

    sandbox: Sandbox
    users: int = 0


class Shelf:
    """The warm sandboxes of one process, the last used last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    @contextmanager
    def borrowed(self, opener: Opener, parcel: Parcel) -> Iterator[Sandbox | None]:
        """Yield the sandbox of a parcel, opened if need be; None when the parcel is empty and it is not here."""
        entry = self._take(opener, parcel)
        try:
            yield None if entry is None else entry.sandbox
        finally:
            if entry is not None:
                self._put_back(entry)

    def _take(self, opener: Opener, parcel: Parcel) -> _Entry | None:
        with self._lock:
            entry = self._entries.pop(parcel.digest, None)
            if entry is None:
                if parcel.payload is None:
                    return None
                here = [path for path in parcel.hidden if os.path.exists(path)]
                entry = _Entry(
                    opener(parcel.level, _loaded(parcel.payload), parcel.limits, here)
                )
            self._entries[parcel.digest] = entry
            entry.users += 1
            return entry

    def _put_back(self, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            idle = [digest for digest, one in self._entries.items() if not one.users]
            surplus = [
                self._entries.pop(digest)
                for digest in idle[: max(0, len(self._entries) - _KEPT)]
            ]
        for old in surplus:
            old.sandbox.close()

    def close(self) -> None:
        """End all calls and all sandboxes."""
        with self._lock:
            entries, self._entries = list(self._entries.values()), {}
        for entry in entries:
            entry.sandbox.close()


def _loaded(payload: bytes) -> Callable[..., Any]:
    try:
        return unpack(payload, ())
    except Exception as error:  # the import of the user's module may do anything
        raise FunctionUnusable(
            f"f cannot be loaded by a worker ({type(error).__name__}: {error}): its modules must be there, too"
        ) from None  # what was raised may not survive the journey


@functools.lru_cache(maxsize=1)
def _shelf(pid: int) -> Shelf:
    """Return the shelf of this process, closed when it ends; a fork does not touch what its parent opened."""
    shelf = Shelf()
    importlib.import_module("multiprocessing.util").Finalize(
        shelf, shelf.close, exitpriority=10
    )
    return shelf
