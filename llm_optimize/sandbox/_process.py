"""The `process` level on Linux: the optimizer's side. Nothing that comes from a child is trusted, or unpickled."""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ..errors import FunctionUnusable, SandboxUnavailable
from ..records import Limits
from ._environment import clean_environment, one_thread_names
from ._keeper import become_subreaper, fork
from ._outcome import Outcome, OutcomeStatus
from ._payload import pack
from ._wire import NONCE_BYTES, Answer, Output, receive_frame, send_frame
from ._zygote import keep_scoring

_log = logging.getLogger(__name__)
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llm_optimize.sandbox._zygote import main; main()"
_ROOT = str(Path(__file__).resolve().parents[2])
_REPORT_SECS = 2.5  # for a keeper to kill all and say so; then it is replaced
_CHUNK_BYTES = 1 << 16
_STARTS = 3  # of a zygote for one call
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
        for start in range(_STARTS):
            try:
                keeper = self._take()
            except OSError as error:
                _log.warning("the warm process of the sandbox is started again (%d): %s", start + 1, error)
                self._restart()
                continue
            if keeper is None:
                break
            try:
                outcome = _Call(keeper, self._limits, timeout_secs).run(body, seed)
            finally:
                self._give_back(keeper)
            return replace(outcome, status=OutcomeStatus.KILLED) if self._closed and not outcome.message else outcome
        return Outcome(OutcomeStatus.KILLED, message="the sandbox was closed")

    def _take(self) -> _Keeper | None:
        with self._lock:
            if self._closed:
                return None
            while self._idle:
                keeper = self._idle.pop()
                if keeper.alive():
                    break
                keeper.discard()
            else:
                keeper = _Keeper(self._zygote.open_link())
            self._busy.add(keeper)
            return keeper

    def _give_back(self, keeper: _Keeper) -> None:
        with self._lock:
            self._busy.discard(keeper)
            if keeper.usable and not self._closed:
                self._idle.append(keeper)
                return
        keeper.discard()

    def _restart(self) -> None:
        with self._lock:
            if not self._closed and not self._zygote.alive():
                self._zygote.close()
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
    with ours:
        outcome = _Call(_Keeper(ours), limits, timeout_secs).run(json.dumps(x).encode(), seed=0)
    os.waitpid(pid, 0)
    return outcome


def may_fork() -> bool:
    """Whether this process has one thread only: a fork of one with more may wait for ever for a lock."""
    return len(os.listdir("/proc/self/task")) == 1


class _Zygote:
    """The warm process."""

    def __init__(self, payload: bytes, limits: Limits) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, _ROOT],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=clean_environment(limits.env),
                start_new_session=True,
            )
        try:
            self._greet(payload, limits)
        except BaseException:
            self.close()
            raise

    def _greet(self, payload: bytes, limits: Limits) -> None:
        own = {"sys_path": [entry or os.getcwd() for entry in sys.path], "limits": asdict(limits)}
        try:
            send_frame(self._control, json.dumps({**own, "one_thread": one_thread_names()}).encode())
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
        """Return the link to a new keeper. Raises OSError when this process is gone."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                send_frame(self._control, b"", (theirs.fileno(),))
        except OSError:
            ours.close()
            raise
        return ours

    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def close(self) -> None:
        """Hang up; it kills its keepers and ends, or is killed."""
        self._control.close()
        try:
            self._process.wait(_REPORT_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class _Keeper:
    """The optimizer's end of the link to a keeper."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.usable = True

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
        self.usable = False
        self.link.close()


class _Call:
    """One scoring: what is read from the child until it and all its kin are dead."""

    def __init__(self, keeper: _Keeper, limits: Limits, timeout_secs: float) -> None:
        self._keeper = keeper
        self._limits = limits
        self._timeout_secs = timeout_secs
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._answer = Answer(self._nonce, limits.result_mb * 2**20)
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
            self._keeper.usable = False
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
        deadline, told = begun + self._timeout_secs, 0.0
        poll = select.poll()
        for fd in (result, output, link.fileno()):
            os.set_blocking(fd, fd == link.fileno())
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
            message=self._explain(outcome),
        )

    def _explain(self, outcome: Outcome) -> str:
        if outcome.status is OutcomeStatus.MEMORY:
            return f"memory limit of {self._limits.memory_mb} MB reached (memory_mb)"
        return outcome.message

    def _crash(self, facts: dict[str, Any]) -> Outcome:
        code = facts.get("exit")
        if code is None:
            return Outcome(OutcomeStatus.KILLED, message="the process that watched over it was killed")
        if code == -signal.SIGXCPU:
            return Outcome(OutcomeStatus.KILLED, message=f"CPU limit of {self._limits.cpu_secs:g} s reached (cpu_secs)")
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return Outcome(OutcomeStatus.CRASHED, message=f"crashed with {name}", signal=-code)
        return Outcome(OutcomeStatus.CRASHED, message=f"ended with exit code {code} before f returned", exit_code=code)
