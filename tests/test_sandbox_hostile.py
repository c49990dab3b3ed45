"""Programs that somebody else wrote to break sandboxes, where they lie beside this repository; each at each level.

The table in docs/sandbox.md is made of what they came to: `make table` runs this file and writes it.
"""

import os
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from candidates import load_and_call
from hostile_table import DOCS, LEVELS, rows, table_in, word
from levels import need_namespaces, shared_memory
from llm_optimize.evaluate import judge
from llm_optimize.records import Limits, Status
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox

HOSTILE = Path(__file__).parents[2] / "shared" / "hostile"
OK, RAISED, TIMEOUT, MEMORY, OUTPUT, CRASHED, PROTOCOL, KILLED = (
    OutcomeStatus(word) for word in ("ok", "raised", "timeout", "memory", "output", "crashed", "protocol", "killed")
)
BAD = {RAISED, CRASHED, PROTOCOL}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the keepers need Linux"),
    pytest.mark.skipif(not HOSTILE.is_dir(), reason="no hostile programs lie in ../shared/hostile"),
]

# What may become of each, as its head says.
EXPECTED = {
    "01-fork-bomb": {TIMEOUT, RAISED},
    "03-ignore-sigterm": {TIMEOUT},
    "05-kill-everything": {OK, CRASHED, RAISED},
    "07-stop-self": {TIMEOUT},
    "09-base-exceptions": {RAISED},
    "11-thread-swarm": {OK},
    "13-hopper": {OK},
    "15-vfork-unkillable": {TIMEOUT},
    "17-regex-backtrack": {TIMEOUT},
    "19-swallow-everything": {TIMEOUT},
    "21-slow-dunders": BAD,
    "23-memory-bomb": {RAISED, MEMORY},
    "25-huge-return": {PROTOCOL},
    "27-nested-result": BAD,
    "29-stdout-flood": {OUTPUT, OK},
    "31-bytes-and-escapes": {RAISED},
    "33-non-finite-score": {OK},  # and refused as a score
    "35-evil-comparisons": {RAISED, OK},
    "37-exception-pickle": {RAISED},
    "39-forge-result-fds": {CRASHED, PROTOCOL, RAISED, OK},
    "41-hold-pipe-open": {OK},
    "43-patch-scorer": {OK, RAISED, CRASHED, PROTOCOL},
    "45-read-secrets": {OK},
    "47-write-home": {OK},
    "49-symlink-tricks": {OK},
    "51-move-cwd": {OK},
    "53-inode-fill": {OK, RAISED},
    "55-network-egress": {OK},
    "57-segfault": {CRASHED},
    "59-state-leak": {OK},
    "61-terminal-injection": {OK},
    "63-state-db-tamper": {OK},
    "65-namespace-and-mount": {OK},
    "67-no-entry-point": {RAISED},
    "69-lock-everything": {OK, TIMEOUT},
    "71-benign-control": {OK},
    "72-numpy-scalar-control": {OK},
    "73-multiprocessing-control": {OK},
    "74-compile-bomb": BAD | {MEMORY},
}
MAY_DIFFER = {  # from machine to machine
    "01-fork-bomb": {"stopped: timeout", "stopped: raised"},
    "05-kill-everything": {"stopped: crashed", "stopped: raised"},
    "23-memory-bomb": {"stopped: raised", "stopped: memory"},
    "29-stdout-flood": {"stopped: output", "contained"},
    "53-inode-fill": {"stopped: raised", "contained"},
    "69-lock-everything": {"stopped: timeout", "contained"},
    "74-compile-bomb": {"stopped: raised", "stopped: memory", "stopped: crashed"},
}
HONEST = {"71-benign-control": 9.0, "72-numpy-scalar-control": 9.0, "73-multiprocessing-control": 9.0}
# Where the head of the file does not promise it: one process for f and candidate; UDP, which Landlock lets out.
NOT_PROMISED = {
    ("43-patch-scorer", "process"),
    ("43-patch-scorer", "namespace"),
    ("39-forge-result-fds", "process"),
    ("39-forge-result-fds", "namespace"),
    ("55-network-egress", "process"),
}


