"""Control groups, on folders that look like what systemd delegates to a user, and on others."""

import os
import sys

import pytest

from llm_optimize.records import Limits
from llm_optimize.sandbox.linux.cgroups import Cgroups, join_cgroups_of

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="control groups are there on Linux"
)
APP = "user.slice/user-1000.slice/user@1000.service/app.slice"


@pytest.fixture
def tree(tmp_path):
    """Make /sys/fs/cgroup and /proc as under `systemd-run --user --scope -p Delegate=yes`."""
    top, process = tmp_path / "cgroup", tmp_path / "proc" / "self"
    scope = top / APP / "run-r1.scope"
    scope.mkdir(parents=True)
    process.mkdir(parents=True)
    for folder, handed_down in ((scope, ""), (scope.parent, "cpu memory pids\n")):
        (folder / "cgroup.subtree_control").write_text(handed_down)
        (folder / "cgroup.procs").write_text("")
    (process / "cgroup").write_text(f"0::/{APP}/run-r1.scope\n")
    (process / "mounts").write_text(
        f"proc /proc proc rw 0 0\ncgroup2 {top} cgroup2 rw,nosuid 0 0\n"
    )
    return tmp_path


def test_a_scope_that_is_handed_down_has_groups_for_memory_and_processes(tree):
    found = Cgroups(Limits(memory_mb=100), str(tree / "proc" / "self"))
    assert found.controllers == ("memory", "pids")
    assert found.new() is not None
    made = [
        path
        for path in (tree / "cgroup" / APP).iterdir()
        if path.name.startswith("llm_optimize-")
    ]
    assert sorted(
        file.name for path in made for file in path.iterdir() if "pids" in file.name
    ) == ["pids.max"]


def test_a_scope_below_which_nothing_is_handed_down_has_none(tree):
    (tree / "cgroup" / APP / "cgroup.subtree_control").write_text("cpu\n")
    assert Cgroups(Limits(), str(tree / "proc" / "self")).controllers == ()


@pytest.mark.parametrize("version", [1, 2])
def test_a_supervisor_of_scripts_joins_the_group_of_the_scoring(tree, version):
    group = tree / "cgroup" / APP / f"llm_optimize-{os.getpid()}-0"
    group.mkdir()
    watcher = tree / "proc" / "7"
    watcher.mkdir()
    (watcher / "cgroup").write_text(
        f"{'0:' if version == 2 else '8:pids'}:/{APP}/{group.name}\n"
    )
    if version == 1:
        (tree / "proc" / "self" / "mounts").write_text(
            f"cgroup {tree / 'cgroup'} cgroup rw,pids 0 0\n"
        )
    join_cgroups_of(7, str(tree / "proc"))
    assert (group / "cgroup.procs").read_text() == "0"


def test_groups_of_others_are_not_joined(tree):
    watcher = tree / "proc" / "7"
    watcher.mkdir()
    (watcher / "cgroup").write_text(f"0::/{APP}/run-r1.scope\n")
    join_cgroups_of(7, str(tree / "proc"))
    assert (tree / "cgroup" / APP / "run-r1.scope" / "cgroup.procs").read_text() == ""
