"""One scoring, seen from the optimizer: reads from the child until all its processes are dead.

The optimizer sends a request with two pipes, one for the answer and one for the output. Then it
reads both pipes and the supervisor's link until the supervisor reports that nothing is left of the
child.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import time
from dataclasses import replace
from typing import Any

from ...records import Limits
from ..child import cpu_limit_secs
from ..outcome import Call, Outcome, OutcomeStatus, crashed
from ..wire import NONCE_BYTES, Answer, Output, receive_frame, send_frame
from .supervisor_link import REPORT_SECS, Supervisor

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 16
_DRAIN_BYTES = 1 << 20  # at most, of what the dead left in a pipe; a pipe holds 64 KiB


class Scoring:
    """A call that a supervisor carries out.

    Args:
        supervisor: one that is ready.
        limits: of the scoring.
        call: f's argument, deadline and seed.
    """

    def __init__(self, supervisor: Supervisor, limits: Limits, call: Call) -> None:
        self._supervisor = supervisor
        self._limits = limits
        self._call = call
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._answer = Answer(self._nonce, limits, arrays=call.arrays)
        self._output = Output()
        self._verdict: Outcome | None = None  # where the optimizer ended the call
        self._facts: dict[str, Any] | None = None  # that the supervisor reports
        self._oom_kills_before = 0
        if supervisor.cgroup:
            self._oom_kills_before = supervisor.cgroup.oom_kills()

    def run(self) -> Outcome:
        """Send the call, wait for its end, and return the outcome."""
        body = self._call.body()
        begun = time.monotonic()
        result, their_result = os.pipe()
        output, their_output = os.pipe()
        try:
            try:
                self._send(body, (their_result, their_output))
            finally:
                os.close(their_result)
                os.close(their_output)
            ended = self._listen(result, output, begun)
        except (OSError, EOFError):
            ended = time.monotonic()
            self._supervisor.kill()
        finally:
            os.close(result)
            os.close(output)
        return self._outcome(ended - begun)

    def _send(self, body: bytes, fds: tuple[int, int]) -> None:
        head = {
            "timeout_secs": self._call.timeout_secs,
            "seed": self._call.seed,
            "arrays": self._call.arrays,
            "nonce": self._nonce.hex(),
        }
        request = json.dumps(head).encode() + b"\n" + body
        send_frame(self._supervisor.link, request, fds)

    def _listen(self, result: int, output: int, begun: float) -> float:
        """Read until the supervisor reports; return when the child ended, or was ended.

        The supervisor gets exactly one "K" for each child: when the call is over, by its answer,
        its deadline or its output; or after its report, when the child ended before.
        """
        link = self._supervisor.link
        for fd in (result, output):
            os.set_blocking(fd, False)
        poll = select.poll()
        for fd in (result, output, link.fileno()):
            poll.register(fd, select.POLLIN)
        deadline = begun + self._call.timeout_secs
        kill_sent_at: float | None = None
        while True:
            wait_secs = max(0.0, deadline - time.monotonic())
            for fd, _ in poll.poll(wait_secs * 1000 + 1):
                if fd == link.fileno():
                    self._facts = self._read_report(receive_frame(link)[0])
                    if kill_sent_at is None:
                        link.sendall(b"K")
                    self._drain(result, output)
                    return kill_sent_at or time.monotonic()
                sink = self._answer if fd == result else self._output
                if not self._read(fd, sink):
                    poll.unregister(fd)
            if kill_sent_at is None:
                if self._is_over(deadline):
                    kill_sent_at = time.monotonic()
                    deadline = kill_sent_at + REPORT_SECS
                    link.sendall(b"K")
            elif time.monotonic() > deadline:
                raise EOFError("the supervisor does not report")

    def _read_report(self, word: bytes) -> dict[str, Any]:
        """Return the facts in a report. Raises EOFError when the supervisor cannot work."""
        if not word.startswith(b"{"):
            self._supervisor.refuse(word)
            raise EOFError("the supervisor cannot work")
        facts: dict[str, Any] = json.loads(word)
        if facts.get("breach"):
            # Without "exit" it is the script broker who reports, and is killing the supervisor.
            self._supervisor.usable = "exit" in facts
        return facts

    def _is_over(self, deadline: float) -> bool:
        """Whether the child has nothing more to send, or may send no more."""
        limit_mb = self._limits.output_mb
        if time.monotonic() >= deadline and not self._answer.complete:
            message = f"stopped at its deadline of {self._call.timeout_secs:g} s"
            self._verdict = Outcome(OutcomeStatus.TIMEOUT, message=message)
        elif self._output.total > limit_mb * 2**20:
            message = f"output limit of {limit_mb} MB reached (output_mb)"
            self._verdict = Outcome(OutcomeStatus.OUTPUT, message=message)
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
        """Read what the dead have left in their pipes.

        What is left is bounded, and a process that could not be killed may write on: so is this.
        """
        for fd, sink in ((result, self._answer), (output, self._output)):
            for _ in range(_DRAIN_BYTES // _CHUNK_BYTES):
                has_data = select.select([fd], [], [], 0)[0]
                if not has_data or not self._read(fd, sink):
                    break

    def _outcome(self, seconds: float) -> Outcome:
        facts = self._facts or {}
        left = facts.get("left")
        if left:
            self._supervisor.usable = False
            _log.warning(
                "%d processes of a candidate could not be killed in time", left
            )
        outcome = self._verdict or self._breach(facts) or self._end_of_child(facts)
        return replace(
            outcome,
            output=self._output.text(),
            seconds=seconds,
            cpu_secs=facts.get("cpu_secs", 0.0),
            peak_memory_mb=facts.get("peak_memory_mb", 0.0),
        )

    @property
    def helper_died(self) -> bool:
        """Whether a process of ours failed under f: then f is not to blame, unless it did that."""
        if self._verdict is not None or self._answer.complete:
            return False
        return self._facts is None or bool(self._facts.get("trouble"))

    def _breach(self, facts: dict[str, Any]) -> Outcome | None:
        """Return the limit that others than the child saw broken; None without one."""
        breach = facts.get("breach")
        if breach:
            return Outcome(OutcomeStatus(breach["status"]), message=breach["message"])
        cgroup = self._supervisor.cgroup
        if not self._answer.empty or cgroup is None:
            return None
        if cgroup.oom_kills() <= self._oom_kills_before:
            return None
        message = (
            f"memory limit of {self._limits.memory_mb} MB reached by all its processes "
            "together (memory_mb, or --memory)"
        )
        return Outcome(OutcomeStatus.MEMORY, message=message)

    def _end_of_child(self, facts: dict[str, Any]) -> Outcome:
        """Return what the child answered, or how it ended without an answer."""
        if not self._answer.empty:
            return self._answer.outcome()
        if self._facts is None:
            message = "the process that watched over it was killed"
            if self._supervisor.refusal:
                message += f": {self._supervisor.refusal}"
            return Outcome(OutcomeStatus.KILLED, message=message)
        exit_code = facts["exit"]
        if exit_code is None:
            message = "its process could not be killed in time"
            return Outcome(OutcomeStatus.KILLED, message=message)
        if facts.get("trouble"):
            message = f"its process failed before f was called: {facts['trouble']}"
            return Outcome(OutcomeStatus.KILLED, message=message)
        cpu_limit = cpu_limit_secs(self._limits, self._call.timeout_secs)
        return crashed(exit_code, cpu_limit, facts["cpu_secs"])
