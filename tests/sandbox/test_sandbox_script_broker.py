"""The script broker: scripts are never wider than their scoring, and counted together with it."""

import json
import os
import socket
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from levels import need_namespaces
from llm_optimize import eval_utils
from llm_optimize.errors import SandboxError, ScriptFailed
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox
from llm_optimize.sandbox.linux.accounting import tmpfs_bytes
from llm_optimize.sandbox.linux.cgroups import Cgroups
from llm_optimize.sandbox.linux.landlock import SIGNALS_ABI, landlock_abi
from llm_optimize.sandbox.linux.script_limits import (
    ScoringBounds,
    bounds_of,
    narrow_limits,
    parse_limits,
    pin_paths,
)

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or landlock_abi() < SIGNALS_ABI,
    reason="the broker needs Linux, its isolation Landlock",
)
NUMBERS = (
    "memory_mb",
    "processes",
    "open_files",
    "file_mb",
    "scratch_mb",
    "output_mb",
    "result_mb",
)

# The intersection itself.

PATHS = st.lists(
    st.sampled_from(
        ["/usr", "/usr/lib", "/", "/etc", "/usr/../etc", "/bin", "/nowhere", "usr"]
    ),
    max_size=4,
)
LIMITS = st.builds(
    Limits,
    **dict.fromkeys(NUMBERS, st.integers(1, 10**6)),
    cpu_secs=st.none() | st.floats(0.1, 1e6),
    network=st.none() | st.booleans(),
    env=st.lists(st.sampled_from(["A", "B", "C"]), max_size=3),
    readable=PATHS,
    writable=PATHS,
)


@given(LIMITS, LIMITS, st.booleans(), st.none() | st.just("/tmp"))
def test_an_intersection_is_wider_in_no_field(wanted, outer, namespaced, scratch):
    network = not namespaced if outer.network is None else outer.network
    tops = {
        name: tuple(map(os.path.realpath, getattr(outer, name)))
        for name in ("readable", "writable")
    }
    found = narrow_limits(wanted, ScoringBounds(outer, network, **tops), scratch)
    for name in NUMBERS:
        assert getattr(found, name) == min(getattr(wanted, name), getattr(outer, name))
    assert found.cpu_secs == min(
        [s for s in (wanted.cpu_secs, outer.cpu_secs) if s is not None], default=None
    )
    assert found.network is (network and wanted.network is not False)
    assert set(found.env) == set(wanted.env) & set(outer.env)
    for name in ("readable", "writable"):
        allowed = [Path(top) for top in (*tops[name], *([scratch] if scratch else []))]
        for path in getattr(found, name):
            assert os.path.realpath(path) == path
            assert any(Path(path).is_relative_to(top) for top in allowed)
        assert set(getattr(found, name)) <= set(
            map(os.path.realpath, getattr(wanted, name))
        )
    assert narrow_limits(found, ScoringBounds(outer, network, **tops), scratch) == found


def test_a_link_that_leads_out_is_left_out_and_one_that_changes_later_leads_nowhere(
    tmp_path,
):
    (tmp_path / "mine").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "mine" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "mine" / "data").mkdir()
    mine = tmp_path / "mine"
    bounds = ScoringBounds(Limits(), True, (str(mine),), (str(mine),))
    wanted = Limits(
        readable=(str(mine / "link"), str(mine / ".." / "secret"), str(mine / "data")),
        writable=(str(mine),),
    )
    found = narrow_limits(wanted, bounds)
    assert (found.readable, found.writable) == ((str(mine / "data"),), (str(mine),))
    held, fds = pin_paths(found)
    (mine / "data").rename(mine / "away")
    (mine / "data").symlink_to(tmp_path / "secret")
    assert [os.path.realpath(path) for path in held.readable] == [str(mine / "away")]
    late, more = pin_paths(found)
    assert late.readable == ()  # what the path leads to now is not what was looked at
    for fd in (*fds, *more):
        os.close(fd)


def test_the_bounds_of_a_scoring_are_what_it_sees():
    bounds = bounds_of(Limits(network=None), None, namespaced=True)
    assert (bounds.network, bounds_of(Limits(), None, namespaced=False).network) == (
        False,
        True,
    )


# The first draw of floats and texts loads tables, which takes seconds on a busy machine.
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*asdict(Limits()), "other"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2),
        max_size=3,
    )
)
def test_limits_that_anybody_wrote_are_limits_or_refused(given_limits):
    try:
        limits = parse_limits(json.dumps(given_limits).encode())
    except (ValueError, TypeError):
        return
    assert all(type(getattr(limits, name)) is int for name in NUMBERS)
    assert limits.cpu_secs is None or limits.cpu_secs <= 1e12
    assert (
        narrow_limits(limits, ScoringBounds(Limits(), True, (), ())).memory_mb <= 4096
    )


