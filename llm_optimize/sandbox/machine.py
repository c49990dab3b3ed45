"""Check of this machine: which mechanisms of the sandbox work, tried in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..errors import SandboxError, SandboxUnavailable

_BOOT = """
import sys
sys.path.insert(0, sys.argv[1])
from llm_optimize.sandbox.linux.probe import main
main()
"""
_ROOT = str(Path(__file__).resolve().parents[2])
_TIMEOUT_SECS = 60.0


@dataclass(frozen=True)
class Mechanism:
    """One mechanism of the sandbox on this machine."""

    name: str
    works: bool
    # The result of the attempt in a few words; "" when there is nothing to add.
    found: str
    holds: str  # what it prevents
    repair: str  # what to do where it does not work


def check_machine() -> tuple[Mechanism, ...]:
    """Try each mechanism of the sandbox, and return them; it takes about a second.

    Raises:
        SandboxUnavailable: on systems other than Linux.
        SandboxError: the attempt itself cannot be made.
    """
    if sys.platform != "linux":
        raise SandboxUnavailable(
            "these mechanisms are those of Linux: elsewhere 'process' protects against faulty code"
        )
    # -P: no module from the working directory.
    command = [sys.executable, "-P", "-c", _BOOT, _ROOT]
    try:
        ran = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_SECS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SandboxError(
            f"the sandbox was not tried within {_TIMEOUT_SECS:.0f} s: is the machine overloaded?"
        ) from error
    if ran.returncode != 0:
        reason = ran.stderr.strip()[-500:]
        raise SandboxError(f"the sandbox of this machine cannot be tried: {reason}")
    return tuple(Mechanism(**row) for row in json.loads(ran.stdout))
