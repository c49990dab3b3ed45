"""Asking what of the sandbox works on this machine, in a fresh interpreter that tries it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError, SandboxUnavailable

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llm_optimize.sandbox.linux.probe import main; main()"
_ROOT = str(Path(__file__).resolve().parents[2])
_TRIAL_SECS = 60.0


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of the sandbox on this machine."""

    name: str
    works: bool
    found: str  # what the attempt came to, in a few words; empty where there is nothing to add
    holds: str  # what it holds off
    repair: str  # what to do where it does not work


def check_machine() -> tuple[Mechanism, ...]:
    """Return the mechanisms of the sandbox, each tried out now, which takes about a second.

    Raises SandboxUnavailable on systems other than Linux, and SandboxError when the trial itself cannot be made.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "these mechanisms are those of Linux: elsewhere 'process' protects against faulty code"
        )
    command = [
        sys.executable,
        "-P",
        "-c",
        _BOOT,
        _ROOT,
    ]  # -P: no module from the working directory
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_TRIAL_SECS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(
            f"the sandbox was not tried within {_TRIAL_SECS:.0f} s: is the machine overloaded?"
        ) from error
    if ran.returncode != 0:
        raise SandboxError(
            f"the sandbox of this machine cannot be tried: {ran.stderr.strip()[-500:]}"
        )
    return tuple(Mechanism(**row) for row in json.loads(ran.stdout))
