"""Commands that messages print, so that they work where they are printed."""

from __future__ import annotations

import os
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
    """Return how this installation is started here.

    That is `llm-optimize` where the shell finds this one by its name, else its path, and the
    interpreter with `-m` where there is no such file.
    """
    name = "llm-optimize"
    # Not resolved: the interpreter of a virtual environment is a link to another folder.
    folder = str(Path(sys.executable).parent)
    own = shutil.which(name, path=folder)
    found = shutil.which(name)
    if own is not None:
        if found is not None and os.path.samefile(found, own):
            return name
        return shlex.quote(_from_here(own))
    if found is not None:
        return name
    python = _from_here(sys.executable)
    short = shutil.which("python")
    if short is not None and os.path.samefile(short, sys.executable):
        python = "python"
    return f"{shlex.quote(python)} -m llm_optimize"


def _from_here(path: str) -> str:
    """Return a path as it is written in the present folder: relative where it lies below it."""
    if Path(path).is_relative_to(Path.cwd()):
        path = str(Path(path).relative_to(Path.cwd()))
    return path
