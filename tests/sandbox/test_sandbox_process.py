"""Promises of `process` on Linux: nothing survives, nothing leaks, everything recovers."""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from candidates import act, alive, gone
from levels import need_namespaces
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox, run_once
from llm_optimize.sandbox.linux.landlock import SIGNALS_ABI, landlock_abi

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the supervisors need Linux"
)

ROOT = Path(__file__).parents[2]
LIMITS = Limits(output_mb=1, memory_mb=2048)
WAIT_SECS = 10.0


@pytest.fixture(scope="module", params=["process", "namespace"])
def level(request):
    if request.param == "namespace":
        need_namespaces()
    return request.param


@pytest.fixture(scope="module")
def limits(tmp_path_factory):
    """Return limits that let candidates write where the tests look."""
    return replace(LIMITS, writable=(str(tmp_path_factory.getbasetemp()),))


@pytest.fixture(scope="module")
def sandbox(level, limits):
    with closing(open_sandbox(level, act, limits)) as made:
        yield made


@pytest.fixture(scope="module")
def plain(limits):
    """Yield one at the level `process`, where a candidate sees the numbers that the test sees."""
    with closing(open_sandbox("process", act, limits)) as made:
        yield made


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Make a directory the home of all temporary files, and return it."""
    root = tmp_path / "temporary"
    root.mkdir(mode=0o755)
    monkeypatch.setenv("TMPDIR", str(root))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return root


def wait_for(path):
    """Return what is in a file once a whole line is there."""
    until = time.monotonic() + WAIT_SECS
    while not (path.exists() and path.read_text().endswith("\n")):
        assert time.monotonic() < until, f"{path} was never written"
        time.sleep(0.01)
    return [int(pid) for pid in path.read_text().split()]


@pytest.mark.parametrize("deed", ["daemon", "hide_and_hop"])
def test_whoever_hid_is_dead_when_f_has_returned(sandbox, deed, tmp_path):
    outcome = sandbox.run(Call([deed, str(tmp_path / "pid")], 10.0))
    assert gone(tmp_path / "pid", within_secs=0)
    assert (outcome.status, outcome.value) == (OutcomeStatus.OK, 1.0)


def test_whoever_hid_is_dead_after_the_deadline(sandbox, tmp_path):
    outcome = sandbox.run(Call(["daemon", str(tmp_path / "pid"), "loop"], 0.5))
    assert gone(tmp_path / "pid", within_secs=0)
    assert outcome.status is OutcomeStatus.TIMEOUT


def test_a_candidate_that_would_stop_its_supervisor_is_refused_or_dead_all_the_same(
    plain, tmp_path
):
    begun = time.monotonic()
    outcome = plain.run(Call(["stop_supervisor", str(tmp_path / "pid")], 0.5))
    refused = landlock_abi() >= SIGNALS_ABI
    assert outcome.status is (
        OutcomeStatus.RAISED if refused else OutcomeStatus.TIMEOUT
    )
    assert time.monotonic() - begun < WAIT_SECS
    assert gone(tmp_path / "pid")
    assert plain.run(Call(["answer", 1], 10.0)).value == 1


def test_a_script_in_a_fork_of_this_process_that_stops_its_supervisor_is_dead_all_the_same(
    tmp_path,
):
    outcome = run_once(
        act, Call(["stop_supervisor", str(tmp_path / "pid")], 0.5), LIMITS
    )
    assert outcome.status is OutcomeStatus.TIMEOUT
    assert gone(tmp_path / "pid")


def test_a_forged_answer_is_refused(sandbox):
    outcome = sandbox.run(Call("two_answers", 10.0))
    assert (outcome.status, outcome.value) == (OutcomeStatus.PROTOCOL, None)
    assert "forged" in outcome.message


def test_a_child_holds_no_file_but_its_streams_and_its_answer(sandbox):
    held = sandbox.run(Call("open_files", 10.0)).value
    assert held[:5] == [0, 1, 2, 3, 4]  # the last leads to where scripts are run
    assert len(held) == 6  # and the directory that it lists


def test_what_a_scoring_used_is_counted(sandbox):
    outcome = sandbox.run(Call("loop", 0.5))
    assert 0.1 < outcome.cpu_secs < 3.0
    assert outcome.peak_memory_mb > 5


def test_an_honest_f_may_use_all_its_time(sandbox):
    # And not the CPU limit, which is derived from it.
    assert sandbox.run(Call("loop", 0.5)).status is OutcomeStatus.TIMEOUT


def test_scratch_goes_whatever_is_in_it_and_nothing_else_does(
    level, temporary, tmp_path
):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "precious").write_text("x")
    with closing(open_sandbox(level, act, LIMITS)) as made:
        for deed in (
            ["clutter", str(outside)],
            "remove_scratch",
            ["link_scratch", str(outside)],
            ["answer", 1],
        ):
            outcome = made.run(Call(deed, 10.0))
            assert (
                outcome.status is OutcomeStatus.OK or "writable" in outcome.message
            ), deed
    assert list(temporary.iterdir()) == []
    assert (outside / "precious").read_text() == "x"
    assert [oct(path.stat().st_mode & 0o777) for path in (temporary, outside)] == [
        "0o755",
        "0o755",
    ]


def dead(*pids, within_secs=10.0):
    """Whether processes that were killed are gone, or will be in a moment."""
    until = time.monotonic() + within_secs
    while any(map(alive, pids)) and time.monotonic() < until:
        time.sleep(0.005)
    return not any(map(alive, pids))


def test_a_killed_warm_process_is_replaced(tmp_path, limits):
    with closing(open_sandbox("process", act, limits)) as made:
        for signal_number in (signal.SIGKILL, signal.SIGSTOP):
            marker = tmp_path / f"pids{signal_number}"
            made.run(Call(["pids", str(marker)], 0.3))
            fork_server, supervisor, _ = wait_for(marker)
            os.kill(fork_server, signal_number)
            # Or the supervisor that is left would do.
            if signal_number == signal.SIGKILL:
                os.kill(supervisor, signal.SIGKILL)
                assert gone(marker)
                # A scoring that a dying supervisor takes up ends with it.
                assert dead(fork_server, supervisor)
            assert made.run(Call(["answer", 1], 10.0)).value == 1
    assert gone(marker)


@pytest.mark.parametrize("times", [1, 2])
def test_a_scoring_whose_supervisor_is_killed_is_made_again_once_and_harms_no_neighbour(
    plain, tmp_path, times, caplog
):
    found = {}
    marker, release = tmp_path / "pids", tmp_path / "release"
    victim = Call(["pids_until", str(marker), str(release)], 15.0)
    threads = [
        threading.Thread(target=lambda: found.update(victim=plain.run(victim))),
        threading.Thread(
            target=lambda: found.update(
                neighbour=plain.run(Call(["sleep", 1.0, 7], 15.0))
            )
        ),
    ]
    for thread in threads:
        thread.start()
    killed = []
    for _ in range(times):
        fork_server, supervisor, child = wait_for_others(marker, killed)
        os.kill(supervisor, signal.SIGKILL)
        killed += [supervisor, child]
    if times == 1:
        wait_for_others(marker, killed)
        release.touch()
    for thread in threads:
        thread.join()
    assert found["victim"].status is (
        OutcomeStatus.OK if times == 1 else OutcomeStatus.KILLED
    )
    assert found["victim"].scored_again == "the process that watched over it was killed"
    assert sum("a scoring is made again" in line for line in caplog.messages) == 1
    assert (found["neighbour"].status, found["neighbour"].value) == (
        OutcomeStatus.OK,
        7,
    )
    assert not found["neighbour"].scored_again
    assert dead(*killed)
    assert alive(fork_server)
    assert plain.run(Call(["answer", 1], 10.0)).value == 1


def wait_for_others(marker, known):
    """Return what is in a file once it is a line of processes that are none of the known ones."""
    until = time.monotonic() + WAIT_SECS
    while not (set(pids := wait_for(marker)).isdisjoint(known)):
        assert time.monotonic() < until, "no other process came"
        time.sleep(0.01)
    return pids


@pytest.mark.parametrize("who", ["fork_server", "namespace_supervisor"])
def test_scorings_whose_namespaces_end_are_made_again(tmp_path, who):
    need_namespaces()
    markers, release, found = (
        [tmp_path / "one", tmp_path / "two"],
        tmp_path / "release",
        {},
    )
    with closing(
        open_sandbox("namespace", act, Limits(writable=(str(tmp_path),)))
    ) as made:
        calls = [
            Call(["pids_until", str(marker), str(release)], 20.0) for marker in markers
        ]
        threads = [
            threading.Thread(target=lambda n=n: found.update({n: made.run(calls[n])}))
            for n in range(2)
        ]
        for thread in threads:
            thread.start()
        for marker in markers:
            wait_for(marker)
        (fork_server,) = psutil.Process(made._source._process.pid).children()
        namespace_supervisors = []
        for supervisor in fork_server.children():
            namespace_supervisors += supervisor.children()
        target = fork_server if who == "fork_server" else namespace_supervisors[0]
        victims = [target, *target.children(recursive=True)]
        target.kill()
        assert not psutil.wait_procs(victims, WAIT_SECS)[1]
        release.touch()
        for thread in threads:
            thread.join()
        assert [found[n].status for n in range(2)] == [OutcomeStatus.OK] * 2
        again = [bool(found[n].scored_again) for n in range(2)]
        assert sum(again) == (2 if who == "fork_server" else 1)


PROGRAM = """
import sys
from llm_optimize.sandbox import Call, open_sandbox
from llm_optimize.records import Limits
from candidates import act
import threading
sandbox = open_sandbox(sys.argv[1], act, Limits(writable=(sys.argv[2],)))
for number in range(2):
    threading.Thread(target=sandbox.run, args=(Call(["pids", sys.argv[3 + number]], 60.0),)).start()
