"""`llm-optimize check --sandbox`: it tries each mechanism, also on a machine without namespaces."""

import json
import subprocess
import sys

import pytest

from levels import missing_for_namespaces, printed_without_namespaces
from llm_optimize.sandbox import check_machine, open_sandbox

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the mechanisms are those of Linux"
)
TELL = """
import json
from llm_optimize.sandbox import check_machine
print(json.dumps({one.name: one.works for one in check_machine()}))
"""


def checked(*options):
    command = [sys.executable, "-m", "llm_optimize", "check", *options]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )


def test_what_is_said_is_what_a_sandbox_then_has():
    found = {one.name: one.works for one in check_machine()}
    sandbox = open_sandbox("process", abs)
    at_work = " ".join(sandbox.mechanisms)
    sandbox.close()
    assert found["read-only mounts"] == ("read-only mounts" in at_work)
    assert found["private /dev/shm and IPC"] == ("private ipc" in at_work)
    assert found["seccomp filter"] == ("seccomp" in at_work)
    assert found["cgroup memory"] == ("cgroup memory" in at_work)
    assert found["bubblewrap"] == (missing_for_namespaces() is None)


def test_a_machine_without_namespaces_is_told_apart(tmp_path):
    (tmp_path / "tell.py").write_text(TELL)
    found = printed_without_namespaces(tmp_path / "tell.py")
    kinds = (
        "user namespaces",
        "read-only mounts",
        "private /dev/shm and IPC",
        "bubblewrap",
    )
    assert [found[kind] for kind in kinds] == [False] * 4
    assert found["seccomp filter"]


def test_the_command_says_what_holds_and_what_to_do():
    page = checked("--sandbox").stdout
    rows = json.loads(checked("--sandbox", "--json").stdout)
    for row in rows:
        assert row["name"] in page
        assert row["holds"] in page
        assert row["works"] or row["repair"] in page
    assert {"Landlock: files", "seccomp filter", "cgroup pids"} <= {
        row["name"] for row in rows
    }


def test_without_an_option_it_says_what_it_can_do():
    ran = checked()
    assert ran.returncode == 2
    assert "--sandbox" in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
