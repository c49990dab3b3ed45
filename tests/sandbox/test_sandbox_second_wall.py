"""Private mounts, IPC and the filter on Linux: what Landlock has no rule for."""

import ctypes
import errno
import json
import os
import platform
import resource
import subprocess
import sys
import threading
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from levels import need_namespaces, printed_without_namespaces
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="these walls are made by Linux"
)

LIBC = ctypes.CDLL(None, use_errno=True)
NO_NETWORK = Limits(network=False)
TRY = """
import ctypes, os, resource, socket, tempfile, time
libc = ctypes.CDLL(None, use_errno=True)
def attempt(deed):
    try:
        deed()
        return "done"
    except OSError as error:
        return type(error).__name__
"""


def run(x):
    names = {}
    exec(x, names)
    return names["y"]


@pytest.fixture(scope="module", params=["process", "namespace"])
def level(request):
    if request.param == "namespace":
        need_namespaces()
    elif not walls("process").issuperset({"private ipc", "seccomp"}):
        pytest.skip("no user namespaces or no filter here: see the tests without")
    return request.param


def walls(level):
    with closing(open_sandbox(level, run)) as sandbox:
        return set(sandbox.mechanisms)


def value_of(level, x, limits=None, hidden=()):
    with closing(open_sandbox(level, run, limits or Limits(), hidden)) as sandbox:
        outcome = sandbox.run(Call(TRY + x, 20.0))
    assert outcome.status is OutcomeStatus.OK, outcome
    return outcome.value


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Make a project with data, a store and keys, and go into it."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "set").mkdir()
    for name in (
        "runs.db",
        "runs.db-wal",
        "runs.db-shm",
        ".env",
        ".env.local",
        ".git/config",
    ):
        (tmp_path / name).write_text("secret")
    for name in ("data.csv", "set/more.csv"):
        (tmp_path / name).write_text("1,2\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def other():
    """Yield a program of the same user that only waits."""
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE
    ) as program:
        yield program
        program.communicate(b"\n")


def test_limits_priority_and_processors_of_others_stay_as_they_are(level, other):
    before = [
        resource.prlimit(other.pid, kind)
        for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
    ]
    x = (
        f"pids = {[other.pid, os.getpid(), os.getppid()]}\n"
        "deeds = [lambda p: resource.prlimit(p, resource.RLIMIT_CPU, (900, 900)), "
        "lambda p: resource.prlimit(p, 7),"
        " lambda p: os.setpriority(os.PRIO_PROCESS, p, 19), lambda p: "
        "os.setpriority(os.PRIO_USER, 0, 19),"
        " lambda p: os.sched_setaffinity(p, {0}),"
        " lambda p: os.sched_setscheduler(p, os.SCHED_BATCH, os.sched_param(0))]\n"
        "y = [attempt(lambda: deed(p)) for p in pids for deed in deeds]"
    )
    assert "done" not in value_of(level, x)
    assert [
        resource.prlimit(other.pid, kind)
        for kind in (resource.RLIMIT_CPU, resource.RLIMIT_NOFILE)
    ] == before
    assert os.getpriority(os.PRIO_PROCESS, other.pid) == os.getpriority(
        os.PRIO_PROCESS, 0
    )
    assert os.sched_getaffinity(other.pid) == os.sched_getaffinity(0)


def test_a_candidate_may_change_itself(level):
    x = (
        "pid = os.getpid()\n"
        "y = [attempt(deed) for deed in (lambda: os.nice(1), lambda: "
        "os.sched_setaffinity(pid, {0}),"
        " lambda: resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)), lambda: "
        "os.setpriority(os.PRIO_PROCESS, pid, 3),"
        " lambda: os.sched_setaffinity(0, {0}), lambda: "
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))]"
    )
    assert value_of(level, x) == ["done"] * 6


CHANGE = """
def changes(path):
    return [
        attempt(lambda: os.chmod(path, 0o604)),
        attempt(lambda: os.utime(path, (1, 1))),
        attempt(lambda: os.setxattr(path, 'user.hostile', b'1')),
        attempt(lambda: os.chown(path, os.getuid(), os.getgid())),
    ]
"""


def test_mode_owner_times_and_attributes_outside_stay(level, project):
    paths = [project / "data.csv", project / "set", project]
    before = [(path.stat(), os.listxattr(path)) for path in paths]
    reported = value_of(
        level,
        CHANGE
        + f"y = [one for path in {list(map(str, paths))} for one in changes(path)]",
    )
    assert "done" not in reported
    assert [(path.stat(), os.listxattr(path)) for path in paths] == before


