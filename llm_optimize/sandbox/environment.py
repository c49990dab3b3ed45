"""Environment variables of a child: an allow-list, so that no secret is in it by accident."""

from __future__ import annotations

import os

_ALLOWED = """
    HOME LOGNAME USER SHELL PATH LANG LANGUAGE TZ COLUMNS LINES TMPDIR TEMP TMP XDG_CACHE_HOME
    LD_LIBRARY_PATH DYLD_LIBRARY_PATH CUDA_VISIBLE_DEVICES CUDA_HOME MPLCONFIGDIR MPLBACKEND
    VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONIOENCODING
    SYSTEMROOT SYSTEMDRIVE WINDIR COMSPEC PATHEXT USERPROFILE APPDATA LOCALAPPDATA
    PROGRAMFILES PROGRAMDATA NUMBER_OF_PROCESSORS PROCESSOR_ARCHITECTURE
"""
_ALLOWED_PREFIXES = ("LC_", "OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_")

_THREAD_COUNTS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def clean_environment(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the variables of this process that are allowed, or named in `more`.

    Two further ones make runs repeatable.
    """
    allowed = _ALLOWED.split()
    kept: dict[str, str] = {}
    for name, value in os.environ.items():
        is_known = name in allowed or name.startswith(_ALLOWED_PREFIXES)
        if is_known or name in more:  # wall: the clean environment
            kept[name] = value
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    kept["PYTHONHASHSEED"] = "0"
    return kept


def one_thread() -> dict[str, str]:
    """Return the variables that keep numeric libraries on one thread while they are imported."""
    return dict.fromkeys(_THREAD_COUNTS, "1")


def thread_counts_here() -> dict[str, str | None]:
    """Return the values of those variables in this process; None where one is not set."""
    return {name: os.environ.get(name) for name in _THREAD_COUNTS}
