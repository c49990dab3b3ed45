"""Which sandbox levels work here."""

import os
from functools import cache

import pytest

from llm_optimize.errors import SandboxUnavailable
from llm_optimize.sandbox import open_sandbox


def need_namespaces() -> None:
    """Skip the test where bubblewrap cannot work; where REQUIRE_BUBBLEWRAP is set, that is a failure."""
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
        one.name for one in entries if one.name[:14] != ".org.chromium." and one.stat().st_uid == os.geteuid()
    )