@pytest.fixture(scope="module", params=["process", "namespace"])
def level(request):
    if request.param == "namespace":
        need_namespaces()
    return request.param


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make the world that the programs want to harm: a home with a key, a database of trials, a key of a model."""
    home, here = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("candidates")
    (home / ".ssh").mkdir()
    (home / ".ssh" / "id_canary").write_text("hostile-canary")
    (here / "trials.jsonl").write_text("hostile-canary\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("HOME", str(home))
        patch.setenv("OPENAI_API_KEY", "sk-canary")
        yield here


@pytest.fixture(scope="module")
def sandbox(level, place):
    """Yield one sandbox for all of them: what one does must harm none of the next."""
    limits = Limits(network=False, memory_mb=1024, processes=64, file_mb=16, scratch_mb=256, output_mb=4, result_mb=1)
    with closing(open_sandbox(level, load_and_call, limits)) as made:
        made.run(Call(["def candidate(x): return x", 3.0], 8.0))  # its keeper is there from now on
        yield made


@pytest.fixture
def listener():
    """Yield the port on which a TCP and a UDP socket listen, and a function that says what came."""
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        tcp.setblocking(False)
        udp.setblocking(False)

        def came():
            found = []
            for name, receive in (("tcp", tcp.accept), ("udp", lambda: udp.recv(100))):
                try:
                    receive()
                    found.append(name)
                except BlockingIOError:
                    continue
            return found

        yield tcp.getsockname()[1], came


def world(place):
    """Return what must be as it was: shared memory, mounts, files, this process itself."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "shared memory": shared_memory(),
        "ipc": [Path(f"/proc/sysvipc/{kind}").read_text().count(f" {os.geteuid()} ") for kind in ("shm", "sem", "msg")],
        "mounts": len(Path("/proc/self/mounts").read_text().splitlines()),
        "files": {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()},
        "self": (os.getcwd(), umask, signal.getsignal(signal.SIGINT)),
    }


def survivors():
    return [p.pid for p in psutil.process_iter(["cmdline"]) if "HOSTILE-SURVIVOR" in " ".join(p.info["cmdline"] or [])]


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_hostile_program_comes_to_its_expected_end_and_harms_nobody(sandbox, level, place, listener, name):
    source = (HOSTILE / f"{name}.py").read_text(encoding="utf-8")
    port, came = listener
    before, held = world(place), psutil.Process().num_fds()
    for _ in range(2 if name == "59-state-leak" else 1):
        argument = float(port) if name == "55-network-egress" else 3.0
        outcome = sandbox.run(Call([source, argument], 0.7 if TIMEOUT in EXPECTED[name] else 8.0))
        assert outcome.status in EXPECTED[name], (outcome.message, outcome.output[-500:])
        if outcome.status is OK and isinstance(outcome.value, float) and (name, level) not in NOT_PROMISED:
            assert outcome.value == HONEST.get(name, 0.0) or judge(outcome).status is Status.INVALID
    in_the_docs = rows(table_in(DOCS.read_text(encoding="utf-8")))[name][LEVELS.index(level)]
    assert word(outcome, HONEST.get(name)) in {in_the_docs} | MAY_DIFFER.get(name, set())
    assert sandbox.run(Call(["def candidate(x): return x", 3.0], 8.0)).value == 3.0
    assert survivors() == []
    assert came() == (["udp"] if (name, level) == ("55-network-egress", "process") else [])
    until = time.monotonic() + 2.0
    while world(place) != before and time.monotonic() < until:  # other programs of this user may come and go
        time.sleep(0.05)
    assert world(place) == before
    assert psutil.Process().num_fds() <= held
