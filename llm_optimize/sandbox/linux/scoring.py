"""One scoring, seen from the optimizer (Linux): what is read from the child until it and all its kin are dead."""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import time
from dataclasses import dataclass, replace
from typing import Any

from ...records import Limits
from ..child import cpu_limit_secs
from ..outcome import Call, Outcome, OutcomeStatus, crashed
from ..wire import NONCE_BYTES, Answer, Output, receive_frame, send_frame
from .fork_server_client import REPORT_SECS, Supervisor

_log = logging.getLogger(__name__)
_CHUNK_BYTES = 1 << 16
_DRAIN_BYTES = 1 << 20  # of what is left in a pipe of 64 KiB when everybody is dead


@dataclass
class Scoring:
    """A call in the hands of a keeper."""

    supervisor: Supervisor
    limits: Limits
    call: Call

    def __post_init__(self) -> None:
        self._nonce = secrets.token_bytes(NONCE_BYTES)
        self._answer = Answer(self._nonce, self.limits, self.call.arrays)
        self._output = Output()
        self._verdict: Outcome | None = None  # of ours, before the child's
        self._facts: dict[str, Any] | None = None
        self._oom_kills = (
            self.supervisor.cgroup.oom_kills() if self.supervisor.cgroup else 0
        )

    def run(self) -> Outcome:
        """Return what becomes of it."""
        body = self.call.body()
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
            self.supervisor.kill()
        finally:
            os.close(result)
            os.close(output)
        return self._outcome(ended - begun)

    def _send(self, body: bytes, fds: tuple[int, int]) -> None:
        head = {
            "timeout_secs": self.call.timeout_secs,
            "seed": self.call.seed,
            "arrays": self.call.arrays,
            "nonce": self._nonce.hex(),
        }
        send_frame(self.supervisor.link, json.dumps(head).encode() + b"\n" + body, fds)

    def _listen(self, result: int, output: int, begun: float) -> float:
        """Read until the keeper reports; return when the child was told to end, or ended."""
        link = self.supervisor.link
        for fd in (result, output):
            os.set_blocking(fd, False)
        deadline, told = begun + self.call.timeout_secs, 0.0
        poll = select.poll()
        for fd in (result, output, link.fileno()):
            poll.register(fd, select.POLLIN)
        while True:
            wait_secs = max(0.0, deadline - time.monotonic())
            for fd, _ in poll.poll(wait_secs * 1000 + 1):
                if fd == link.fileno():
                    self._facts = self._report(receive_frame(link)[0])
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
                deadline = told + REPORT_SECS
                link.sendall(b"K")

    def _report(self, word: bytes) -> dict[str, Any]:
        """Return the facts that a keeper reports. Raises EOFError when it says that it cannot work."""
        if not word.startswith(b"{"):
            self.supervisor.refuse(word)
            raise EOFError("the keeper cannot work")
        facts: dict[str, Any] = json.loads(word)
        if facts.get("breach"):
            self.supervisor.usable = (
                "exit" in facts
            )  # else it was not the keeper who said so: that one is being killed
        return facts

    def _over(self, deadline: float) -> bool:
        """Whether the child has nothing more to say, or may say no more."""
        limit_mb = self.limits.output_mb
        if time.monotonic() >= deadline and not self._answer.complete:
            said = f"stopped at its deadline of {self.call.timeout_secs:g} s"
            self._verdict = Outcome(OutcomeStatus.TIMEOUT, message=said)
        elif self._output.total > limit_mb * 2**20:
            self._verdict = Outcome(
                OutcomeStatus.OUTPUT,
                message=f"output limit of {limit_mb} MB reached (output_mb)",
            )
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
            self.supervisor.usable = False
            _log.warning(
                "%d processes of a candidate could not be killed in time", facts["left"]
            )
        outcome = self._verdict or self._breach(facts) or self._said(facts)
        return replace(
            outcome,
            output=self._output.text(),
            seconds=seconds,
            cpu_secs=facts.get("cpu_secs", 0.0),
            peak_memory_mb=facts.get("peak_memory_mb", 0.0),
        )

    @property
    def helper_died(self) -> bool:
        """Whether a process of ours failed under f: f cannot be blamed for it, unless it did that."""
        facts = self._facts or {}
        return (
            self._verdict is None
            and not self._answer.complete
            and (self._facts is None or bool(facts.get("trouble")))
        )

    def _breach(self, facts: dict[str, Any]) -> Outcome | None:
        """Return the limit that ended it, where others than the child itself saw that; None without an end by one."""
        if facts.get("breach"):
            return Outcome(
                OutcomeStatus(facts["breach"]["status"]),
                message=facts["breach"]["message"],
            )
        if (
            self._answer.empty
            and self.supervisor.cgroup
            and self.supervisor.cgroup.oom_kills() > self._oom_kills
        ):
            said = f"memory limit of {self.limits.memory_mb} MB reached by all its processes together (memory_mb)"
            return Outcome(OutcomeStatus.MEMORY, message=said)
        return None

    def _said(self, facts: dict[str, Any]) -> Outcome:
        if not self._answer.empty:
            return self._answer.outcome()
        if self._facts is None:
            said = f"the process that watched over it was killed: {self.supervisor.refusal}".removesuffix(
                ": "
            )
            return Outcome(OutcomeStatus.KILLED, message=said)
        code = facts["exit"]
        if code is None:
            return Outcome(
                OutcomeStatus.KILLED, message="its process could not be killed in time"
            )
        if facts.get("trouble"):
            return Outcome(
                OutcomeStatus.KILLED,
                message=f"its process failed before f was called: {facts['trouble']}",
            )
        return crashed(
            code, cpu_limit_secs(self.limits, self.call.timeout_secs), facts["cpu_secs"]
        )