def test_a_candidate_changes_what_is_its_own(level, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("x")
    x = CHANGE + (
        "import shutil, subprocess, sys\n"
        "here = tempfile.mkdtemp()\nopen(here + '/a', 'w').write('#!/bin/sh\\nexit 7')\n"
        "shutil.copy2(here + '/a', here + '/b')\nos.chmod(here + '/b', 0o700)\n"
        f"old = {str(tmp_path / 'out' / 'old')!r}\n"
        "y = [changes(here + '/a')[:2], changes(old)[:2], subprocess.call([here + '/b'])]"
    )
    assert value_of(level, x, Limits(writable=(str(tmp_path / "out"),))) == [
        ["done", "done"],
        ["done", "done"],
        7,
    ]
    assert (tmp_path / "out" / "old").stat().st_mode & 0o777 == 0o604


@contextmanager
def while_scoring(level, x):
    """Yield when a scoring has begun, let it end, and begin another on the same supervisor."""
    with closing(open_sandbox(level, run)) as sandbox:
        sandbox.run(Call("y = 1", 20.0))
        outcomes = []
        thread = threading.Thread(
            target=lambda: outcomes.append(sandbox.run(Call(TRY + x, 20.0)))
        )
        thread.start()
        yield
        thread.join()
        assert outcomes[0].status is OutcomeStatus.OK, outcomes
        assert sandbox.run(Call("y = 1", 20.0)).value == 1


def system_v():
    return {
        kind: Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        for kind in ("shm", "sem", "msg")
    }


def ids():
    return {
        kind: sorted(int(line.split()[1]) for line in lines)
        for kind, lines in system_v().items()
    }


@pytest.fixture
def things_of_others():
    """Yield a function that makes what honest programs make, and return what of it is left."""
    made = {}

    def make():
        made["file"] = Path(f"/dev/shm/llm_optimize-test-{os.getpid()}")
        made["file"].write_text("dataset")
        made["sem"], made["msg"] = LIBC.semget(0, 1, 0o1600), LIBC.msgget(0, 0o1600)
        made["shm"] = LIBC.shmget(0, 4096, 0o1600)
        return made

    yield make
    made["file"].unlink(missing_ok=True)
    (
        LIBC.semctl(made["sem"], 0, 0),
        LIBC.msgctl(made["msg"], 0, 0),
        LIBC.shmctl(made["shm"], 0, 0),
    )


def left_of(made):
    return [
        made["file"].exists(),
        *(made[kind] in ids()[kind] for kind in ("sem", "msg", "shm")),
    ]


def test_what_others_make_during_a_scoring_stays(level, things_of_others):
    with while_scoring(level, "time.sleep(0.3)\ny = 1"):
        made = things_of_others()
    assert left_of(made) == [True] * 4


def test_shared_memory_of_others_is_out_of_sight_and_its_own_is_there(
    level, things_of_others
):
    made = things_of_others()
    x = (
        "from multiprocessing import get_context, shared_memory\n"
        f"path, number = {str(made['file'])!r}, {made['shm']}\n"
        "libc.shmat.restype = ctypes.c_void_p\n"
        "foreign = [attempt(lambda: open(path)), attempt(lambda: open(path, 'w'))]\n"
        "foreign.append(libc.shmat(number, None, 0) % 2**64)\n"
        "with get_context('fork').Pool(2) as pool: squares = pool.map(abs, [-1, 2])\n"
        "own = shared_memory.SharedMemory(create=True, size=4096)\n"
        "y = [foreign, squares, os.listdir('/dev/shm'), own.name]\n"
        "from multiprocessing import resource_tracker\n"
        "resource_tracker.unregister(own._name, 'shared_memory')"
    )
    foreign, squares, names, own = value_of(level, x)
    assert foreign == ["FileNotFoundError", "done", 2**64 - 1]  # the name is free there
    assert (squares, sorted(names)) == ([1, 2], sorted([own, made["file"].name]))
    assert made["file"].read_text() == "dataset"
    assert not Path("/dev/shm", own).exists()


def test_shared_memory_has_a_size(level):
    x = "s = os.statvfs('/dev/shm')\ny = s.f_blocks * s.f_frsize"
    assert value_of(level, x, Limits(scratch_mb=50)) == 50 << 20


def test_shared_memory_that_is_named_is_shared():
    name = f"llm_optimize-named-{os.getpid()}"
    Path("/dev/shm", name).write_text("dataset")
    try:
        x = f"y = [open('/dev/shm/{name}').read(), attempt(lambda: open('/dev/shm/{name}', 'w'))]"
        assert (
            value_of("process", x, Limits(readable=(f"/dev/shm/{name}",)))[0]
            == "dataset"
        )
        assert value_of("process", x, Limits(writable=("/dev/shm",))) == [
            "dataset",
            "done",
        ]
    finally:
        Path("/dev/shm", name).unlink()


def test_message_queues_go_with_their_scoring(level):
    queue = f"/llm_optimize-test-{os.getpid()}".encode()
    x = f"""
librt = ctypes.CDLL("librt.so.1", use_errno=True)
opened = librt.mq_open({queue!r}, os.O_RDWR)
y = [opened, librt.mq_open({queue!r}, os.O_CREAT | os.O_RDWR, 0o600, None)]
"""
    with closing(open_sandbox(level, run)) as sandbox:
        values = [sandbox.run(Call(TRY + x, 20.0)).value for _ in range(2)]
    assert [found for found, _ in values] == [-1, -1]
    assert ctypes.CDLL("librt.so.1").mq_open(queue, os.O_RDWR) == -1


def test_keyrings_are_not_there(level):
    number = {"x86_64": (248, 250), "aarch64": (217, 219)}[platform.machine()]
    x = (
        f"y = [libc.syscall({number[0]}, b'user', b'canary', b'x', 1, -3), "
        f"libc.syscall({number[1]}, 0, -3, 1)]"
    )
    assert value_of(level, x) == [-1, -1]


SOCKETS = """
kinds = {"tcp": (2, 1, 0), "udp": (2, 2, 0), "tcp6": (10, 1, 0), "mptcp": (2, 1, 262),
         "sctp": (2, 1, 132),
         "vsock": (40, 1, 0), "alg": (38, 5, 0), "unix": (1, 1, 0)}
y = []
for name, kind in kinds.items():
    if attempt(lambda: socket.socket(*kind).close()) == "done":
        y.append(name)
socket.socketpair()
"""


def test_without_a_network_only_sockets_that_stay_here_are_made(level):
    made = value_of(level, SOCKETS, NO_NETWORK)
    assert made == (["unix"] if level == "process" else ["tcp", "udp", "tcp6", "unix"])


def test_with_a_network_sockets_are_as_they_were(level):
    assert set(value_of(level, SOCKETS, Limits(network=True))) >= {
        "tcp",
        "udp",
        "tcp6",
        "unix",
    }


OPEN = "y = {name: attempt(lambda: open(name).read()) for name in NAMES}"
STORE = ["runs.db", "runs.db-wal", "runs.db-shm"]
KEYS = [".env", ".env.local", ".git/config"]
DATA = ["data.csv", "set/more.csv"]


def test_store_and_keys_of_the_working_directory_cannot_be_opened(level, project):
    x = f"NAMES = {STORE + KEYS + DATA}\n{OPEN}"
    reported = value_of(
        level, x, hidden=[str(project / name) for name in (*STORE, "no-such")]
    )
    assert reported == {
        **dict.fromkeys(STORE + KEYS, "PermissionError"),
        **dict.fromkeys(DATA, "done"),
    }


def test_a_key_that_is_named_is_read(level, project):
    x = f"NAMES = {KEYS}\n{OPEN}"
    reported = value_of(level, x, Limits(readable=(".env", str(project / ".git"))))
    assert reported == {
        ".env": "done",
        ".env.local": "PermissionError",
        ".git/config": "done",
    }


def test_watchers_of_files_stay_possible_for_others(level):
    x = "made = [libc.inotify_init1(0) for _ in range(400)]\ny = sum(one >= 0 for one in made)"
    assert 0 < value_of(level, x) < 64


def test_a_candidate_stays_visible_for_its_accounting(level):
    assert value_of(
        level, "y = [libc.prctl(4, 0, 0, 0, 0), libc.prctl(15, b'name', 0, 0, 0)]"
    ) == [-1, 0]


@pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the ways around are of x86-64"
)
def test_other_ways_to_number_calls_are_closed(level):
    # Mov eax, 20 (getpid of i386); int 0x80; ret.
    code = bytes.fromhex("b814000000cd80c3")
    x = f"""
import mmap
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write({code!r})
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
way, back = os.pipe()
if os.fork() == 0:
    os.write(back, str(ctypes.CFUNCTYPE(ctypes.c_int)(address)()).encode())
    os._exit(0)
os.close(back)
y = [libc.syscall(0x40000000 + 39), ctypes.get_errno(), os.read(way, 9).decode()]
"""
    reported = value_of(level, x)
    assert reported[:2] == [-1, errno.ENOSYS]
    assert reported[2] in (
        "-38",
        "",
    )  # ENOSYS; or killed, where the kernel has no such calls at all


