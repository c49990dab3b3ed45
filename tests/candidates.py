"""An f that does as x says, mostly badly. Every deed bounds itself; run it in a sandbox only."""

import asyncio
import contextlib
import ctypes
import fcntl
import math
import os
import random
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from llm_optimize.records import Score

LONG_SECS = 20  # then even what was not killed is gone


def act(x):
    """Do what x names, with the rest of x as arguments."""
    name, *arguments = x if isinstance(x, list) else [x]
    return DEEDS[name](*arguments)


HELD = []  # descriptors of this process that mark it as alive


def mark(marker, text=""):
    """Write into a file, and lock it for as long as this process or one forked off it lives."""
    HELD.append(os.open(marker, os.O_RDWR | os.O_CREAT, 0o666))
    fcntl.flock(HELD[-1], fcntl.LOCK_SH)
    words = (text or str(os.getpid())).encode()
    os.pwrite(HELD[-1], words, 0)
    # In this order: whoever is killed in between leaves something.
    os.ftruncate(HELD[-1], len(words))


def gone(marker, within_secs=1.0):
    """Whether all processes that marked the file are dead, or soon will be, in any namespace."""
    assert Path(marker).read_text(), "nobody has marked it"
    until = time.monotonic() + within_secs
    with open(marker) as file:
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.01)


def alive(pid):
    with contextlib.suppress(OSError):
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            not in "ZX"
        )
    return False


def load_and_call(order):
    """Run a program that defines `candidate`, and call that."""
    source, argument = order
    names = {"__name__": "candidate"}
    exec(compile(source, "candidate.py", "exec"), names)
    return names["candidate"](argument)


async def act_later(x):
    await asyncio.sleep(0.01)
    return act(x)


def hold_out():
    until = time.monotonic() + LONG_SECS
    while time.monotonic() < until:
        with contextlib.suppress(BaseException):
            time.sleep(0.05)


def loop():
    sys.stdout.write("about to loop\n")
    until = time.monotonic() + LONG_SECS
    while time.monotonic() < until:
        pass


