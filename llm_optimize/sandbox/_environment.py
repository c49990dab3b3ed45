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

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def clean_environment(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the allowed variables of this process, those named in `more`, and what a warm process needs."""
    allowed = _ALLOWED.split()
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in allowed or name.startswith(_ALLOWED_BEGINNINGS) or name in more
    }
    return {**dict.fromkeys(_ONE_THREAD, "1"), **kept, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def one_thread_names() -> list[str]:
    """Return the names that `clean_environment` sets on its own to keep numeric libraries on one thread at import."""
    return [name for name in _ONE_THREAD if name not in os.environ]
