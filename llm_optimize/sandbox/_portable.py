"""The `process` level where there is no Linux: a fresh process for each scoring, killed with the children it has.

Weaker than on Linux: each scoring pays for its imports, a daemon that left its process group may stay (macOS), and
memory is limited only where the system has such limits.
"""

from __future__ import annotations

import json
import math
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
from ._child import call, cpu_limit, settle
from ._environment import clean_environment
from ._outcome import Outcome, OutcomeStatus, crashed, killed
from ._payload import pack, unpack
from ._scratch import remove_scratch
from ._wire import NONCE_BYTES, Answer, Output

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); from llm_optimize.sandbox._portable import main; main(sys.argv[2])"
)
_ROOT = str(Path(__file__).resolve().parents[2])
_CANNOT_LOAD = 71  # exit code
_CHUNK_BYTES = 1 << 16
_POLL_SECS = 0.02


class PortableSandbox:
    """Calls f in a fresh process each time."""

    level = "process"

    def __init__(self, func: Callable[..., Any], limits: Limits) -> None:
        """Pack f and load it once. Raises FunctionUnusable when it cannot be packed, or loaded in a fresh process."""
        self._payload = pack(func)
        self._limits = limits
        self._closed = threading.Event()
        loaded = self._in_fresh_process({"load_only": True}, math.inf)
        if loaded.exit_code != 0:
            raise FunctionUnusable(f"f cannot be loaded in a fresh process:\n{loaded.output or loaded.message}")

    def run(self, x: Any, timeout_secs: float, seed: int = 0) -> Outcome:
        """Return what becomes of f(x)."""
        if self._closed.is_set():
            return killed()
        return self._in_fresh_process({"load_only": False, "x": x, "seed": seed}, timeout_secs)

    def _in_fresh_process(self, request: dict[str, Any], timeout_secs: float) -> Outcome:
        folder = Path(tempfile.mkdtemp(prefix="llm_optimize-"))
        cpu_secs = cpu_limit(self._limits, timeout_secs)
        nonce = secrets.token_bytes(NONCE_BYTES)
        try:
            self._write_request(folder, {**request, "cpu_secs": cpu_secs, "nonce": nonce.hex()})
            with open(folder / "answer", "xb+") as file:  # now: later a candidate may put a pipe in its place
                watch = _Watch(folder, self._limits, timeout_secs, self._closed)
                exit_code, verdict = watch.wait()
                answer = Answer(nonce, self._limits)
                answer.feed(file.read(self._limits.result_mb * 2**20 + NONCE_BYTES + 8))
        finally:
            remove_scratch(str(folder))
        outcome = verdict or (crashed(exit_code, cpu_secs) if answer.empty else answer.outcome())
        return replace(outcome, output=watch.output.text(), seconds=watch.seconds)

    def _write_request(self, folder: Path, request: dict[str, Any]) -> None:
        (folder / "f").write_bytes(self._payload)
        (folder / "scratch").mkdir()
        surroundings = {
            "sys_path": [entry or os.getcwd() for entry in sys.path],
            "limits": {**asdict(self._limits), "env": ()},
        }
        (folder / "request").write_text(json.dumps({**surroundings, **request}), encoding="utf-8")

    def close(self) -> None:
        """End everything in flight."""
        self._closed.set()


class _Watch:
    """A fresh process, and what it prints, until it and its children are dead."""

    def __init__(self, folder: Path, limits: Limits, timeout_secs: float, closed: threading.Event) -> None:
        self.output = Output()
        self.seconds = 0.0  # since f was called
        self._ready = folder / "ready"
        self._limits = limits
        self._timeout_secs = timeout_secs
        self._closed = closed
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _BOOT, _ROOT, str(folder)],  # -P: no module from the working directory
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=clean_environment(limits.env),
            start_new_session=True,
        )

    def wait(self) -> tuple[int, Outcome | None]:
        """Return the exit code, and our own verdict where we made an end."""
        reader = threading.Thread(target=_read_all, args=(self._process.stdout, self.output), daemon=True)
        reader.start()
        begun, verdict = None, None
        while self._process.poll() is None and verdict is None:
            if begun is None and self._ready.exists():
                begun = time.monotonic()
            self.seconds = time.monotonic() - begun if begun else 0.0
            verdict = self._verdict()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_SECS)
        self.seconds = time.monotonic() - begun if begun else _POLL_SECS
        _kill_tree(self._process)
        exit_code = self._process.wait()
        reader.join(timeout=1.0)
        return exit_code, verdict

    def _verdict(self) -> Outcome | None:
        if self._closed.is_set():
            return killed()
        if self.seconds >= self._timeout_secs:
            return Outcome(OutcomeStatus.TIMEOUT, message=f"stopped at its deadline of {self._timeout_secs:g} s")
        if self.output.total > self._limits.output_mb * 2**20:
            message = f"output limit of {self._limits.output_mb} MB reached (output_mb)"
            return Outcome(OutcomeStatus.OUTPUT, message=message)
        return None


def _read_all(stream: Any, output: Output) -> None:
    with suppress(ValueError, OSError), stream:
        while data := stream.read1(_CHUNK_BYTES):
            output.feed(data)


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group, and the children that psutil finds where it is installed."""
    for pid in _children(process.pid):
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
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
    """Be the child: read the request in the folder, call f, write the answer there."""
    request = json.loads((Path(folder) / "request").read_text(encoding="utf-8"))
    sys.path[:] = request["sys_path"]
    try:
        func = unpack((Path(folder) / "f").read_bytes())
    except BaseException as error:  # the import of the user's module may do anything
        sys.stdout.write(f"{type(error).__name__}: {error}")
        sys.exit(_CANNOT_LOAD)
    if request["load_only"]:
        return
    result = os.open(Path(folder) / "answer", os.O_WRONLY | getattr(os, "O_BINARY", 0))
    limits = Limits(**request["limits"])
    settle(str(Path(folder) / "scratch"), limits, request["cpu_secs"], request["seed"], None)
    (Path(folder) / "ready").touch()
    call(func, request["x"], result, bytes.fromhex(request["nonce"]), limits.result_mb * 2**20)
