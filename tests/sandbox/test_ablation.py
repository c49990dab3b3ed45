"""Each wall stands for a reason: without it an attack comes through that is stopped with it.

An attack is a program that prints `held` or `open`. It runs against the library as it is, and
against a copy of it in which one mechanism is switched off.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from levels import need_namespaces
from llm_optimize.sandbox.linux.landlock import SIGNALS_ABI, landlock_abi
from llm_optimize.sandbox.linux.private_mounts import enter_user_namespace
from llm_optimize.sandbox.linux.process_tree import works_in_fork

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or landlock_abi() < SIGNALS_ABI,
    reason="the attacks are for Linux with Landlock",
)
ROOT = Path(__file__).parents[2]
LIBRARY, TESTS = ROOT / "llm_optimize", ROOT / "tests"

HEAD = """
import os, sys, time, json
from contextlib import closing
from pathlib import Path
from candidates import act, gone, load_and_call
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, open_sandbox

here = Path(sys.argv[1])
LIMITS = Limits(writable=(str(here),), output_mb=1, result_mb=1, scratch_mb=50)

def run(x, level="process", timeout_secs=5.0, seed=0, limits=LIMITS):
    with closing(open_sandbox(level, load_and_call, limits)) as sandbox:
        return sandbox.run(Call([x, 3.0], timeout_secs, seed))

def deed(x, timeout_secs=5.0):
    with closing(open_sandbox("process", act, LIMITS)) as sandbox:
        outcome = sandbox.run(Call(x, timeout_secs))
        held = not (here / "mark").exists() or gone(here / "mark")
        return outcome, held

def report(held):
    print("held" if held else "open")
"""

STORE = """
(here.parent / 'runs.db').write_text('paid for')
os.chdir(here.parent)
store = str(here.parent / 'runs.db')
with closing(open_sandbox('process', load_and_call, Limits(), [store])) as sandbox:
    found = sandbox.run(Call(['def candidate(x): return open("runs.db").read()', 3.0], 5.0))
