"""Which sandbox levels work here."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llm_optimize.errors import SandboxUnavailable
from llm_optimize.sandbox import open_sandbox


def need_namespaces() -> None:
    """Skip the test where bubblewrap cannot work; with REQUIRE_BUBBLEWRAP set, fail instead."""
    missing = missing_for_namespaces()
    if missing is not None:
        if os.environ.get("REQUIRE_BUBBLEWRAP"):
            raise missing
        pytest.skip(str(missing))


@cache
def missing_for_namespaces() -> SandboxUnavailable | None:
    """Try it out, once: it takes a good part of a second."""
    try:
        open_sandbox("namespace", abs).close()
    except SandboxUnavailable as error:
        return error
    return None


def shared_memory() -> list[str]:
    """Return what lies in the shared memory of this user, but for browsers of other tests."""
    entries = os.scandir("/dev/shm")
    return sorted(
        one.name
        for one in entries
        if one.name[:14] != ".org.chromium." and one.stat().st_uid == os.geteuid()
    )


ANOTHER_MACHINE = """
import os, sys
from llm_optimize.sandbox.linux.landlock import drop_capabilities
from llm_optimize.sandbox.linux.private_mounts import enter_user_namespace
enter_user_namespace()  # which lets nobody in it make another
drop_capabilities()
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


def printed_without_namespaces(script: Path, *arguments: object) -> Any:
    """Return the JSON that a script prints where neither this user nor root can make namespaces."""
    ran = subprocess.run(
        [sys.executable, "-c", ANOTHER_MACHINE, str(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        cwd=script.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout)
