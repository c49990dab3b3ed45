"""The watch over hostile programs: without walls it sees each kind of breach, else nothing.

Each attack is a few lines, runs in the jail with no sandbox around it, and undoes nothing.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from hostile.jail import USER_HOME as HOME
from hostile.matrix import Cell, run_cell
from hostile.programs import Program
from levels import need_namespaces

WORK = os.path.join(HOME, "work")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the jail needs Linux")

ANCESTOR = "import os, resource\npid = os.getppid()\n"
LIBRT = "import ctypes, os\nlibrt = ctypes.CDLL('librt.so.1')\n"

# What is seen, and what an attack does; the first word of a breach is its kind.
FORKED = {
    "value: 601.0": "y = 601.0",
    "status: gave 5.0": "y = 5.0",
    "canary": "import os\ny = open(os.path.expanduser('~/.ssh/id_canary')).read()",
    "late": "import time\ntime.sleep(1.5)\ny = 0.0",
    "packet: tcp": (
        "import socket\n"
        "socket.create_connection(('127.0.0.1', int(x))).send(b'x')\n"
        "y = 0.0"
    ),
    "packet: udp": (
        "import socket\n"
        "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', int(x)))\n"
        "y = 0.0"
    ),
    f"file: {WORK}/trials.jsonl": "open('trials.jsonl', 'a').write('# forged')\ny = 0.0",
    f"file: {HOME}/.ssh/authorized_keys": (
        "import os\nopen(os.path.expanduser('~/.ssh/authorized_keys'), 'w').write('x')\ny = 0.0"
    ),
    f"mode: {HOME}/.ssh/id_canary: 100600": (
        "import os\nos.chmod(os.path.expanduser('~/.ssh/id_canary'), 0o646)\ny = 0.0"
    ),
    f"mode: {WORK}/.env": "import os\nos.utime('.env', (1, 1))\ny = 0.0",
    f"mode: {WORK}/.git/config": (
        "import os\nos.setxattr('.git/config', 'user.hostile', b'1')\ny = 0.0"
    ),
    "limits of others": ANCESTOR
    + "soft, hard = resource.prlimit(pid, 11)\nresource.prlimit(pid, 11, (1, hard))\ny = 0.0",
    ": nice 0": ANCESTOR + "os.setpriority(os.PRIO_PROCESS, pid, 19)\ny = 0.0",
    ": processors [": (
        ANCESTOR
        + "have = sorted(os.sched_getaffinity(pid))\nos.sched_setaffinity(pid, have[:1])\ny = 0.0"
    ),
    "killed: bystander": (
        "import os, signal, pathlib\n"
        "kin = [int(p) for p in os.listdir('/proc') if p.isdigit()]\n"
        "cmd = lambda p: pathlib.Path(f'/proc/{p}/cmdline').read_bytes()\n"
        "[os.kill(p, signal.SIGKILL) for p in kin if b'sleep(3600)' in cmd(p)]\ny = 0.0"
    ),
    "process left": (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    os.close(1)\n"
        "    [os.close(n) for n in range(3, 32) if os.path.exists(f'/proc/self/fd/{n}')]\n"
        "    time.sleep(60)\n    os._exit(0)\ny = 0.0"
    ),
    "shared memory": "open('/dev/shm/left', 'w').write('x')\ny = 0.0",
    "things of others: gone or altered: /dev/shm/other": (
        "import os\n"
        "others = [n for n in os.listdir('/dev/shm') if n.startswith('other')]\n"
        "for n in others:\n    os.unlink('/dev/shm/' + n)\n"
        "y = 0.0"
    ),
    "things of others: gone or altered: sem": (
        "import ctypes\nlines = open('/proc/sysvipc/sem').read().splitlines()[1:]\n"
        "[ctypes.CDLL(None).semctl(int(line.split()[1]), 0, 0) for line in lines]\ny = 0.0"
    ),
    "ipc: msg": "import ctypes\nctypes.CDLL(None).msgget(0, 0o1600)\ny = 0.0",
    "queue": LIBRT
    + "librt.mq_open(b'/hostile-mq', os.O_CREAT | os.O_RDWR, 0o600, None)\ny = 0.0",
    "temporary file: left": "open('/tmp/left', 'w').write('x')\ny = 0.0",
    "scratch left": "import os\nos.mkdir('/tmp/llm_optimize-left')\ny = 0.0",
    "store": (
        "import sqlite3, time\nc = sqlite3.connect('state.db', timeout=9, isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE')\ntime.sleep(1.5)\ny = 0.0"
    ),
    "inotify": (
        "import ctypes, time\nlibc = ctypes.CDLL(None)\n"
        "kept = [libc.inotify_init1(0) for _ in range(9999)]\ntime.sleep(0.3)\ny = 0.0"
    ),
    "signal": "import os, signal\nos.kill(os.getppid(), signal.SIGURG)\ny = 0.0",
    "processes": (
        "import os, signal, time\npids = []\nfor _ in range(90):\n    pids.append(os.fork())\n"
        "    if pids[-1] == 0: time.sleep(20), os._exit(0)\ntime.sleep(1)\n"
        "for pid in pids: os.kill(pid, signal.SIGKILL), os.waitpid(pid, 0)\ny = 0.0"
    ),
    "memory": "import time\nkept = b'x' * (600 << 20)\ntime.sleep(0.3)\ny = 0.0",
}
HERE = {  # in the very process of the optimizer
    "optimizer: its cwd": "import os\nos.chdir('/')\ny = 0.0",
    "optimizer: its umask": "import os\nos.umask(0o77)\ny = 0.0",
    "optimizer: its environment": "import os\nos.environ['MARK'] = '1'\ny = 0.0",
    "optimizer: its handlers": (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\ny = 0.0"
    ),
    "optimizer: it holds": "import os\nos.dup(0)\ny = 0.0",
    "optimizer memory": "y = len(b'x' * (150 << 20)) * 0.0",
    "killed: the optimizer": "import os\nos._exit(1)",
    "next call": (
        "import hostile.optimizer\n"
        "hostile.optimizer.load_and_call = lambda _: 5.0\n"
        "y = 0.0"
    ),
}


def attack(name, body):
    source = (
        "def candidate(x):\n"
        + "".join(f"    {line}\n" for line in body.splitlines())
        + "    return y\n"
    )
    return Program(
        name,
        source,
        ("ok",),
        timeout_secs=0.3 if name == "late" else 8.0,
        wants_port=True,
        probe="inotify" if name == "inotify" else "",
        optimizer_mb=100,
        scoring_mb=400 if name == "memory" else 1 << 20,
    )


def watched(way, attacks):
    honest = {"first honest": "y = 0.0", **attacks, "last honest": "y = 0.0"}
    programs = [attack(*pair) for pair in honest.items()]
    return {
        one.program: one
        for one in run_cell(Cell("none", way, "user"), programs, 0.5, 0.3)
    }


@pytest.fixture(scope="module")
def seen():
    need_namespaces()
    forked = [dict(list(FORKED.items())[part::2]) for part in range(2)]
    with ThreadPoolExecutor() as pool:
        here, *done = (
            pool.submit(watched, *some)
            for some in (("here", HERE), *(("bare", part) for part in forked))
        )
        first, second = (one.result() for one in done)
    kept = {name: one for name, one in here.result().items() if name in HERE}
    return {**second, **first, **kept, "the end": [first["the end"], second["the end"]]}


@pytest.mark.parametrize("kind", [*FORKED, *HERE])
def test_a_breach_is_seen(seen, kind):
    assert seen[kind].word == "broken"
    assert kind in seen[kind].reason


def test_nothing_is_seen_where_nothing_is_broken(seen):
    assert [seen[name].word for name in ("first honest", "last honest")] == [
        "contained",
        "contained",
    ]


def test_what_is_left_at_the_end_is_seen(seen):
    reasons = " ".join(one.reason for one in seen["the end"])
    assert "process left" in reasons
    assert "scratch left: llm_optimize-left" in reasons
