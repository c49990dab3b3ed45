"""The `process` level without Linux: a fresh worker for each scoring, killed with its children.

A worker loads f ahead, while the one before works. They talk through files of a folder: `f` and
`settings` for the worker; `loaded`, `ready` and `answer` from it; `go` says that `answer` is open.

Weaker than on Linux: a daemon that left its process group may stay (macOS), files and other
processes can be seen, and memory is limited only where the system has such limits.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import FunctionUnusable
from ..records import Limits
from .child import answer_call, cpu_limit_secs, prepare_process
from .data import unpack
from .environment import clean_environment
from .outcome import Call, Outcome, OutcomeStatus, crashed, killed
from .pickling import imported_modules, pickle_function, unpickle_function
from .scratch import Scratch, remove_scratch
from .wire import NONCE_BYTES, Answer, Output

_BOOT = """
import sys
sys.path.insert(0, sys.argv[1])
from llm_optimize.sandbox.portable import main
main(sys.argv[2])
"""
_ROOT = str(Path(__file__).resolve().parents[2])
_CANNOT_LOAD = 71  # exit code
_CHUNK_BYTES = 1 << 16
_POLL_SECS = 0.02
_LINGER_SECS = 60.0  # a worker lives on after its answer, at most, until it is killed


class PortableSandbox:
    """Calls f in a process of its own each time; the next one loads f meanwhile.

    Args:
        func: f; it is pickled, and loaded once to try it.
        limits: of each scoring.
        for_scripts: whether the scratch directory is the working directory, too.

    Raises FunctionUnusable when f cannot be pickled, or cannot be loaded in a fresh process.
    """

    level = "process"
    mechanisms: tuple[str, ...] = ()

    def __init__(
        self, func: Callable[..., Any], limits: Limits, *, for_scripts: bool = False
    ) -> None:
        self._payload = pickle_function(func)
        self._settings = {
            "sys_path": [entry or os.getcwd() for entry in sys.path],
            "imports": imported_modules(func),
            "limits": {**asdict(limits), "env": ()},
            "for_scripts": for_scripts,
        }
        self._limits = limits
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._spare: _Worker | None = self._start()
        problem = self._spare.wait_until_loaded()
        if problem:
            self.close()
            raise FunctionUnusable(f"f cannot be loaded in a fresh process:\n{problem}")

    def _start(self) -> _Worker:
        return _Worker(self._payload, self._settings, self._limits)

    def run(self, call: Call) -> Outcome:
        """Call f(x) and return the outcome."""
        with self._lock:
            if self._closed.is_set():
                return killed()
            worker, self._spare = self._spare or self._start(), None
        try:
            worker.send(call)
            with self._lock:
                if self._spare is None and not self._closed.is_set():
                    self._spare = self._start()
            return worker.outcome(call, self._closed)
        finally:
            worker.remove()

    def close(self) -> None:
        """End all calls in flight."""
        with self._lock:
            self._closed.set()
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.remove()


class _Worker:
    """A process that loads f and waits for one call, with its folder and its output."""

    def __init__(
        self, payload: bytes, settings: dict[str, Any], limits: Limits
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="llm_optimize-"))
        self._limits = limits
        self._output = Output()
        (self._folder / "f").write_bytes(payload)
        (self._folder / "scratch").mkdir()
        (self._folder / "settings").write_text(json.dumps(settings), encoding="utf-8")
        # -P: no module from the working directory.
        command = [sys.executable, "-P", "-c", _BOOT, _ROOT, str(self._folder)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(limits.env),
            start_new_session=True,
        )
        self._reader = threading.Thread(
            target=_read_all, args=(self._process.stdout, self._output), daemon=True
        )
        self._reader.start()

    def wait_until_loaded(self) -> str:
        """Return what went wrong with the loading of f; "" when it is loaded."""
        loaded = self._folder / "loaded"
        while self._process.poll() is None and not loaded.exists():
            time.sleep(_POLL_SECS)
        if loaded.exists():
            return ""
        self._reader.join(timeout=1.0)
        printed = self._output.text()
        return printed or f"it ended with exit code {self._process.returncode}"

    def send(self, call: Call) -> None:
        """Give the worker its call."""
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        head = {
            "nonce": self._nonce.hex(),
            "seed": call.seed,
            "arrays": call.arrays,
            "cpu_secs": cpu_limit_secs(self._limits, call.timeout_secs),
        }
        # A worker that has ended cannot be written to; `outcome` will see that it has.
        with suppress(OSError), self._process.stdin as stdin:  # type: ignore[union-attr]
            stdin.write(json.dumps(head).encode() + b"\n" + call.body())

    def outcome(self, call: Call, closed: threading.Event) -> Outcome:
        """Return what becomes of the call that was sent."""
        # The file of the answer is opened before f runs: later a candidate may put a pipe there.
        with open(self._folder / "answer", "xb+") as file:
            (self._folder / "go").touch()
            answer = Answer(self._nonce, self._limits, arrays=call.arrays)
            seconds, verdict = self._wait(
                call.timeout_secs,
                lambda: closed.is_set() or call.stop.given,
                lambda: _read_answer(file, answer),
            )
            _read_answer(file, answer)
        cpu_secs = cpu_limit_secs(self._limits, call.timeout_secs)
        outcome = crashed(self._process.wait(), cpu_secs)
        if verdict is not None:
            outcome = verdict
        elif not answer.empty:
            outcome = answer.outcome()
        return replace(outcome, output=self._output.text(), seconds=seconds)

    def _wait(
        self,
        timeout_secs: float,
        is_stopped: Callable[[], bool],
        has_answered: Callable[[], bool],
    ) -> tuple[float, Outcome | None]:
        """Return how long f took, and an outcome where we ended the call."""
        begun: float | None = None
        seconds = 0.0
        verdict: Outcome | None = None
        scratch = Scratch(str(self._folder / "scratch"), self._limits.scratch_mb)
        check_at = time.monotonic() + scratch.next_check_secs
        while self._process.poll() is None and verdict is None and not has_answered():
            now = time.monotonic()
            if begun is None and (self._folder / "ready").exists():
                begun = now
            if begun is not None:
                seconds = now - begun
            if is_stopped():
                verdict = killed()
            else:
                verdict = self._broken_bound(seconds, timeout_secs)
            if verdict is None and now > check_at:
                verdict = self._overfull(scratch)
                check_at = time.monotonic() + scratch.next_check_secs
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_SECS)
        self._end()
        return max(seconds, _POLL_SECS), verdict

    def _broken_bound(self, seconds: float, timeout_secs: float) -> Outcome | None:
        if seconds >= timeout_secs:
            message = f"stopped at its deadline of {timeout_secs:g} s"
            return Outcome(OutcomeStatus.TIMEOUT, message=message)
        if self._output.total > self._limits.output_mb * 2**20:
            message = f"output limit of {self._limits.output_mb} MB reached (output_mb)"
            return Outcome(OutcomeStatus.OUTPUT, message=message)
        return None

    def _overfull(self, scratch: Scratch) -> Outcome | None:
        if not scratch.overfull():
            return None
        message = (
            f"scratch limit of {self._limits.scratch_mb} MB reached by all its files "
            "together (scratch_mb)"
        )
        return Outcome(OutcomeStatus.KILLED, message=message)

    def _end(self) -> None:
        _kill_tree(self._process)
        self._process.wait()
        self._reader.join(timeout=1.0)

    def remove(self) -> None:
        """Kill it, if it still lives, and remove its folder."""
        self._end()
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        remove_scratch(str(self._folder))


def _read_answer(file: Any, answer: Answer) -> bool:
    """Read what has come of an answer; return whether it is all there."""
    while data := file.read(_CHUNK_BYTES):
        answer.feed(data)
    return answer.complete


def _read_all(stream: Any, output: Output) -> None:
    with suppress(ValueError, OSError), stream:
        while data := stream.read1(_CHUNK_BYTES):
            output.feed(data)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, and the children that psutil finds where it is installed."""
    kill_signal = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
    for pid in _children(process.pid):
        with suppress(OSError):
            os.kill(pid, kill_signal)
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()


