"""Scratch directories: how full one is, and its removal, whatever a candidate did in it."""

from __future__ import annotations

import logging
import os
import secrets
import stat
import time
from contextlib import suppress

_log = logging.getLogger(__name__)
_CHECK_SECS = 0.25
_MAX_CHECK_SHARE = 0.05  # of the time that may be spent on checks
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system


class Scratch:
    """A scratch directory in use, and how full it may be."""

    def __init__(self, path: str, max_mb: int) -> None:
        self.path = path
        self.next_check_secs = _CHECK_SECS
        self._max_bytes = max_mb * 2**20

    def used_bytes(self) -> int:
        """Return the bytes of disk that its files take; counting ends above the limit."""
        return _disk_bytes(self.path, self._max_bytes)

    def overfull(self) -> bool:
        """Whether it holds more than it may. Where a check takes long, the next one is later."""
        begun = time.monotonic()
        size = _disk_bytes(self.path, self._max_bytes)
        took = time.monotonic() - begun
        self.next_check_secs = max(_CHECK_SECS, took / _MAX_CHECK_SHARE)
        return size > self._max_bytes


def _disk_bytes(path: str, enough: int) -> int:
    """Return the bytes of disk that the files below take; no more than `enough` are counted."""
    total = 0
    folders = [path]
    while folders and total <= enough:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                # An entry may be gone meanwhile, or its path may have grown too long.
                with suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    blocks = entry.stat(follow_symlinks=False).st_blocks
                    total += blocks * _BLOCK_BYTES
    return total


def remove_scratch(path: str) -> None:
    """Remove a directory and all below it. A link is removed, never followed.

    Call it when no process of the candidate is left. What cannot be removed stays, with a warning.
    """
    try:
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            os.unlink(path)  # a candidate put something else in its place
            return
        while entries := _list_unsealed(path):
            for entry in entries:
                _remove(entry, path)
        os.rmdir(path)
    except FileNotFoundError:
        return  # a candidate was quicker
    except OSError as error:
        _log.warning("a scratch directory cannot be removed: %s", error)


def _list_unsealed(path: str) -> list[os.DirEntry[str]]:
    """Return what is in a directory, made accessible to its owner first."""
    os.chmod(path, stat.S_IRWXU)
    with os.scandir(path) as entries:
        return list(entries)


def _remove(entry: os.DirEntry[str], top: str) -> None:
    """Remove a file, or a directory.

    The directories in a directory are moved up to the top under new names instead of being entered:
    so no path grows, however deep the tree is, and the loop above finds them next.
    """
    if not entry.is_dir(follow_symlinks=False):
        os.unlink(entry.path)
        return
    for inner in _list_unsealed(entry.path):
        if inner.is_dir(follow_symlinks=False):
            # Moving a directory writes its "..": it must be writable itself.
            os.chmod(inner.path, stat.S_IRWXU)
            os.rename(inner.path, os.path.join(top, secrets.token_hex(8)))
        else:
            os.unlink(inner.path)
    os.rmdir(entry.path)
