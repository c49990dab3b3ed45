"""The environment of a child: built from a list of what is allowed, so that no secret is in it by accident."""

from __future__ import annotations

import os

_ALLOWED = """
    HOME LOGNAME USER SHELL PATH LANG LANGUAGE TZ COLUMNS LINES TMPDIR TEMP TMP XDG_CACHE_HOME
    LD_LIBRARY_PATH DYLD_LIBRARY_PATH CUDA_VISIBLE_DEVICES CUDA_HOME MPLCONFIGDIR MPLBACKEND
    VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONIOENCODING
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT USERPROFILE APPDATA LOCALAPPDATA PROGRAMFILES PROGRAMDATA
    NUMBER_OF_PROCESSORS PROCESSOR_ARCHITECTURE
"""
_ALLOWED_BEGINNINGS = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_")

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def clean_environment(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables of this process that are allowed or named in `more`, and two that make runs repeatable."""
    allowed = _ALLOWED.split()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in allowed or name.startswith(_ALLOWED_BEGINNINGS) or name in more
    }
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def one_thread() -> dict[str, str]:
    """Return the variables that keep numeric libraries on one thread while they are imported."""
    return dict.fromkeys(_THREADS, "1")


def threads_as_here() -> dict[str, str | None]:
    """Return what those variables are in this process; None where they are not set."""
    return {name: os.environ.get(name) for name in _THREADS}