# The attack: what a candidate in f's own process asks for through its broker.


@pytest.fixture(params=["process", "namespace"])
def level(request):
    if request.param == "namespace":
        need_namespaces()
    return request.param


@pytest.fixture
def home(tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_rsa").write_text("canary")
    (home / "project" / "data.csv").write_text("1,2\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "project")
    return home


def candidate(order):
    """Be a candidate in f's process: run a script with the limits that it likes."""
    script, inputs, wishes = order
    wide = {
        "memory_mb": 8192,
        "scratch_mb": 8192,
        "file_mb": 8192,
        "processes": 4096,
        "network": True,
        **wishes,
    }
    try:
        return eval_utils.run_script(script, inputs, ["y"], limits=Limits(**wide))["y"]
    except SandboxError as error:
        return str(error)


def asked(level, limits, script, inputs, **wishes):
    with closing(open_sandbox(level, candidate, limits)) as sandbox:
        outcome = sandbox.run(Call([script, inputs, wishes], 60.0))
    assert outcome.status is OutcomeStatus.OK, outcome
    return outcome.value


ATTEMPT = (
    "def attempt(deed):\n    try: deed(); return 'done'\n"
    "    except OSError as error: return type(error).__name__\n"
)


def test_a_key_of_the_home_is_not_read_and_nothing_is_written_there(level, home):
    script = (
        ATTEMPT
        + "y = [attempt(lambda: open(h + '/.ssh/id_rsa').read()), attempt(lambda: "
        "open(h + '/pwn', 'w'))]"
    )
    value = asked(
        level,
        Limits(network=False),
        script,
        {"h": str(home)},
        readable=["/"],
        writable=[str(home)],
    )
    assert "done" not in value
    assert not (home / "pwn").exists()


def test_what_the_scoring_may_read_its_script_may_be_given(level, home):
    script = ATTEMPT + "y = [attempt(lambda: open(p).read())]"
    data = str(home / "project" / "data.csv")
    assert asked(level, Limits(), script, {"p": data}) != [
        "done"
    ]  # f's folder is out of sight, as ever
    assert asked(level, Limits(), script, {"p": data}, readable=[data]) == ["done"]


def hands_over(x):
    """Give a script a file of one's own scratch directory."""
    path = os.path.join(tempfile.gettempdir(), "given")
    Path(path).write_text("given")
    script = "y = open(p).read(); open(p, 'w').write('taken')"
    limits = Limits(readable=(path,), writable=(path,))
    return [
        eval_utils.run_script(script, {"p": path}, ["y"], limits=limits)["y"],
        Path(path).read_text(),
    ]


def test_a_script_may_be_given_what_lies_in_the_scratch_directory():
    with closing(open_sandbox("process", hands_over)) as sandbox:
        assert sandbox.run(Call(None, 30.0)).value == ["given", "taken"]


def test_the_network_is_not_had_where_the_scoring_has_none(level):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        script = (
            ATTEMPT
            + "import socket\ny = attempt(lambda: socket.create_connection(a, 5))"
        )
        inputs = {"a": list(listener.getsockname())}
        script = script.replace("create_connection(a", "create_connection(tuple(a)")
        reported = {
            n: asked(level, Limits(network=n), script, inputs, network=True)
            for n in (False, None, True)
        }
    assert reported[False] != "done"
    assert (reported[None] == "done") == (level == "process")
    assert reported[True] == "done"


def test_memory_and_files_are_those_of_the_scoring(level):
    limits = Limits(memory_mb=700, scratch_mb=40, file_mb=20)
    assert "memory limit" in asked(level, limits, "y = len(bytearray(10**9))", {})
    script = (
        "import time\nfor n in range(8): open(f'big{n}', 'wb').write(bytes(15 << "
        "20))\ntime.sleep(20)\ny = 'written'"
    )
    assert "scratch_mb" in asked(level, limits, script, {})
    assert "limit of 20 MB for a file" in asked(
        level, limits, "open('b', 'wb').write(bytes(30 << 20))\ny = 1", {}
    )


# What counts together.

SLEEP = "import time\nkept = bytearray(size << 20)\ntime.sleep(secs)\ny = 1"


def hoards(order):
    """Keep so much memory, and let so many scripts at a time keep so much."""
    own_mb, scripts, script_mb, secs = order
    kept = bytearray(own_mb << 20)
    reported = []

    def run():
        try:
            reported.append(
                eval_utils.run_script(SLEEP, {"size": script_mb, "secs": secs}, ["y"])[
                    "y"
                ]
            )
        except ScriptFailed as error:
            reported.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(scripts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [len(kept), *reported]


def test_memory_of_a_scoring_and_its_scripts_counts_together(level):
    if level == "process" and Cgroups(Limits()).controllers:
        pytest.skip("a control group counts it here")
    with closing(open_sandbox(level, hoards, Limits(memory_mb=900))) as sandbox:
        value = sandbox.run(Call([300, 2, 400, 20], 60.0)).value
        assert all(
            "memory limit of 900 MB reached by all processes of the scoring and its scripts"
            in v
            for v in value[1:]
        )
        assert sandbox.run(Call([300, 1, 400, 0.6], 60.0)).value == [300 << 20, 1]


WRITE = (
    "import time\nfor n in range(3): open(f'part{n}', 'wb').write(bytes(10 << 20))\n"
    "time.sleep(20)\ny = 1"
)


def writes(x):
    for n in range(3):
        Path(tempfile.gettempdir(), f"part{n}").write_bytes(bytes(10 << 20))
    try:
        return eval_utils.run_script(WRITE, {}, ["y"])
    except ScriptFailed as error:
        return str(error)


def test_files_of_a_scoring_and_its_scripts_count_together(level):
    with closing(open_sandbox(level, writes, Limits(scratch_mb=50))) as sandbox:
        outcome = sandbox.run(Call(None, 60.0))
    assert (
        "scratch limit of 50 MB reached by all files of the scoring and its scripts"
        in outcome.value
    ), outcome


def floods(count):
    """Ask for supervisors as program 91 does; return how many work, and the other answers."""
    number = int(os.environ["LLM_OPTIMIZE_SCRIPT_BROKER"].split(":")[0])
    links, alive, reported = [], 0, set()
    with socket.socket(fileno=os.dup(number)) as broker:
        for _ in range(count):
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(broker, [b"{}"], [theirs.fileno()])
            links.append(ours)
    for link in links:
        link.settimeout(10)
        word = link.recv(4096)
        word = word if len(word) > 4 else word + link.recv(4096)
        alive += word[4:] == b"supervisor"
        if word[4:] == b"supervisor":
            link.sendall(b"G")
        else:
            reported.add(word[4:].decode())
    time.sleep(0.3)
    return [alive, *reported]


def test_a_flood_of_supervisors_is_stopped_at_the_limit_of_processes(level):
    here = psutil.Process()
    before = len(here.children(recursive=True))
    with closing(open_sandbox(level, floods, Limits(processes=64))) as sandbox:
        alive, *reported = sandbox.run(Call(150, 30.0)).value
        assert 4 <= alive <= 32
        (message,) = reported
        assert (
            "limit of 64 processes and threads reached by the scoring and its scripts together"
            in message
        )
        until = time.monotonic() + 5
        while (
            len(here.children(recursive=True)) - before > 10
            and time.monotonic() < until
        ):
            time.sleep(0.05)
        # Warm ones, and a supervisor that waits for work.
        assert len(here.children(recursive=True)) - before <= 10
        assert sandbox.run(Call(3, 30.0)).value == [3]


def many(order):
    count, at_a_time = order
    found = []

    def run():
        found.extend(
            eval_utils.run_script("y = n * n", {"n": n}, ["y"])["y"]
            for n in range(count)
        )

    threads = [threading.Thread(target=run) for _ in range(at_a_time)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(found)


def test_honest_scripts_run_one_after_the_other_and_a_few_at_a_time(level):
    with closing(open_sandbox(level, many, Limits(processes=40))) as sandbox:
        assert sandbox.run(Call([8, 1], 60.0)).value == [n * n for n in range(8)]
        assert sandbox.run(Call([3, 4], 60.0)).value == sorted([0, 1, 4] * 4)
    with closing(open_sandbox(level, many, Limits(processes=1))) as sandbox:
        assert sandbox.run(Call([2, 0], 60.0)).value == []


def test_scripts_follow_each_other_close_to_the_limit_of_processes(level):
    """Three at a time fit: a script that is over is waited for, not counted."""
    with closing(open_sandbox(level, many, Limits(processes=20))) as sandbox:
        assert sandbox.run(Call([8, 3], 60.0)).value == sorted(
            [n * n for n in range(8)] * 3
        )


def test_what_lies_in_the_tmp_of_everybody_is_not_of_a_scoring():
    assert tmpfs_bytes([os.getpid()]) == 0