"""


def python(*arguments, **options):
    """Start a program that finds this library and these tests."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        text=True,
        start_new_session=True,
        **options,
    )


def test_when_the_optimizer_is_killed_everything_goes(level, tmp_path, temporary):
    markers = [tmp_path / "one", tmp_path / "two"]
    with python("-c", PROGRAM, level, str(tmp_path), *map(str, markers)) as optimizer:
        for marker in markers:
            wait_for(marker)
        optimizer.kill()
    assert all(gone(marker, within_secs=2.0) for marker in markers)
    until = time.monotonic() + 2.0
    while list(temporary.iterdir()) and time.monotonic() < until:
        time.sleep(0.01)
    assert list(temporary.iterdir()) == []


def test_a_hundred_scorings_leave_nothing(level, temporary):
    here = psutil.Process()

    def score_all():
        with closing(open_sandbox(level, act, LIMITS)) as made:
            made.run(Call(["answer", 1], 10.0))
            before = len(here.children(recursive=True))
            for number in range(100):
                deed = (
                    ["exit", 1]
                    if number % 20 == 0
                    else ["raise", "ValueError"]
                    if number % 7 == 0
                    else ["answer", 1]
                )
                made.run(Call(deed, 10.0))
            return len(here.children(recursive=True)) - before

    score_all()
    files, threads, others = (
        here.num_fds(),
        here.num_threads(),
        {child.pid for child in here.children(recursive=True)},
    )
    # The spare child of the one supervisor may just be born.
    assert abs(score_all()) <= 1
    assert (here.num_fds(), here.num_threads()) == (files, threads)
    assert {child.pid for child in here.children(recursive=True)} == others
    assert list(temporary.iterdir()) == []


