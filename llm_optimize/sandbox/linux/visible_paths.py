"""Visible paths: what of the file system a candidate may see, write, or only list.

By default the system, the interpreter with its packages, the working directory, and what the limits
name. Keys and other secrets stay out of sight.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import UsageError
from ...records import Limits

_OUR_PACKAGE = str(Path(__file__).resolve().parents[2])

# Of /etc only what programs need; keys, password hashes and settings of services are left out.
_SYSTEM = """
    /usr /bin /sbin /lib /lib32 /lib64 /libx32 /opt /nix/store /gnu/store
    /sys/devices /sys/kernel/mm /sys/class
    /etc/alternatives /etc/ca-certificates /etc/fonts /etc/group /etc/host.conf /etc/hosts
    /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/localtime /etc/locale.alias
    /etc/machine-id /etc/mime.types /etc/nsswitch.conf /etc/os-release /etc/passwd
    /etc/pki/tls/certs /etc/protocols /etc/python3 /etc/python3.11 /etc/python3.12
    /etc/python3.13 /etc/python3.14 /etc/resolv.conf /etc/services /etc/ssl/certs
    /etc/ssl/openssl.cnf /etc/timezone
"""
_DEVICES = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/shm"
_SECRETS = """
    .env .envrc .netrc .npmrc .pgpass .pypirc .git-credentials .git/config .aws .azure .docker
    .gnupg .kube .ssh .streamlit/secrets.toml
"""
_ACCELERATORS = ("nvidia", "dri", "kfd")  # beginnings of names in /dev


@dataclass(frozen=True)
class VisiblePaths:
    """Absolute paths that exist; what is below them is visible with them."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    devices: tuple[str, ...]  # read and written
    accelerators: tuple[str, ...]  # those of the devices that are GPUs and the like
    # Folders that may be listed; files in them need a rule.
    listed: tuple[str, ...] = ()

    def visible_among(self, paths: Iterable[str]) -> tuple[str, ...]:
        """Return those of the paths that exist and are visible."""
        tops = (*self.readable, *self.writable)
        found = []
        for path in paths:
            if os.path.exists(path) and _is_below_any(path, tops):
                found.append(path)
        return tuple(found)

    def excluding(self, masked: Iterable[str]) -> VisiblePaths:
        """Return the paths without some files that must not be read.

        Landlock allows whole folders and takes nothing back. So a folder with a masked file in it
        is divided: each of its other entries is allowed by itself, and the folder is only listed.
        Files in writable folders stay visible, and a file that is made in a divided folder later
        is not visible.
        """
        files = []
        for path in self.visible_among(masked):
            if not _is_below_any(path, self.writable):
                files.append(path)
        whole: list[str] = []
        listed: list[str] = []
        for top in self.readable:
            for path, is_divided in _divide(top, files):
                if is_divided:
                    listed.append(path)
                else:
                    whole.append(path)
        return replace(self, readable=tuple(whole), listed=tuple(listed))


def _divide(top: str, masked: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield a folder and what is in it but for the masked files, and whether each is divided.

    Links are left out: what they lead to has a rule of its own if it is visible.
    """
    real_top = os.path.realpath(top)
    inside = [path for path in masked if _is_below(path, real_top)]
    if not inside:
        yield top, False
    elif real_top not in inside:
        yield top, True
        with suppress(OSError), os.scandir(top) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from _divide(entry.path, inside)


def secret_files_in(folders: Iterable[str], limits: Limits) -> tuple[str, ...]:
    """Return where keys usually lie in a project, but for what the limits name."""
    named = _absolute((*limits.readable, *limits.writable))
    found: list[str] = []
    for folder in folders:
        names = _SECRETS.split()
        names += [name for name in _list(folder) if name.startswith(".env.")]
        # A limit that names the folder itself does not mean the keys in it.
        opened = [top for top in named if top != folder and _is_below(top, folder)]
        for name in names:
            path = os.path.join(folder, name)
            if not _is_below_any(path, opened):
                found.append(path)
    return tuple(found)


def _list(folder: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def visible_paths_for(limits: Limits, folders: Iterable[str]) -> VisiblePaths:
    """Return what is visible: the system, the interpreter, these folders, and what the limits name.

    Of a folder that is the user's home only what is not hidden is visible, of one above it nothing:
    keys are there. Raises UsageError when the limits name what does not exist.
    """
    for name in ("readable", "writable"):
        for path in getattr(limits, name):
            if not os.path.exists(os.path.expanduser(path)):
                raise UsageError(
                    f"limits: {name} names {path!r}, which does not exist: "
                    "make it, or correct the path"
                )
    interpreter = [
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        sys.base_exec_prefix,
        os.path.realpath(sys.executable),
    ]
    readable = [
        *_SYSTEM.split(),
        *interpreter,
        _OUR_PACKAGE,
        *_without_keys(folders),
        *limits.readable,
    ]
    names = [name for name in _list("/dev") if name.startswith(_ACCELERATORS)]
    accelerators = _existing([f"/dev/{name}" for name in names])
    return VisiblePaths(
        readable=_existing(readable),
        writable=_existing(limits.writable),
        devices=_existing([*_DEVICES.split(), *accelerators]),
        accelerators=accelerators,
    )


def _without_keys(folders: Iterable[str]) -> list[str]:
    home = os.path.realpath(os.path.expanduser("~"))
    found: list[str] = []
    for folder in map(os.path.realpath, folders):
        if folder == home and os.path.isdir(folder):
            for entry in os.scandir(folder):
                if not entry.name.startswith("."):
                    found.append(entry.path)
        elif not _is_below(home, folder):
            found.append(folder)
    return found


def _absolute(paths: Iterable[str]) -> list[str]:
    return [os.path.abspath(os.path.expanduser(path)) for path in paths]


def _existing(paths: Iterable[str]) -> tuple[str, ...]:
    found = [path for path in _absolute(paths) if os.path.exists(path)]
    return tuple(dict.fromkeys(found))


def _is_below_any(path: str, tops: Iterable[str]) -> bool:
    return any(_is_below(path, top) for top in tops)


def _is_below(path: str, top: str) -> bool:
    """Whether a path is the other one, or below it."""
    return os.path.commonpath([path, top]) == top