def daemon(marker, then="return"):
    """Leave a process that hid behind two forks and a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            mark(marker)
            hold_out()
        os._exit(0)
    os.wait()
    while not (Path(marker).exists() and Path(marker).read_text()):
        time.sleep(0.005)
    return 1.0 if then == "return" else act(then)


def hop(marker):
    """Become a new process again and again, each in a session of its own."""
    until = time.monotonic() + LONG_SECS
    while time.monotonic() < until:
        if os.fork():
            os._exit(0)
        os.setsid()
        mark(marker)


def hide_and_hop(marker):
    if os.fork() == 0:
        hop(marker)
    while not (Path(marker).exists() and Path(marker).read_text()):
        time.sleep(0.005)
    return 1.0


def ignore_all(marker):
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
    mark(marker)
    hold_out()


def stop_self(marker):
    mark(marker)
    os.kill(os.getpid(), signal.SIGSTOP)
    hold_out()


def stop_supervisor(marker):
    """Stop the process that watches over this one."""
    mark(marker)
    os.kill(os.getppid(), signal.SIGSTOP)
    hold_out()


def pids(marker):
    """Write down the whole line of processes, then hang."""
    supervisor = os.getppid()
    fork_server = int(
        Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1]
    )
    mark(marker, f"{fork_server} {supervisor} {os.getpid()}\n")
    hold_out()


def pids_until(marker, release):
    """Write down the whole line of processes as they are called here, then wait for a file."""
    supervisor = os.getppid()
    parents = Path(f"/proc/{supervisor}/stat").read_text().rpartition(")")[2].split()[1]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(marker)  # of an earlier scoring
    mark(marker, f"{parents} {supervisor} {os.getpid()}\n")
    until = time.monotonic() + LONG_SECS
    while not os.path.exists(release) and time.monotonic() < until:
        time.sleep(0.01)
    return 1.0


def flood():
    piece = b"x" * 65_536
    for _ in range(16_384):  # 1 GB
        os.write(1, piece)


def deep():
    value = []
    for _ in range(5_000):
        value = [value]
    return value


def hoard():
    """Fill the memory in small pieces, so that nothing is left for a message."""
    kept = []
    while True:
        kept.append(bytes(1_000))


def two_answers():
    """Write an answer before f could; the nonce of the call is a guess."""
    os.write(3, b"\0\0\0\x12" + b"0" * 16 + b"{}")
    hold_out()


def threads():
    for _ in range(20):
        threading.Thread(target=hold_out).start()
    return 1.0


class Flattered(float):
    def __gt__(self, other):
        return True


def random_numbers(use_numpy):
    if use_numpy:
        import numpy as np

        return [random.random(), float(np.random.random())]
    return random.random()


def clutter(outside):
    """Fill the scratch directory with what is hard to remove: links, sealed folders, depth."""
    here = tempfile.gettempdir()
    os.symlink(outside, os.path.join(here, "link"))
    os.mkdir(os.path.join(here, "sealed"))
    Path(here, "sealed", "file").write_text("x")
    os.symlink(outside, os.path.join(here, "sealed", "link"))
    os.chmod(os.path.join(here, "sealed"), 0)
    os.mkfifo(os.path.join(here, "fifo"))
    os.chdir(here)
    for _ in range(60):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    Path("bottom").write_text("x")
    os.chmod(here, 0)
    return here


def remove_scratch():
    os.rmdir(tempfile.gettempdir())
    return 1.0


def link_scratch(outside):
    here = tempfile.gettempdir()
    os.rmdir(here)
    os.symlink(outside, here)
    return 1.0


def open_files():
    return sorted(int(name) for name in os.listdir("/proc/self/fd"))


def big_file():
    Path(tempfile.gettempdir(), "big").write_bytes(bytes(3 << 20))


def many_files():
    return len([open(os.devnull) for _ in range(2_000)])


class Unreadable(Exception):
    def __str__(self):
        raise RuntimeError("no text for you")


def throw(kind, *text):
    raise {
        "ValueError": ValueError,
        "Unreadable": Unreadable,
        "SystemExit": SystemExit,
    }.get(kind, KeyboardInterrupt)(*text)


DEEDS = {
    "answer": lambda value: value,
    "async": lambda: asyncio.run(asyncio.sleep(0, 7.0)),
    "big_file": big_file,
    "clutter": clutter,
    "daemon": daemon,
    "deep": deep,
    "random_numbers": random_numbers,
    "environ": lambda: dict(os.environ),
    "exit": lambda code: os._exit(code),
    "exit_at_end": lambda: sys.exit("bye"),
    "flattered": lambda: Flattered(1.0),
    "flood": flood,
    "hide_and_hop": hide_and_hop,
    "hoard": hoard,
    "huge": lambda size: "a" * size,
    "ignore_all": ignore_all,
    "infinity": lambda: math.inf,
    "kill_self": lambda number: os.kill(os.getpid(), number),
    "link_scratch": link_scratch,
    "long_sleep": lambda: time.sleep(LONG_SECS),
    "loop": loop,
    "many_files": many_files,
    "nan": lambda: math.nan,
    "numpy": lambda: (
        lambda np: [np.float64(1.5), np.int32(2), np.array(2.5), np.bool_(True)]
    )(__import__("numpy")),
    "objects": object,
    "open_files": open_files,
    "pids": pids,
    "pids_until": pids_until,
    "print": lambda text, value=1.0: (
        sys.stdout.write(text),
        sys.stderr.write("and errors\n"),
        value,
    )[2],
    "print_bytes": lambda: (os.write(1, b"\xff\xfe\n"), 1.0)[1],
    "raise": throw,
    "remove_scratch": remove_scratch,
    "score": lambda: Score(2.0, "fine", {"size": 3.0}, {"a": 1.0}),
    "segfault": lambda: ctypes.string_at(0),
    "sleep": lambda seconds, value=1.0: (time.sleep(seconds), value)[1],
    "stop_supervisor": stop_supervisor,
    "stop_self": stop_self,
    "surrogate": lambda: "\ud800 end",
    "threads": threads,
    "two_answers": two_answers,
    "zeros": lambda size: "\0" * size,
}
