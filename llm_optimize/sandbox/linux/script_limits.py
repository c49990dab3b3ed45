"""Limits of a script that is started from inside a scoring: never wider than those of the scoring.

The limits of a script come through a socket of its scoring, and any code in the scoring may write
them: a candidate in f's own process as well as f. So each is intersected with the limit of the
scoring before anything is forked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from ...records import Limits
from .mounts import is_at_or_below
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
# Of one script; each is kept open until the script's supervisor is forked.
_MAX_PATHS = 100


@dataclass(frozen=True)
class ScoringBounds:
    """What a scoring may use.

    All paths were resolved before a candidate could change where they lead to.
    """

    limits: Limits
    network: bool
    readable: tuple[str, ...]
    writable: tuple[str, ...]


def bounds_of(
    limits: Limits, paths: VisiblePaths | None, *, namespaced: bool
) -> ScoringBounds:
    """Return the bounds of scorings; call it before the first of them begins."""
    network = limits.network
    if network is None:
        network = not namespaced
    if paths is None:
        return ScoringBounds(limits, network, ("/",), ("/",))
    readable, writable = _resolved(paths.readable), _resolved(paths.writable)
    return ScoringBounds(limits, network, (*readable, *writable), writable)


def _resolved(paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(os.path.realpath(path) for path in paths))


def narrow_limits(
    wanted: Limits, bounds: ScoringBounds, scratch: str | None = None
) -> Limits:
    """Return what of these limits is within the bounds.

    Of paths, those within a path of the scoring stay, resolved. A folder that is wider than what
    the scoring sees of it is left out as a whole.

    Args:
        wanted: the limits that the script asks for.
        bounds: of the scoring.
        scratch: the scratch directory of the scoring, in which it may do everything.
    """
    outer = bounds.limits
    own = (scratch,) if scratch else ()
    numbers: dict[str, Any] = {}
    for name in _NUMBERS:
        numbers[name] = min(getattr(wanted, name), getattr(outer, name))
    cpu_limits = (wanted.cpu_secs, outer.cpu_secs)
    given_secs = [secs for secs in cpu_limits if secs is not None]
    return replace(
        wanted,
        **numbers,
        cpu_secs=min(given_secs, default=None),
        network=bounds.network and wanted.network is not False,
        env=tuple(name for name in wanted.env if name in outer.env),
        readable=_within(wanted.readable, (*bounds.readable, *own)),
        writable=_within(wanted.writable, (*bounds.writable, *own)),
    )


def _within(paths: Iterable[str], tops: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the paths, resolved, that exist and are one of the tops or below it."""
    found: list[str] = []
    for path in paths:
        real = os.path.realpath(os.path.expanduser(path))
        is_inside = any(is_at_or_below(real, top) for top in tops)
        if is_inside and os.path.exists(real):
            found.append(real)
    return tuple(dict.fromkeys(found))


def pin_paths(limits: Limits) -> tuple[Limits, list[int]]:
    """Return narrowed limits with each path as `/proc/self/fd/N`, and the descriptors N.

    Between the check of a path and its use a candidate may put a link in the place of a folder that
    it may write to. An open descriptor stays what was checked; one whose path is another by now is
    left out. The caller closes the descriptors after forking.
    """
    fds: list[int] = []
    pinned: dict[str, list[str]] = {"readable": [], "writable": []}
    for name, places in pinned.items():
        for path in getattr(limits, name)[:_MAX_PATHS]:
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # gone since
            fds.append(fd)
            place = f"/proc/self/fd/{fd}"
            if os.readlink(place) == path:
                places.append(place)
    readable, writable = tuple(pinned["readable"]), tuple(pinned["writable"])
    return replace(limits, readable=readable, writable=writable), fds


def parse_limits(message: bytes) -> Limits:
    """Return the limits in a message that anybody may have written.

    Raises ValueError or TypeError for what is not limits; UsageError, a ValueError, for impossible
    ones.
    """
    given = json.loads(message)
    known = {field.name for field in fields(Limits)}
    if not isinstance(given, dict) or not set(given) <= known:
        raise ValueError("not the limits of a script")
    for name, value in given.items():
        if not _has_right_type(name, value):
            raise ValueError(f"{name} is of another type")
    return Limits(**given)


def _has_right_type(name: str, value: Any) -> bool:
    if name in _NUMBERS:
        return type(value) is int
    if name in _LISTS:
        if not isinstance(value, list):
            return False
        return all(type(text) is str and "\0" not in text for text in value)
    if value is None:
        return True
    if name == "network":
        return type(value) is bool
    # Seconds; NaN and infinity are not below the limit.
    return type(value) in (int, float) and value <= _MAX_SECS
