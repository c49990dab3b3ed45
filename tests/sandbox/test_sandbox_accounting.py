"""Accounting of all processes of a scoring together, where no control group does it."""

import sys
from contextlib import closing

import pytest

from candidates import load_and_call
from levels import need_namespaces
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox
from llm_optimize.sandbox.linux.cgroups import Cgroups

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is read from /proc")
LIMITS = Limits(memory_mb=600, file_mb=64, scratch_mb=100)


@pytest.fixture(scope="module", params=["process", "namespace"])
def sandbox(request):
    if request.param == "namespace":
        need_namespaces()
    with closing(open_sandbox(request.param, load_and_call, LIMITS)) as made:
        yield made


def outcome_of(sandbox, body, timeout_secs=20.0):
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    head = (
        "def candidate(x):\n    import ctypes, mmap, os, sys, tempfile, time\n"
        "    piece = bytes(1 << 20)\n"
    )
    return sandbox.run(Call([head + lines, 3.0], timeout_secs))


MEMORY = {
    "memfd": "fds = [os.memfd_create(str(n)) for n in range(16)]\n"
    "for fd in fds:\n    for _ in range(50): os.write(fd, piece)\ntime.sleep(10)",
    "memfd and fork": "fds = [os.memfd_create(str(n)) for n in range(8)]\n"
    "for fd in fds:\n    for _ in range(50): os.write(fd, piece)\n"
    "if os.fork() == 0:\n    kept = bytearray(400 << 20)\n    time.sleep(10)\ntime.sleep(10)",
    "processes": "for _ in range(4):\n    if os.fork() == 0:\n"
    "        kept = bytearray(200 << 20)\n        time.sleep(10)\ntime.sleep(10)",
    "mapped and shared": "maps = [mmap.mmap(-1, 150 << 20) for _ in range(2)]\n"
    "for one in maps: one.write(bytes(150 << 20))\n"
    "fds = [os.memfd_create(str(n)) for n in range(7)]\n"
    "for fd in fds:\n    for _ in range(50): os.write(fd, piece)\ntime.sleep(10)",
}


@pytest.mark.parametrize("name", MEMORY)
def test_memory_of_any_kind_is_held(sandbox, name):
    if Cgroups(LIMITS).controllers:
        pytest.skip("a control group counts it here")
    outcome = outcome_of(sandbox, MEMORY[name])
    assert outcome.status is OutcomeStatus.MEMORY, outcome
    assert (
        "memory limit of 600 MB reached by all its processes together (memory_mb, or --memory)"
        in outcome.message
    )
    assert outcome.seconds < 8


def test_files_without_a_name_count_as_files(sandbox):
    body = (
        "fds = [os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR) for _ in range(5)]\n"
        "for fd in fds:\n    for _ in range(40): os.write(fd, piece)\ntime.sleep(10)\nreturn 666.0"
    )
    outcome = outcome_of(sandbox, body)
    assert outcome.status in (OutcomeStatus.KILLED, OutcomeStatus.RAISED)
    assert "scratch_mb" in outcome.message, outcome


HIDE = (
    "import shutil, subprocess\npath = tempfile.gettempdir() + '/own'\n"
    "shutil.copyfile('/bin/sleep', path)\nos.chmod(path, 0o111)\n"
    "subprocess.Popen([path, '10'])\ntime.sleep(10)"
)


def test_a_program_that_cannot_be_looked_into_ends_the_scoring(sandbox):
    if Cgroups(LIMITS).controllers:
        pytest.skip("who may make groups may look into everything")
    outcome = outcome_of(sandbox, HIDE)
    assert outcome.status is OutcomeStatus.KILLED, outcome
    assert "cannot be looked into" in outcome.message
    assert outcome.seconds < 5


def test_one_that_shares_its_memory_with_its_forks_is_not_charged_for_each(sandbox):
    body = (
        "kept = bytearray(b'x') * (250 << 20)\n"
        "for _ in range(4):\n    if os.fork() == 0:\n        time.sleep(1.2)\n        os._exit(0)\n"
        "for _ in range(4): os.wait()\nreturn float(len(kept))"
    )
    assert outcome_of(sandbox, body).value == 250 << 20


def test_one_that_keeps_a_mapped_file_open_is_charged_once(sandbox):
    body = (
        "fds = [os.memfd_create(str(n)) for n in range(8)]\nmaps = []\n"
        "for fd in fds:\n    os.ftruncate(fd, 50 << 20)\n    maps.append(mmap.mmap(fd, 50 << 20))\n"
        "    maps[-1].write(bytes(50 << 20))\ntime.sleep(1.2)\nreturn 1.0"
    )
    assert outcome_of(sandbox, body).value == 1.0
