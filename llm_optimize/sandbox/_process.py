"""The `process` level on Linux: the optimizer's side. Nothing that comes from a child is trusted, or unpickled."""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import socket
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

from ..errors import FunctionUnusable, SandboxUnavailable
from ..records import Limits
from ._child import cpu_limit
from ._environment import clean_environment, one_thread, threads_as_here
from ._keeper import become_subreaper, children, fork, kill_with_kin
from ._outcome import Outcome, OutcomeStatus, crashed, killed
from ._payload import pack
from ._scratch import remove_scratch
from ._wire import NONCE_BYTES, Answer, Output, receive_frame, send_frame
from ._zygote import keep_scoring

_log = logging.getLogger(__name__)
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llm_optimize.sandbox._zygote import main; main()"
_ROOT = str(Path(__file__).resolve().parents[2])
_REPORT_SECS = 2.5  # for a keeper to kill all and say so; then it is replaced
_CHUNK_BYTES = 1 << 16
_HELLO_SECS = 10.0  # for a keeper to be forked, on a busy machine
_STARTS = 3  # of a keeper for one call
_DRAIN_BYTES = 1 << 20  # of what is left in a pipe of 64 KiB when everybody is dead


class ProcessSandbox:
    """Calls f in children of a warm process that loaded it once."""

    level = "process"

    def __init__(self, func: Callable[..., Any], limits: Limits) -> None:
        """Pack f. Raises FunctionUnusable when it cannot be packed, or cannot be loaded in a fresh process."""
        self._payload = pack(func)
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[_Keeper] = []
        self._busy: set[_Keeper] = set()
        self._closed = False
        self._zygote = self._start()

    def _start(self) -> _Zygote:
        return _Zygote(self._payload, self._limits)

    def run(self, x: Any, timeout_secs: float, seed: int = 0) -> Outcome:
        """Return what becomes of f(x)."""
        body = json.dumps(x).encode()
        for _ in range(_STARTS):
            keeper = self._take()
            if keeper is None:
                return killed()
            try:
                if keeper.greet():
                    outcome = _Call(keeper, self._limits, timeout_secs).run(body, seed)
                    return killed() if self._closed and outcome.status is OutcomeStatus.KILLED else outcome
            finally:
                self._give_back(keeper)
            self._restart(keeper.zygote)
        return Outcome(OutcomeStatus.KILLED, message="the warm process of the sandbox does not start: see the log")

    def _take(self) -> _Keeper | None:
        """Return a keeper that waits for work, or a new one, or None when all is closed."""
        with self._lock:
            if self._closed:
                return None
            while self._idle:
                keeper = self._idle.pop()
                if keeper.alive():
                    break
                keeper.discard()
            else:
                keeper = _Keeper(self._zygote.open_link(), self._zygote)
            self._busy.add(keeper)
            return keeper

    def _give_back(self, keeper: _Keeper) -> None:
        with self._lock:
            self._busy.discard(keeper)
            if keeper.usable and not self._closed:
                self._idle.append(keeper)
                return
        keeper.discard()

    def _restart(self, zygote: _Zygote | None) -> None:
        """Put another in the place of a warm process that forks no keepers any more, if nobody else did."""
        with self._lock:
            if not self._closed and zygote is self._zygote and not zygote.works():
                _log.warning("the warm process of the sandbox has ended or hangs: it is started again")
                zygote.close()
                self._zygote = self._start()

    def close(self) -> None:
        """End everything in flight."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, busy = self._idle, set(self._busy)
        for keeper in busy:
            keeper.hang_up()
        for keeper in idle:
            keeper.discard()
        self._zygote.close()


def run_forked(func: Callable[[Any], Any], x: Any, timeout_secs: float, limits: Limits) -> Outcome:
    """Return what becomes of f(x) in a fork of this very process, which must have one thread only.

    Nothing is pickled and nothing imported anew; the child sees all that this process has.
    """
    ours, theirs = socket.socketpair()

    def keep() -> None:
        ours.close()
        os.setsid()
        become_subreaper()
        keep_scoring(theirs, func, limits, scorings=1)

    pid = fork(keep)
    theirs.close()
    keeper = _Keeper(ours, None)
    try:
        if not keeper.greet():
            return Outcome(OutcomeStatus.KILLED, message="the process that watches over it was killed")
        return _Call(keeper, limits, timeout_secs).run(json.dumps(x).encode(), seed=0)
    finally:
        keeper.discard()
        if not keeper.usable:
            kill_with_kin(pid)
        os.waitpid(pid, 0)


def may_fork() -> bool:
    """Whether this process has one thread only: a fork of one with more may wait for ever for a lock."""
    return len(os.listdir("/proc/self/task")) == 1


class _Zygote:
    """The warm process."""

    def __init__(self, payload: bytes, limits: Limits) -> None:
        self._scratch = tempfile.mkdtemp(prefix="llm_optimize-")
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _BOOT, _ROOT],  # -P: no module from the working directory
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**clean_environment(limits.env), **one_thread()},
                start_new_session=True,
            )
        try:
            self._greet(payload, limits)
        except BaseException:
            self.close()
            raise

    def _greet(self, payload: bytes, limits: Limits) -> None:
        settings = {
            "sys_path": [entry or os.getcwd() for entry in sys.path],
            "limits": asdict(limits),
            "threads": threads_as_here(),
            "scratch": self._scratch,
        }
        try:
            send_frame(self._control, json.dumps(settings).encode())
            send_frame(self._control, payload)
            answer = json.loads(receive_frame(self._control)[0])
        except (EOFError, OSError) as error:
            raise SandboxUnavailable(
                f"the warm process of the sandbox ended while it loaded f (exit code {self._process.wait(5)}): "
                "does importing f's module end the program?"
            ) from error
        if "error" in answer:
            raise FunctionUnusable(f"f cannot be loaded in a fresh process:\n{answer['error']}")

    def open_link(self) -> socket.socket:
        """Return the link to a new keeper; nobody speaks on it when this process is gone."""
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):
            send_frame(self._control, b"", (theirs.fileno(),))
        return ours

    def works(self) -> bool:
        """Whether the process runs and forks a keeper when it is asked."""
        probe = _Keeper(self.open_link(), self)
        try:
            return probe.greet()
        finally:
            probe.discard()

    def owns(self, pid: int) -> bool:
        """Whether this is a child of the process, and not another that has the number now."""
        return pid in children(self._process.pid)

    def close(self) -> None:
        """Hang up; it kills its keepers and ends, or is killed."""
        self._control.close()
        try:
            self._process.wait(_REPORT_SECS)
        except subprocess.TimeoutExpired:
            kill_with_kin(self._process.pid)
            self._process.wait()
        remove_scratch(self._scratch)


class _Keeper:
    """The optimizer's end of the link to a keeper."""

    def __init__(self, link: socket.socket, zygote: _Zygote | None) -> None:
        self.link = link
        self.zygote = zygote
        self.usable = True
        self._pid: int | None = None

    def greet(self) -> bool:
        """Wait for the first word of a new keeper, its process id; return whether it came."""
        if self._pid is None:
            self.link.settimeout(_HELLO_SECS)
            try:
                self._pid = int(receive_frame(self.link)[0])
            except (EOFError, OSError):
                self.usable = False
                return False
            self.link.settimeout(_REPORT_SECS)
        return True

    def kill(self) -> None:
        """Kill a keeper that does not answer (a candidate may have stopped it); its warm process sweeps behind it."""
        self.usable = False
        if self._pid is not None and self.zygote is not None and self.zygote.owns(self._pid):
            kill_with_kin(self._pid)

    def alive(self) -> bool:
        """Whether the keeper has neither ended nor spoken out of turn."""
        poll = select.poll()
        poll.register(self.link, select.POLLIN)
        return not poll.poll(0)

    def hang_up(self) -> None:
        """Make the keeper kill its child and end; a call that waits for it returns."""
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def discard(self) -> None:
        """Let go of the keeper; without the link it ends by itself."""
        self.link.close()


