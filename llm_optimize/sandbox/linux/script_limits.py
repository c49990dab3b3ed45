"""What a script may use that is started from inside a scoring (Linux): never more than that scoring itself.

The limits of a script come through the door of its scoring, and whoever sits in the scoring may write them: a candidate
in f's own process as well as f. So each is intersected with the limit of the scoring, before anything is forked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from ...records import Limits
from .visible_paths import VisiblePaths

_NUMBERS = (
    "memory_mb",
    "processes",
    "open_files",
    "file_mb",
    "scratch_mb",
    "output_mb",
    "result_mb",
)
_LISTS = ("env", "readable", "writable")
_MAX_SECS = 1e12
_MAX_PATHS = 100  # of one script; each is held open until it is forked


@dataclass(frozen=True)
class ScoringBounds:
    """What a scoring may use; all paths are resolved, and were so before a candidate could change what they lead to."""

    limits: Limits
    network: bool
    readable: tuple[str, ...]
    writable: tuple[str, ...]


def bounds_of(
    limits: Limits, view: VisiblePaths | None, namespaced: bool
) -> ScoringBounds:
    """Return the bounds of the scorings with these limits and this view; call it before the first of them begins."""
    network = not namespaced if limits.network is None else limits.network
    if view is None:
        return ScoringBounds(limits, network, ("/",), ("/",))
    readable, writable = _resolved(view.readable), _resolved(view.writable)
    return ScoringBounds(limits, network, (*readable, *writable), writable)


def _resolved(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(path) for path in paths))


def narrow_limits(
    wanted: Limits, bounds: ScoringBounds, scratch: str | None = None
) -> Limits:
    """Return what of these limits is within the bounds; of paths, what lies within a path of the scoring, resolved.

    A folder that is wider than what the scoring sees of it is left out as a whole. `scratch` is the scratch directory
    of the scoring, in which it may do everything.
    """
    own, outer = (scratch,) if scratch else (), bounds.limits
    numbers: dict[str, Any] = {
        name: min(getattr(wanted, name), getattr(outer, name)) for name in _NUMBERS
    }
    return replace(
        wanted,
        **numbers,
        cpu_secs=min(
            (secs for secs in (wanted.cpu_secs, outer.cpu_secs) if secs is not None),
            default=None,
        ),
        network=bounds.network and wanted.network is not False,
        env=tuple(name for name in wanted.env if name in outer.env),
        readable=_within(wanted.readable, (*bounds.readable, *own)),
        writable=_within(wanted.writable, (*bounds.writable, *own)),
    )


def _within(paths: Iterable[str], tops: Iterable[str]) -> tuple[str, ...]:
    """Return those of the paths, resolved, that are there and are one of the tops or below it."""
    found = (os.path.realpath(os.path.expanduser(path)) for path in paths)
    return tuple(
        dict.fromkeys(
            path for path in found if _lies_within(path, tops) and os.path.exists(path)
        )
    )


def _lies_within(path: str, tops: Iterable[str]) -> bool:
    return any(path == top or path.startswith(top.rstrip("/") + "/") for top in tops)


def pin_paths(limits: Limits) -> tuple[Limits, list[int]]:
    """Return narrowed limits with each path as `/proc/self/fd/N`, and the descriptors N, for whoever forks to close.

    Between the look at a path and its use a candidate may put a link in the place of a folder that it may write to.
    An open descriptor stays what was looked at; one that is not what its path said is left out.
    """
    fds: list[int] = []
    held: dict[str, list[str]] = {}
    for name in ("readable", "writable"):
        held[name] = []
        for path in getattr(limits, name)[:_MAX_PATHS]:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # gone since
            fds.append(fd)
            if os.readlink(f"/proc/self/fd/{fd}") == path:
                held[name].append(f"/proc/self/fd/{fd}")
    return replace(
        limits, readable=tuple(held["readable"]), writable=tuple(held["writable"])
    ), fds


def parse_limits(message: bytes) -> Limits:
    """Return the limits in a message that anybody may have written.

    Raises ValueError or TypeError for what is none; UsageError, a ValueError, for what no limits can be.
    """
    given = json.loads(message)
    if not isinstance(given, dict) or not set(given) <= {
        field.name for field in fields(Limits)
    }:
        raise ValueError("not the limits of a script")
    for name, value in given.items():
        if not _fits(name, value):
            raise ValueError(f"{name} is of another type")
    return Limits(**given)


def _fits(name: str, value: Any) -> bool:
    if name in _NUMBERS:
        return type(value) is int
    if name in _LISTS:
        return isinstance(value, list) and all(
            type(one) is str and "\0" not in one for one in value
        )
    if name == "network":
        return value is None or type(value) is bool
    return value is None or (
        type(value) in (int, float) and value <= _MAX_SECS
    )  # no NaN, no infinity