SCRIPT = """
import json
import math as mathematics
from collections import Counter
from contextlib import closing
from dataclasses import replace
from llm_optimize import eval_utils
from llm_optimize.sandbox import Call, open_sandbox

CANDIDATE = "result = mathematics.floor(2.5) + Counter('aab')['a'] + len(json.dumps(helper(1)))"
print("once")

def helper(x):
    return [x]

def f(x):
    names = {}
    eval_utils.exec_unsafe(x, globals(), names)
    inner = eval_utils.exec_with_timeout_unsafe("z = y + 1", {"y": names["result"]}, ["z"], 10)
    return float(inner["z"])

with closing(open_sandbox("process", f)) as sandbox:
    outcome = sandbox.run(Call(CANDIDATE, 20.0))
    print(outcome.status, outcome.value, outcome.message)
"""


def test_a_plain_script_needs_no_guard_and_its_candidates_see_what_it_imported(
    tmp_path,
):
    (tmp_path / "script.py").write_text(SCRIPT)
    with python(
        str(tmp_path / "script.py"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as script:
        output, _ = script.communicate(timeout=60)
    assert output == "once\nok 8.0 \n"


def test_what_waits_to_be_printed_is_not_printed_twice(tmp_path):
    program = (
        "import sys\nfrom llm_optimize import eval_utils\n"
        "print('before')\n"
        "eval_utils.exec_with_timeout_unsafe('print(\"inside\")', {}, [], 20)\nprint('after')\n"
    )
    with python("-c", program, stdout=subprocess.PIPE) as script:
        output, _ = script.communicate(timeout=60)
    assert output == "before\ninside\nafter\n"