class _Call:
    """One scoring: what is read from the child until it and all its kin are dead."""

    def __init__(self, keeper: _Keeper, limits: Limits, timeout_secs: float) -> None:
        self._keeper = keeper
        self._limits = limits
        self._timeout_secs = timeout_secs
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._answer = Answer(self._nonce, limits)
        self._output = Output()
        self._verdict: Outcome | None = None  # of ours, before the child's
        self._facts: dict[str, Any] | None = None

    def run(self, body: bytes, seed: int) -> Outcome:
        begun = time.monotonic()
        result, their_result = os.pipe()
        output, their_output = os.pipe()
        try:
            try:
                self._send(body, seed, (their_result, their_output))
            finally:
                os.close(their_result)
                os.close(their_output)
            ended = self._listen(result, output, begun)
        except (OSError, EOFError):
            ended = time.monotonic()
            self._keeper.kill()
        finally:
            os.close(result)
            os.close(output)
        return self._outcome(ended - begun)

    def _send(self, body: bytes, seed: int, fds: tuple[int, int]) -> None:
        head = {"timeout_secs": self._timeout_secs, "seed": seed, "nonce": self._nonce.hex()}
        send_frame(self._keeper.link, json.dumps(head).encode() + b"\n" + body, fds)

    def _listen(self, result: int, output: int, begun: float) -> float:
        """Read until the keeper reports; return when the child was told to end, or ended."""
        link = self._keeper.link
        for fd in (result, output):
            os.set_blocking(fd, False)
        deadline, told = begun + self._timeout_secs, 0.0
        poll = select.poll()
        for fd in (result, output, link.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            wait_secs = max(0.0, deadline - time.monotonic())
            for fd, _ in poll.poll(wait_secs * 1000 + 1):
                if fd == link.fileno():
                    self._facts = json.loads(receive_frame(link)[0])
                    if not told:
                        link.sendall(b"K")
                    self._drain(result, output)
                    return told or time.monotonic()
                if not self._read(fd, self._answer if fd == result else self._output):
                    poll.unregister(fd)
            if told and time.monotonic() > deadline:
                raise EOFError("the keeper does not report")
            if not told and self._over(deadline):
                told = time.monotonic()
                deadline = told + _REPORT_SECS
                link.sendall(b"K")

    def _over(self, deadline: float) -> bool:
        """Whether the child has nothing more to say, or may say no more."""
        limit_mb = self._limits.output_mb
        if time.monotonic() >= deadline and not self._answer.complete:
            self._verdict = Outcome(
                OutcomeStatus.TIMEOUT, message=f"stopped at its deadline of {self._timeout_secs:g} s"
            )
        elif self._output.total > limit_mb * 2**20:
            self._verdict = Outcome(OutcomeStatus.OUTPUT, message=f"output limit of {limit_mb} MB reached (output_mb)")
        return self._verdict is not None or self._answer.complete

    @staticmethod
    def _read(fd: int, sink: Answer | Output) -> bool:
        """Read once; return whether more may come."""
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        sink.feed(data)
        return bool(data)

    def _drain(self, result: int, output: int) -> None:
        """Read what the dead have left in their pipes."""
        for fd, sink in ((result, self._answer), (output, self._output)):
            for _ in range(_DRAIN_BYTES // _CHUNK_BYTES):
                if not select.select([fd], [], [], 0)[0] or not self._read(fd, sink):
                    break

    def _outcome(self, seconds: float) -> Outcome:
        facts = self._facts or {}
        if facts.get("left"):
            self._keeper.usable = False
            _log.warning("%d processes of a candidate could not be killed in time", facts["left"])
        outcome = self._verdict or (self._answer.outcome() if not self._answer.empty else self._crash(facts))
        return replace(
            outcome,
            output=self._output.text(),
            seconds=seconds,
            cpu_secs=facts.get("cpu_secs", 0.0),
            peak_memory_mb=facts.get("peak_memory_mb", 0.0),
        )

    def _crash(self, facts: dict[str, Any]) -> Outcome:
        code = facts.get("exit")
        if code is None:
            return Outcome(OutcomeStatus.KILLED, message="the process that watched over it was killed")
        return crashed(code, cpu_limit(self._limits, self._timeout_secs), facts["cpu_secs"])