def test_folders_in_shared_memory_may_be_worked_in(monkeypatch, level):
    folder = Path(f"/dev/shm/llm_optimize-work-{os.getpid()}")
    folder.mkdir()
    try:
        (folder / "data.csv").write_text("1,2\n")
        (folder / "tmp").mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TMPDIR", str(folder / "tmp"))
        x = (
            "open(tempfile.gettempdir() + '/a', 'w').write('x')\n"
            "y = [open('data.csv').read(), os.getcwd()]"
        )
        assert value_of(level, x) == ["1,2\n", str(folder)]
    finally:
        for file in (folder / "data.csv",):
            file.unlink()
        with suppress(OSError):
            (folder / "tmp").rmdir()
        folder.rmdir()


NESTED = """
from contextlib import closing
from llm_optimize import eval_utils
from llm_optimize.sandbox import Call, open_sandbox
with closing(open_sandbox("process", abs)) as inner: y = [inner.run(Call(-3, 10.0)).value]
y.append(eval_utils.run_script("import os\\nz = os.listdir('/dev/shm')", {}, ["z"])["z"])
y.append(eval_utils.exec_with_timeout_unsafe("z = 4", {}, ["z"], timeout_secs=10)["z"])
"""


def test_sandboxes_open_in_sandboxes():
    assert value_of("process", NESTED) == [3, [], 4]


