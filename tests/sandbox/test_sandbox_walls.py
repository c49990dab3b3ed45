"""The walls around a candidate on Linux: what it sees, writes, reaches and leaves behind."""

import ctypes
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from levels import need_namespaces, shared_memory
from llm_optimize.errors import SandboxUnavailable, UsageError
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, OutcomeStatus, open_sandbox
from llm_optimize.sandbox.linux.landlock import landlock_abi

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="these walls are made by Linux"),
    pytest.mark.skipif(
        sys.platform == "linux" and not landlock_abi(),
        reason="this kernel has no Landlock",
    ),
]


def run(x):
    names = {}
    exec(x, names)
    return names["y"]


@pytest.fixture(scope="module", params=["process", "namespace"])
def level(request):
    if request.param == "namespace":
        need_namespaces()
    return request.param


def outcome_of(level, x, limits=None, timeout_secs=20.0, hidden=()):
    with closing(open_sandbox(level, run, limits or Limits(), hidden)) as sandbox:
        return sandbox.run(Call(x, timeout_secs))


TRY = """
def attempt(deed):
    try:
        deed()
        return "done"
    except OSError as error:
        return type(error).__name__
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Make a home with a key and a project, go into the project, and return the home."""
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    (home / ".ssh").mkdir()
    (home / ".ssh" / "key").write_text("secret")
    (home / "data.csv").write_text("1,2\n")
    (home / "project" / "data.csv").write_text("3,4\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home / "project")
    return home


def test_the_working_directory_is_read_and_the_home_around_it_is_not(level, home):
    x = (
        TRY
        + f"paths = {[str(home / 'data.csv'), str(home / '.ssh/key')]}\n"
        + "y = [open('data.csv').read()] + [attempt(lambda p=p: open(p)) for p in paths]"
    )
    value = outcome_of(level, x).value
    assert value[0] == "3,4\n"
    assert "done" not in value[1:]


def test_in_a_home_what_is_hidden_stays_hidden(level, home, monkeypatch):
    monkeypatch.chdir(home)
    value = outcome_of(
        level, TRY + "y = [open('data.csv').read(), attempt(lambda: open('.ssh/key'))]"
    ).value
    assert value[0] == "1,2\n"
    assert value[1] != "done"


def test_writing_is_for_the_scratch_directory_and_what_is_named(level, home, tmp_path):
    (tmp_path / "out").mkdir()
    x = TRY + (
        "import os, tempfile\n"
        f"home, out = {str(home / '.bashrc')!r}, {str(tmp_path / 'out/b')!r}\n"
        "targets = ['here.txt', home, tempfile.gettempdir() + '/a', out, '/usr/c']\n"
        "y = [attempt(lambda p=p: open(p, 'w').write('x')) for p in targets]"
    )
    value = outcome_of(level, x, Limits(writable=(str(tmp_path / "out"),))).value
    assert [one == "done" for one in value][::2] == [False, True, False]
    assert not (home / ".bashrc").exists()  # a namespace may have another of that name
    assert (tmp_path / "out" / "b").read_text() == "x"
    assert not (home / "project" / "here.txt").exists()


def test_what_is_named_is_readable_and_must_exist(level, home, tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.csv").write_text("5")
    x = f"y = open({str(tmp_path / 'set' / 'train.csv')!r}).read()"
    refused = outcome_of(level, x)
    assert refused.status is OutcomeStatus.RAISED
    assert level == "namespace" or "limits.readable" in refused.message
    assert outcome_of(level, x, Limits(readable=(str(tmp_path / "set"),))).value == "5"
    with pytest.raises(UsageError, match="readable names '/no/such'"):
        outcome_of(level, x, Limits(readable=("/no/such",)))


def test_no_other_process_is_signalled_or_looked_into(level):
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env={"SECRET": "x"}
    ) as other:
        x = TRY + (
            f"import os\npids = [{os.getpid()}, os.getppid(), {other.pid}]\n"
            "y = [attempt(lambda p=p: os.kill(p, 0)) for p in pids]"
            " + [attempt(lambda p=p: open(f'/proc/{p}/environ').read()) for p in pids]"
        )
        value = outcome_of(level, x).value
        other.communicate(b"\n")
    if level == "process":
        assert "done" not in value
    else:  # its parent there is the first process of its world, which no signal reaches
        assert [value[0], value[2], value[3], value[4], value[5]].count("done") == 0


def test_what_the_network_may(level):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        x = (
            TRY + "import socket\ny = attempt(lambda: "
            f"socket.create_connection(('127.0.0.1', {port}), 5).close())"
        )
        said = {
            network: outcome_of(level, x, Limits(network=network)).value
            for network in (True, False, None)
        }
    assert said[True] == "done"
    assert said[False] != "done"
    assert (said[None] == "done") == (level == "process")


def test_a_candidate_may_talk_to_itself_in_its_namespace():
    need_namespaces()
    x = (
        "import socket\nl = socket.socket()\nl.bind(('127.0.0.1', 0))\nl.listen()\n"
        "socket.create_connection(l.getsockname(), 5).close()\ny = 1"
    )
    assert outcome_of("namespace", x).value == 1


def test_too_much_in_the_scratch_directory_is_called_so(level):
    x = (
        "import tempfile, time\n"
        "for n in range(40):\n    open(f'{tempfile.gettempdir()}/{n}', "
        "'wb').write(bytes(1 << 20))\n"
        "time.sleep(15)\ny = 1"
    )
    outcome = outcome_of(level, x, Limits(scratch_mb=20))
    assert outcome.status in (OutcomeStatus.KILLED, OutcomeStatus.RAISED)
    assert "scratch_mb" in outcome.message
    assert "20 MB" in outcome.message


def can_limit_together():
    with closing(open_sandbox("process", run)) as sandbox:
        return "cgroup memory" in sandbox.mechanisms


def test_memory_of_all_processes_together_is_limited_where_a_group_can_be_made(level):
    if not can_limit_together():
        pytest.skip("no control group can be made here")
    x = (
        "import os, time\n"
        "for _ in range(4):\n    if os.fork() == 0:\n"
        "        kept = bytearray(150 << 20)\n        time.sleep(10)\n        os._exit(0)\n"
        "kept = bytearray(100 << 20)\nwhile os.wait()[1] == 0: pass\nos._exit(7)"
    )
    outcome = outcome_of(level, x, Limits(memory_mb=400))
    assert outcome.status is OutcomeStatus.MEMORY, outcome
    assert "400 MB reached by all its processes together" in outcome.message


def test_processes_are_limited(level):
    if os.getuid() == 0 and not can_limit_together():
        pytest.skip("root's processes are limited by control groups only")
    x = (
        "import os, time\nfor _ in range(100):\n"
        "    if os.fork() == 0: time.sleep(5), os._exit(0)\ny = 1"
    )
    outcome = outcome_of(level, x, Limits(processes=20))
    assert "limit of 20 processes and threads" in outcome.message


LEAVE = """
import ctypes, time
from multiprocessing import shared_memory
libc = ctypes.CDLL(None)
shm, sem, msg = libc.shmget(0, 4096, 0o1600), libc.semget(0, 1, 0o1600), libc.msgget(0, 0o1600)
kept = shared_memory.SharedMemory(create=True, size=4096)
from multiprocessing import resource_tracker
resource_tracker.unregister(kept._name, "shared_memory")
y = [shm, sem, msg, kept.name]
"""


def ipc_numbers():
    lines = {
        kind: Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        for kind in ("shm", "sem", "msg")
    }
    return {
        kind: sorted(line.split()[1] for line in found) for kind, found in lines.items()
    }


def test_shared_memory_and_semaphores_go_with_their_scoring(level):
    numbers, files = ipc_numbers(), shared_memory()
    with closing(open_sandbox(level, run)) as sandbox:
        outcome = sandbox.run(Call(LEAVE, 20.0))
        assert outcome.status is OutcomeStatus.OK, outcome
        sandbox.run(Call("y = 1", 20.0))  # by then the first is tidied up
        assert ipc_numbers() == numbers
        assert shared_memory() == files


def test_shared_memory_of_others_stays():
    from multiprocessing import get_context, shared_memory

    x = "import time\ntime.sleep(0.5)\ny = 1"
    libc = ctypes.CDLL(None)
    with closing(open_sandbox("process", run)) as sandbox:
        sandbox.run(Call("y = 1", 20.0))
        thread = threading.Thread(target=sandbox.run, args=(Call(x, 20.0),))
        thread.start()
        time.sleep(0.1)
        ours, number = (
            shared_memory.SharedMemory(create=True, size=4096),
            libc.shmget(0, 4096, 0o1600),
        )
        # As a pool of processes has it until its workers are up.
        semaphore = get_context("spawn").Semaphore()
        thread.join()
        sandbox.run(Call("y = 1", 20.0))
        assert os.path.exists(f"/dev/shm/{ours.name}")
        assert os.path.exists(f"/dev/shm/sem.{semaphore._semlock.name.strip('/')}")
        assert str(number) in ipc_numbers()["shm"]
    ours.close()
    ours.unlink()
    libc.shmctl(number, 0, 0)


def test_the_store_is_hidden_in_a_namespace(home):
    need_namespaces()
    (home / "project" / "runs.db").write_text("paid for")
    x = TRY + "y = [attempt(lambda: open('runs.db').read()), open('data.csv').read()]"
    value = outcome_of(
        "namespace", x, hidden=[str(home / "project" / "runs.db"), "/no/such"]
    ).value
    assert value == ["PermissionError", "3,4\n"]
    assert (home / "project" / "runs.db").read_text() == "paid for"


# The four traps of bubblewrap.


def test_no_key_is_in_the_environment_of_any_process_of_a_namespace(monkeypatch):
    need_namespaces()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    x = (
        "import os\ny = []\n"
        "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
        "    for name in ('environ', 'cmdline'):\n"
        "        try: y.append('sk-canary' in open(f'/proc/{pid}/{name}').read())\n"
        "        except OSError: pass"
    )
    value = outcome_of("namespace", x).value
    assert True not in value
    assert len(value) >= 3  # of itself, and the command line of the first process


def test_nothing_in_a_namespace_is_made_writable_again():
    need_namespaces()
    x = TRY + (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "status = open('/proc/self/status').read().split('CapEff:')[1].split()[0]\n"
        "tries = [libc.mount(None, b'/usr', None, 32 | 4096, None), "
        "libc.unshare(0x10000000), libc.unshare(0x20000)]\n"
        "tries.append(libc.mount(None, b'/usr', None, 32 | 4096, None))\n"
        "y = [int(status, 16), tries, attempt(lambda: open('/usr/hostile-canary', 'w')),"
        " attempt(lambda: open('/proc/sys/kernel/hostname', 'w').write('x'))]"
    )
    privileges, tries, write, sysctl = outcome_of("namespace", x).value
    assert privileges == 0
    assert tries == [-1] * 4
    assert write != "done"
    assert sysctl != "done"


def test_every_writable_file_system_of_a_namespace_has_a_size():
    need_namespaces()
    x = (
        "import os\ny = {}\n"
        "for line in open('/proc/self/mounts'):\n"
        "    _, path, kind, options, *_ = line.split()\n"
        "    if 'rw' in options.split(',') and kind not in ('proc', 'devpts', 'mqueue'):\n"
        "        s = os.statvfs(path)\n        y[path] = s.f_blocks * s.f_frsize"
    )
    sizes = outcome_of("namespace", x, Limits(scratch_mb=50)).value
    nodes = {
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/console",
    }
    assert {path: size for path, size in sizes.items() if path not in nodes} == {
        "/tmp": 50 << 20,
        "/dev/shm": 50 << 20,
    }
    assert (
        outcome_of("namespace", TRY + "y = attempt(lambda: open('/x', 'w'))").value
        != "done"
    )


def test_a_namespace_outlives_the_thread_that_opened_it():
    need_namespaces()
    made = []
    thread = threading.Thread(
        target=lambda: made.append(open_sandbox("namespace", run))
    )
    thread.start()
    thread.join()
    with closing(made[0]) as sandbox:
        assert [sandbox.run(Call("y = 1", 20.0)).value for _ in range(3)] == [1, 1, 1]


def test_a_missing_bubblewrap_is_told_and_auto_does_without(monkeypatch, caplog):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SandboxUnavailable, match="apt install bubblewrap"):
        open_sandbox("namespace", run)
    with closing(open_sandbox("auto", run)) as sandbox:
        assert sandbox.level == "process"
        assert sandbox.run(Call("y = 1", 20.0)).value == 1
    assert (
        sum("sandbox='auto' takes 'process'" in line for line in caplog.messages) == 1
    )


def test_a_bubblewrap_that_may_not_work_is_told(monkeypatch, tmp_path):
    false = tmp_path / "bwrap"
    false.write_text(
        "#!/bin/sh\necho 'setting up uid map: Permission denied' >&2\nexit 1\n"
    )
    false.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        SandboxUnavailable,
        match=r"uid map: Permission denied.*user namespaces seem to be forbidden",
    ):
        open_sandbox("namespace", run)


def test_auto_takes_the_strongest():
    need_namespaces()
    with closing(open_sandbox("auto", run)) as sandbox:
        assert sandbox.level == "namespace"
        assert "namespaces" in sandbox.mechanisms


def test_an_import_that_ends_the_program_is_told(tmp_path, monkeypatch):
    (tmp_path / "ends.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}: os._exit(3)\ndef f(x): return 1.0\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    from ends import f

    with pytest.raises(SandboxUnavailable, match="exit code 3"):
        open_sandbox("process", f)
    del sys.modules["ends"]
