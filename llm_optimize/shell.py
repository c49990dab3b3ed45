"""Commands that messages print, so that they work where they are printed."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

__all__ = ["pip_install", "program"]


def pip_install(*packages: str) -> str:
    """Return the command that installs packages into the environment of this process.

    It names the packages themselves: an extra of this package could be installed only where this
    package came from. Where `pip` is that of another environment, it names the interpreter.
    """
    pip = "pip"
    found = shutil.which(pip)
    if found is None or Path(found).parent != Path(sys.executable).parent:
        pip = f"{shlex.quote(sys.executable)} -m pip"
    return f"{pip} install {' '.join(packages)}"


def program() -> str:
    """Return `llm-optimize` as the user's shell finds it: its path where it is not on PATH."""
    name = "llm-optimize"
    beside = Path(sys.executable).parent / name
    if shutil.which(name) is not None or not beside.is_file():
        return name
    if beside.is_relative_to(Path.cwd()):
        beside = beside.relative_to(Path.cwd())
    return shlex.quote(str(beside))