WITHOUT = """
import json, os, sys
from contextlib import closing
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, open_sandbox

def run(x):
    names = {}
    exec(x, names)
    return names["y"]

if __name__ == "__main__":
    x, hidden = json.loads(sys.argv[1])
    with closing(open_sandbox("process", run, Limits(network=False), hidden)) as sandbox:
        outcome = sandbox.run(Call(x, 20.0))
        print(json.dumps([outcome.message, outcome.value, sandbox.mechanisms]))
"""


@pytest.fixture
def without(project):
    """Return what a scoring comes to on a machine without namespaces."""
    (project / "scoring.py").write_text(WITHOUT)

    def value(x, hidden=()):
        request = json.dumps([TRY + x, [str(project / name) for name in hidden]])
        message, reported, mechanisms = printed_without_namespaces(
            project / "scoring.py", request
        )
        assert message == ""
        assert not {"private ipc", "private /dev/shm", "read-only mounts"} & set(
            mechanisms
        )
        assert "seccomp" in mechanisms
        return reported

    return value


def test_without_namespaces_store_and_keys_cannot_be_opened_either(without):
    reported = without(
        f"NAMES = {STORE + KEYS + DATA}\n{OPEN}\ny['names'] = sorted(os.listdir('.'))",
        STORE,
    )
    assert "runs.db" in reported.pop("names")
    assert reported == {
        **dict.fromkeys(STORE + KEYS, "PermissionError"),
        **dict.fromkeys(DATA, "done"),
    }


def test_without_namespaces_there_are_no_queues_and_no_foreign_limits(without, other):
    x = f"""
from multiprocessing import get_context
with get_context('fork').Pool(2) as pool: squares = pool.map(abs, [-1, 2])
librt = ctypes.CDLL("librt.so.1", use_errno=True)
kept = [libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600)]
kept.append(librt.mq_open(b"/llm_optimize-without", os.O_CREAT | os.O_RDWR, 0o600, None))
y = [squares, kept, attempt(lambda: resource.prlimit({other.pid}, 7)), attempt(socket.socket)]
"""
    assert without(x) == [[1, 2], [-1] * 4, "PermissionError", "PermissionError"]


def test_without_namespaces_what_others_have_in_shared_memory_stays(
    without, things_of_others
):
    made = things_of_others()
    assert without("y = 1") == 1
    assert left_of(made) == [True] * 4