"""
CALL_AS_I386 = """
import ctypes, mmap
def candidate(x):
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)()
"""

# The mark of a wall in the source: what stands there instead of its line, and the attack.
WALLS = {
    "the sweep": (
        "found = []",
        "_, held = deed(['daemon', str(here / 'mark')])\nreport(held)",
    ),
    "adopting orphans": (
        "pass",
        "_, held = deed(['daemon', str(here / 'mark')])\nreport(held)",
    ),
    "the clean environment": (
        "if True:",
        "os.environ['OPENAI_API_KEY'] = 'sk-canary'\n"
        "report('sk-canary' not in str(deed('environ')[0].value))",
    ),
    "the length of an answer": (
        "if False:",
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 31, 1 << 31))\n"
        "out = deed(['huge', 100 << 20], 60.0)[0]\nreport(out.peak_memory_mb < 220)",
    ),
    "the exact types": (
        "return float(value)",
        "class_ = 'class Liar(float):\\n    def __float__(self): return 666.0\\n'\n"
        "report(run(class_ + 'def candidate(x): return Liar(0.0)').value != 666.0)",
    ),
    "the nonce of a call": (
        "if False:",
        "answer = b'0' * 16 + (14).to_bytes(4, 'big') + b'{\"value\": 666}'\n"
        "frame = len(answer).to_bytes(4, 'big') + answer\n"
        "forged = f'import os, time\\ndef candidate(x): os.write(3, {frame!r}), time.sleep(5)'\n"
        "report(run(forged).value != 666)",
    ),
    "a seed for each scoring": (
        "pass",
        "x = 'import random\\ndef candidate(x): return random.random()'\n"
        "one, two = run(x, seed=1).value, run(x, seed=1).value\nreport(one == two)",
    ),
    "Landlock for files": (
        "pass",
        "(here.parent / 'key').write_text('secret')\n"
        "x = f'def candidate(x): return open({str(here.parent / \"key\")!r}).read()'\n"
        "report(run(x, limits=Limits()).value != 'secret')",
    ),
    "Landlock for signals": (
        "pass",
        "x = f'import os\\ndef candidate(x): return os.kill({os.getpid()}, 0)'\n"
        "report(run(x).status != 'ok')",
    ),
    "Landlock for TCP": (
        "pass",
        "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()\n"
        "x = f'import socket\\ndef candidate(x): "
        "socket.create_connection({s.getsockname()!r}); return 666.0'\n"
        "report(run(x, limits=Limits(network=False)).value != 666.0)",
    ),
    "the limit of the scratch directory": (
        "breach = None",
        "x = 'import tempfile, time\\ndef candidate(x):\\n"
        '    for n in range(80): open(f"{tempfile.gettempdir()}/{n}", '
        '"wb").write(bytes(1 << 20))\\n'
        "    time.sleep(3)\\n    return 666.0'\nreport(run(x).value != 666.0)",
    ),
    "read-only mounts": (
        "pass",
        "(here.parent / 'data').write_text('x')\nos.chdir(here.parent)\n"
        "run('import os\\ndef candidate(x): os.chmod(\"data\", 0o606)', limits=Limits())\n"
        "report((here.parent / 'data').stat().st_mode & 0o777 != 0o606)",
    ),
    "own /dev/shm": (
        "pass",
        "name = f'/dev/shm/ablation-{os.getpid()}'\nPath(name).write_text('of another program')\n"
        "x = f'def candidate(x): return open({name!r}).read()'\nfound = run(x).value\n"
        "os.unlink(name)\nreport(found is None)",
    ),
    "an IPC namespace": (
        "pass",
        "import ctypes\nnumber = ctypes.CDLL(None).shmget(0, 4096, 0o1600)\n"
        "x = 'import ctypes\\ndef candidate(x):\\n    libc = ctypes.CDLL(None)\\n'\n"
        "x += '    libc.shmat.restype = ctypes.c_void_p\\n'\n"
        "x += f'    return libc.shmat({number}, None, 0) == 2**64 - 1'\n"
        "found = run(x).value\nctypes.CDLL(None).shmctl(number, 0, 0)\nreport(found)",
    ),
    "hiding the store": (
        "pass",
        STORE + "report(found.status != 'ok')",
    ),
    "hiding the store by Landlock": (
        "return paths",
        "from llm_optimize.sandbox.linux.landlock import drop_capabilities\n"
        "from llm_optimize.sandbox.linux.private_mounts import enter_user_namespace\n"
        "enter_user_namespace()\ndrop_capabilities()\n"
        + STORE
        + "report(found.status != 'ok')",
    ),
    "hiding keys": (
        "pass",
        "(here.parent / '.env').write_text('sk-canary')\nos.chdir(here.parent)\n"
        "report(run('def candidate(x): return open(\".env\").read()', "
        "limits=Limits()).status != 'ok')",
    ),
    "the account of nameless files": (
        "pass",
        "x = 'import os, tempfile, time\\ndef candidate(x):\\n"
        "    fds = [os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR) for _ in range(8)]\\n"
        "    for fd in fds: os.write(fd, bytes(10 << 20))\\n    time.sleep(3)\\n    return 666.0'\n"
        "report(run(x, timeout_secs=20.0).value != 666.0)",
    ),
    "narrowed limits": (
        "limits = asked",
        "(here.parent / 'key').write_text('secret')\n"
        "x = ('from llm_optimize.eval_utils import run_script\\nfrom "
        "llm_optimize.records import Limits\\n'\n"
        '    \'def candidate(x):\\n    try: return run_script("y = open(p).read()", '
        '{"p": KEY}, ["y"],\'\n'
        '    \' limits=Limits(readable=("/",)))["y"]\\n    except Exception: return '
        "0.0').replace('KEY', "
        "repr(str(here.parent / 'key')))\n"
        "report(run(x, limits=Limits(), timeout_secs=20.0).value != 'secret')",
    ),
    "the count of a scoring's supervisors": (
        "if True:",
        "x = 'import os, socket\\ndef candidate(x):\\n    links, met = [], 0\\n"
        '    variable = os.environ["LLM_OPTIMIZE_SCRIPT_BROKER"]\\n'
        '    broker = socket.socket(fileno=os.dup(int(variable.split(":")[0])))\\n'
        "    for _ in range(30):\\n        ours, theirs = socket.socketpair()\\n"
        '        socket.send_fds(broker, [b"{}"], [theirs.fileno()])\\n'
        "        links.append(ours)\\n"
        '    return sum((link.recv(4) + link.recv(99)).endswith(b"supervisor") for link '
        "in links)'\n"
        "report(run(x, limits=Limits(processes=20), timeout_secs=20.0).value < 30)",
    ),
    "the memory of an answer": (
        "if False:",
        "x = 'def candidate(x): return [[]] * 250_000'\n"
        "report(run(x, timeout_secs=20.0).status == 'protocol')",
    ),
    "the filter of calls": (
        "pass",
        "import resource, subprocess\n"
        "other = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        "x = f'import resource\\ndef candidate(x): resource.prlimit({other.pid}, "
        "resource.RLIMIT_CPU, (900, 900))'\n"
        "run(x)\nfound = resource.prlimit(other.pid, resource.RLIMIT_CPU)\n"
        "other.communicate(b'\\n')\nreport(found != (900, 900))",
    ),
    "no keyrings": (
        "pass",
        "import platform\nnumber = {'x86_64': 248, 'aarch64': 217}[platform.machine()]\n"
        "x = 'import ctypes\\ndef candidate(x): return ctypes.CDLL(None)'\n"
        'x += f\'.syscall({number}, b"user", b"canary", b"x", 1, -2)\'\nreport(run(x).value == -1)',
    ),
    "sockets that stay here": (
        "if True:",
        "import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', "
        "0)); s.settimeout(1)\n"
        "send = 'socket.socket(type=socket.SOCK_DGRAM).sendto'\n"
        "x = f'import socket\\ndef candidate(x): {send}(b\"x\", {s.getsockname()!r})'\n"
        "run(x, limits=Limits(network=False))\n"
        "try: s.recv(9); report(False)\nexcept TimeoutError: report(True)",
    ),
    "no calls of i386": (
        "(_RETURN, 0, 0, _ALLOW),",
        f"found = run({CALL_AS_I386!r})\nreport(found.status != 'ok' or found.value < 0)",
    ),
    "limits of kernel counts": (
        "pass",
        "x = 'import ctypes\\ndef candidate(x):\\n'\n"
        "x += '    return sum(ctypes.CDLL(None).inotify_init1(0) >= 0 for _ in "
        "range(60))'\nreport(run(x).value <= 8)",
    ),
    "the lifeline": (
        "continue",
        "import signal\npid = os.fork()\n"
        "if pid == 0:\n    sandbox = open_sandbox('process', act, LIMITS)\n"
        "    (here / 'open').touch()\n    time.sleep(60)\n"
        "while not (here / 'open').exists(): time.sleep(0.01)\n"
        "below = [int(p) for p in Path(f'/proc/{pid}/task/{pid}/children').read_text().split()]\n"
        "os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)\n"
        "until = time.monotonic() + 3\n"
        "while any(os.path.exists(f'/proc/{p}') for p in below) and time.monotonic() < "
        "until: time.sleep(0.02)\n"
        "left = [p for p in below if os.path.exists(f'/proc/{p}')]\n"
        "[os.kill(p, signal.SIGKILL) for p in left]\nreport(not left)",
    ),
    "giving up privileges in a namespace": (
        "pass",
        "x = 'def candidate(x): return "
        'int(open("/proc/self/status").read().split("CapEff:")[1].split()[0], 16)\'\n'
        "report(run(x, 'namespace').value == 0)",
    ),
    "the size of a namespace's files": (
        "pass",
        'x = \'import os\\ndef candidate(x):\\n    s = os.statvfs("/tmp")\\n    return '
        "s.f_blocks * s.f_frsize'\n"
        "report(run(x, 'namespace').value == 50 << 20)",
    ),
    "the network namespace": (
        "pass",
        "import socket\ns = socket.socket(type=socket.SOCK_DGRAM); s.bind(('127.0.0.1', "
        "0)); s.settimeout(1)\n"
        "send = 'socket.socket(type=socket.SOCK_DGRAM).sendto'\n"
        "x = f'import socket\\ndef candidate(x): {send}(b\"x\", {s.getsockname()!r})'\n"
        "run(x, 'namespace')\n"
        "try: s.recv(9); report(False)\nexcept TimeoutError: report(True)",
    ),
}
# Walls behind a wall, which are taken out with it.
BEHIND = {
    "Landlock for TCP": ["sockets that stay here"],
}
NEED_USER_NAMESPACES = {
    "read-only mounts",
    "own /dev/shm",
    "an IPC namespace",
    "hiding the store",
    "hiding the store by Landlock",
    "limits of kernel counts",
}
NEED_NAMESPACES = {
    name for name, (_, attack) in WALLS.items() if "'namespace'" in attack
}


def result_of(attack, library, folder):
    folder.mkdir()
    (folder / "attack.py").write_text(HEAD + attack + "\n")
    paths = os.pathsep.join([str(library), str(TESTS)])
    ran = subprocess.run(
        [sys.executable, str(folder / "attack.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": paths},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.strip() or ran.stderr[-1500:]


def can_call_as_i386():
    """Whether a process without our filter may make calls of i386; not every kernel has them."""
    script = f"from candidates import load_and_call; print(load_and_call([{CALL_AS_I386!r}, 3.0]))"
    folder = TESTS
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        platform.machine() == "x86_64" and ran.returncode == 0 and int(ran.stdout) > 0
    )


@pytest.mark.parametrize("name", WALLS)
def test_an_attack_is_stopped_by_a_wall_and_comes_through_without_it(name, tmp_path):
    if name in NEED_NAMESPACES:
        need_namespaces()
    if name in NEED_USER_NAMESPACES and not works_in_fork(enter_user_namespace):
        pytest.skip("no user namespace can be made here")
    if name == "no calls of i386" and not can_call_as_i386():
        pytest.skip("this kernel has none to refuse")
    _, attack = WALLS[name]
    assert result_of(attack, LIBRARY.parent, tmp_path / "whole") == "held"
    copy = tmp_path / "copy" / "llm_optimize"
    # With its compiled files, since compiling all takes long.
    shutil.copytree(LIBRARY, copy)
    for mark in (name, *BEHIND.get(name, [])):
        take_out(mark, copy)
    assert result_of(attack, tmp_path / "copy", tmp_path / "broken") == "open"


def take_out(mark, library):
    """Replace the lines that carry a mark, in all files of a copy of the library."""
    hole, _ = WALLS[mark]
    found = 0
    for file in (library / "sandbox").rglob("*.py"):
        source = file.read_text(encoding="utf-8")
        pattern = rf"^( *)\S.*  # wall: {re.escape(mark)}$"
        changed, count = re.subn(pattern, rf"\g<1>{hole}", source, flags=re.M)
        if count:
            file.write_text(changed, encoding="utf-8")
            for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
                compiled.unlink()
        found += count
    assert found, f"no line ends with '# wall: {mark}'"


def test_every_mark_in_the_source_has_an_attack():
    marks = set()
    for file in (LIBRARY / "sandbox").rglob("*.py"):
        marks |= set(re.findall(r"# wall: (.+)$", file.read_text("utf-8"), re.M))
    assert marks == set(WALLS)