def _children(pid: int) -> list[int]:
    try:
        import psutil
    except ImportError:
        return []
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def main(folder: str) -> None:
    """Be the worker: load f, read the call from standard input, call f, write the answer."""
    here = Path(folder)
    settings = json.loads((here / "settings").read_text(encoding="utf-8"))
    sys.path[:] = settings["sys_path"]
    try:
        func = unpickle_function((here / "f").read_bytes(), settings["imports"])
    except BaseException as error:  # the import of the user's module may do anything
        sys.stdout.write(f"{type(error).__name__}: {error}")
        sys.exit(_CANNOT_LOAD)
    (here / "loaded").touch()
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    if not head:
        return
    request = json.loads(head)
    while not (here / "go").exists():
        time.sleep(_POLL_SECS)
    result_fd = os.open(here / "answer", os.O_WRONLY | getattr(os, "O_BINARY", 0))
    limits = Limits(**settings["limits"])
    scratch = str(here / "scratch")
    if settings["for_scripts"]:
        os.chdir(scratch)
    prepare_process(scratch, limits, request["cpu_secs"], request["seed"], None)
    (here / "ready").touch()
    arrays = request["arrays"]
    answer_call(
        func,
        unpack(body, arrays=arrays),
        result_fd=result_fd,
        nonce=bytes.fromhex(request["nonce"]),
        limits=limits,
        arrays=arrays,
        linger_secs=_LINGER_SECS,
    )
