"""A scratch directory that goes away again, whatever a candidate did in it or to it."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from contextlib import suppress

_log = logging.getLogger(__name__)
_LOOK_SECS = 0.25
_LOOK_SHARE = 0.05  # of the time, at most, for looking


class Scratch:
    """A scratch directory in use, and how full it may be."""

    def __init__(self, path: str, max_mb: int) -> None:
        self.path = path
        self.next_look_secs = _LOOK_SECS
        self._max_bytes = max_mb * 2**20

    def used_bytes(self) -> int:
        """Return how many bytes of disk its files take; not all are counted when it is more than may be."""
        return _size(self.path, self._max_bytes)

    def overfull(self) -> bool:
        """Whether there is more in it than may be. Looks seldom where a look takes long."""
        begun = time.monotonic()
        size = _size(self.path, self._max_bytes)
        self.next_look_secs = max(_LOOK_SECS, (time.monotonic() - begun) / _LOOK_SHARE)
        return size > self._max_bytes


def _size(path: str, enough: int) -> int:
    """Return how many bytes of disk the files below take; no more than `enough` are counted."""
    total, folders = 0, [path]
    while folders and total <= enough:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                with suppress(
                    OSError
                ):  # gone meanwhile, or a path that has grown too long
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    total += (
                        entry.stat(follow_symlinks=False).st_blocks * 512
                    )  # st_blocks counts 512 bytes each
    return total


def remove_scratch(path: str) -> None:
    """Remove a directory and all below it; a link is removed and never followed, and nothing above is touched.

    Call it when no process of the candidate is left. What resists stays, and a warning says so.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)  # a candidate put something else in its place
            return
        while entries := _opened(path):
            for entry in entries:
                _remove(entry, path)
        os.rmdir(path)
    except FileNotFoundError:
        return  # a candidate was quicker
    except OSError as error:
        _log.warning("a scratch directory cannot be removed: %s", error)


def _opened(path: str) -> list[os.DirEntry[str]]:
    """Return what is in a directory, unsealed for its owner."""
    os.chmod(path, stat.S_IRWXU)
    with os.scandir(path) as entries:
        return list(entries)


def _remove(entry: os.DirEntry[str], top: str) -> None:
    """Remove a file, or a directory whose own are lifted to the top first: no path grows, however deep it is."""
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)
        return
    for inner in _opened(entry.path):
        if inner.is_dir(follow_symlinks=False):
            os.chmod(
                inner.path, stat.S_IRWXU
            )  # a directory that changes its parent is written to
            os.rename(inner.path, os.path.join(top, secrets.token_hex(8)))
        else:
            os.unlink(inner.path)
    os.rmdir(entry.path)
