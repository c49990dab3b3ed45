"""The `process` level where there is no Linux: a fresh process for each scoring, killed with the children it has.

Weaker than on Linux: each scoring pays for its imports, a daemon that left its process group may stay (macOS), and
memory is limited only where the system has such limits.
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
from ._child import call, settle
from ._environment import clean_environment
from ._outcome import Outcome, OutcomeStatus
from ._payload import pack, unpack
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
        """Pack f. Raises FunctionUnusable when it cannot be packed."""
        self._payload = pack(func)
        self._limits = limits
        self._closed = threading.Event()

    def run(self, x: Any, timeout_secs: float, seed: int = 0) -> Outcome:
        """Return what becomes of f(x); the deadline counts from the start of the fresh process."""
        with tempfile.TemporaryDirectory(prefix="llm_optimize-", ignore_cleanup_errors=True) as folder:
            nonce = secrets.token_bytes(NONCE_BYTES)
            self._write_request(Path(folder), x, seed, nonce)
            begun = time.monotonic()
            process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, _ROOT, folder],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=clean_environment(self._limits.env),
                start_new_session=True,
            )
            output = Output()
            verdict = self._watch(process, output, begun + timeout_secs)
            return self._outcome(verdict, process, Path(folder), nonce, output, time.monotonic() - begun)

    def _write_request(self, folder: Path, x: Any, seed: int, nonce: bytes) -> None:
        (folder / "f").write_bytes(self._payload)
        (folder / "scratch").mkdir()
        request = {"x": x, "seed": seed, "nonce": nonce.hex(), "sys_path": sys.path, "limits": asdict(self._limits)}
        (folder / "request").write_text(json.dumps(request), encoding="utf-8")

    def _watch(self, process: subprocess.Popen[bytes], output: Output, deadline: float) -> Outcome | None:
        """Wait for the end of the process, or make an end; return our own verdict, if there is one."""
        if process.stdout is None:
            raise ValueError("the output of the process is not piped")
        reader = threading.Thread(target=_read_all, args=(process.stdout, output), daemon=True)
        reader.start()
        verdict = None
        while process.poll() is None and verdict is None:
            verdict = self._verdict(output, deadline)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_SECS)
        _kill_tree(process)
        process.wait()
        reader.join(timeout=1.0)
        return verdict

    def _verdict(self, output: Output, deadline: float) -> Outcome | None:
        if self._closed.is_set():
            return Outcome(OutcomeStatus.KILLED, message="the sandbox was closed")
        if time.monotonic() > deadline:
            return Outcome(OutcomeStatus.TIMEOUT, message="stopped at its deadline")
        if output.total > self._limits.output_mb * 2**20:
            message = f"output limit of {self._limits.output_mb} MB reached (output_mb)"
            return Outcome(OutcomeStatus.OUTPUT, message=message)
        return None

    def _outcome(
        self,
        verdict: Outcome | None,
        process: subprocess.Popen[bytes],
        folder: Path,
        nonce: bytes,
        output: Output,
        seconds: float,
    ) -> Outcome:
        if process.returncode == _CANNOT_LOAD:
            raise FunctionUnusable(f"f cannot be loaded in a fresh process:\n{output.text()}")
        answer = Answer(nonce, self._limits.result_mb * 2**20)
        with suppress(FileNotFoundError), open(folder / "answer", "rb") as file:
            answer.feed(file.read(self._limits.result_mb * 2**20 + NONCE_BYTES + 8))
        outcome = verdict or (_crash(process.returncode) if answer.empty else answer.outcome())
        return replace(outcome, output=output.text(), seconds=seconds)

    def close(self) -> None:
        """End everything in flight."""
        self._closed.set()


def _crash(code: int) -> Outcome:
    if code < 0:
        return Outcome(OutcomeStatus.CRASHED, message=f"crashed with {signal.Signals(-code).name}", signal=-code)
    return Outcome(OutcomeStatus.CRASHED, message=f"ended with exit code {code} before f returned")


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
    result = os.open(Path(folder) / "answer", os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    limits = Limits(**{**request["limits"], "env": ()})
    settle(str(Path(folder) / "scratch"), limits, request["seed"], None)
    call(func, request["x"], result, bytes.fromhex(request["nonce"]))
