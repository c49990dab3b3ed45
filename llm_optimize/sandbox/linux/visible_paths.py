"""What of the file system a candidate may see: the system, the interpreter, the working directory, what is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import UsageError
from ...records import Limits

_OURS = str(Path(__file__).resolve().parents[2])

# Of /etc only what programs need; keys, password hashes and settings of services stay out of sight.
_SYSTEM = """
    /usr /bin /sbin /lib /lib32 /lib64 /libx32 /opt /nix/store /gnu/store /sys/devices /sys/kernel/mm /sys/class
    /etc/alternatives /etc/ca-certificates /etc/fonts /etc/group /etc/host.conf /etc/hosts /etc/ld.so.cache
    /etc/ld.so.conf /etc/ld.so.conf.d /etc/localtime /etc/locale.alias /etc/machine-id /etc/mime.types
    /etc/nsswitch.conf /etc/os-release /etc/passwd /etc/pki/tls/certs /etc/protocols /etc/python3 /etc/python3.11
    /etc/python3.12 /etc/python3.13 /etc/python3.14 /etc/resolv.conf /etc/services /etc/ssl/certs /etc/ssl/openssl.cnf
    /etc/timezone
"""
_DEVICES = "/dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/shm"
_SECRETS = """
    .env .envrc .netrc .npmrc .pgpass .pypirc .git-credentials .git/config .aws .azure .docker .gnupg .kube .ssh
    .streamlit/secrets.toml
"""
_ACCELERATORS = ("nvidia", "dri", "kfd")  # beginnings of names in /dev


@dataclass(frozen=True)
class VisiblePaths:
    """Absolute paths that exist; what is below them is seen with them."""

    readable: tuple[str, ...]
    writable: tuple[str, ...]
    devices: tuple[str, ...]  # read and written
    accelerators: tuple[str, ...]  # of the devices
    listed: tuple[
        str, ...
    ] = ()  # folders of which only names are seen, unless something else is said of a part

    def without(self, hidden: Iterable[str]) -> tuple[str, ...]:
        """Return those of the `hidden` paths that would be seen."""
        seen = (*self.readable, *self.writable)
        return tuple(
            path
            for path in hidden
            if os.path.exists(path) and any(_is_below(path, top) for top in seen)
        )

    def excluding(self, masked: Iterable[str]) -> VisiblePaths:
        """Return what is left when some files are not to be read: where they lie, each neighbour is named by itself.

        That is how Landlock can do it, which allows whole folders and takes nothing back. What lies in a folder that
        may be written is seen all the same, and a file that comes into a divided folder later is not.
        """
        files = [
            path
            for path in self.without(masked)
            if not any(_is_below(path, top) for top in self.writable)
        ]
        whole: list[str] = []
        listed: list[str] = []
        for top in self.readable:
            for path, divided in _pieces(top, files):
                (listed if divided else whole).append(path)
        return replace(self, readable=tuple(whole), listed=tuple(listed))


def _pieces(top: str, masked: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield what is at and below a folder but for the masked files, and whether it is divided further.

    Links are left out: what they lead to has a rule of its own if it may be seen.
    """
    inside = [path for path in masked if _is_below(path, os.path.realpath(top))]
    if not inside:
        yield top, False
    elif os.path.realpath(top) not in inside:
        yield top, True
        with suppress(OSError), os.scandir(top) as entries:
            for entry in entries:
                if not entry.is_symlink():
                    yield from _pieces(entry.path, inside)


def secret_files_in(folders: Iterable[str], limits: Limits) -> tuple[str, ...]:
    """Return where keys usually lie in a project, but for what the limits name."""
    named = [
        os.path.abspath(os.path.expanduser(path))
        for path in (*limits.readable, *limits.writable)
    ]
    found: list[str] = []
    for folder in folders:
        names = [
            *_SECRETS.split(),
            *(name for name in _names(folder) if name.startswith(".env.")),
        ]
        opened = [top for top in named if top != folder and _is_below(top, folder)]
        paths = [os.path.join(folder, name) for name in names]
        found += [
            path for path in paths if not any(_is_below(path, top) for top in opened)
        ]
    return tuple(found)


def _names(folder: str) -> list[str]:
    with suppress(OSError):
        return os.listdir(folder)
    return []


def visible_paths_for(limits: Limits, folders: Iterable[str]) -> VisiblePaths:
    """Return what may be seen: the system, the interpreter, these folders, and what the limits name.

    Of a folder that is the user's home only what is not hidden is seen, of one above it nothing: keys live there.

    Raises UsageError when the limits name what is not there.
    """
    for name in ("readable", "writable"):
        for path in getattr(limits, name):
            if not os.path.exists(os.path.expanduser(path)):
                raise UsageError(
                    f"limits: {name} names {path!r}, which does not exist: make it, or correct the path"
                )
    interpreter = [
        sys.prefix,
        sys.base_prefix,
        sys.exec_prefix,
        sys.base_exec_prefix,
        os.path.realpath(sys.executable),
    ]
    seen = [
        *_SYSTEM.split(),
        *interpreter,
        _OURS,
        *_without_keys(folders),
        *limits.readable,
    ]
    accelerators = _existing(_accelerators())
    return VisiblePaths(
        _existing(seen),
        _existing(limits.writable),
        _existing([*_DEVICES.split(), *accelerators]),
        accelerators,
    )


def _without_keys(folders: Iterable[str]) -> list[str]:
    home = os.path.realpath(os.path.expanduser("~"))
    found: list[str] = []
    for folder in map(os.path.realpath, folders):
        if folder == home and os.path.isdir(folder):
            found += [
                entry.path
                for entry in os.scandir(folder)
                if not entry.name.startswith(".")
            ]
        elif not _is_below(home, folder):
            found.append(folder)
    return found


def _accelerators() -> list[str]:
    return [f"/dev/{name}" for name in _names("/dev") if name.startswith(_ACCELERATORS)]


def _existing(paths: Iterable[str]) -> tuple[str, ...]:
    absolute = (os.path.abspath(os.path.expanduser(path)) for path in paths)
    return tuple(dict.fromkeys(path for path in absolute if os.path.exists(path)))


def _is_below(path: str, top: str) -> bool:
    return os.path.commonpath([path, top]) == top
