"""Runs in the background: processes that the server starts, watches and ends.

Each run is a process of its own, `python -m llm_optimize.mcp.job`, in a session of its own: an
interrupt of the server's terminal does not reach it, and what the user's code prints or breaks
does not touch the protocol. The server tells it to end by SIGINT, as Ctrl-C does, so that it
cleans up and stores why it ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO, Any

from ..errors import LlmOptimizeError, NotAllowed
from ..text import one_line
from .answers import without_secrets

_START_SECS = 120.0  # for a run to start, including the import of the user's file
_STOP_SECS = 15.0  # for an interrupted run to clean up; then it is killed
_MAX_OUTPUT_BYTES = 4_000  # of the end of what a job printed
_MAX_ERROR_CHARS = 600


class Job:
    """A run in a process of its own.

    Args:
        process: its standard output is a pipe that carries the name of the run.
        output: the file that its standard error goes to.
    """

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process = process
        self._output = output
        self._final_error: str | None = None  # set when the files are closed

    @property
    def running(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    @property
    def error(self) -> str:
        """One sentence about what went wrong.

        Empty while the run goes on, and where it ended well or was interrupted.
        """
        if self._final_error is not None:
            return self._final_error
        code = self._process.poll()
        if code in (None, 0, 130):
            return ""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _MAX_OUTPUT_BYTES))
        output = self._output.read().decode("utf-8", "replace")
        lines = without_secrets(output).strip().splitlines()
        if not lines:
            return f"the process of the run ended with {code}"
        return one_line(lines[-1], _MAX_ERROR_CHARS)

    def name(self) -> str:
        """Wait until the run has started and return its name; "" when it ended before."""
        if self._process.stdout is None:
            return ""
        line = self._process.stdout.readline()
        return str(json.loads(line)) if line else ""

    def interrupt(self) -> None:
        """Ask it to end at once; a resume does again what was in flight."""
        if not self.running:
            return
        if os.name == "posix":
            self._process.send_signal(signal.SIGINT)
        else:
            self._process.terminate()

    def kill(self) -> None:
        """End it without asking; for one that has not started a run, so that nothing is lost."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until it has ended; kill it where it does not."""
        try:
            self._process.wait(_STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it, and forget what it printed, except the error."""
        self.interrupt()
        self.wait()
        self._final_error = self.error
        if self._process.stdout:
            self._process.stdout.close()
        self._output.close()


class Jobs:
    """All runs that this server started, by name.

    Args:
        at_a_time: how many may go on at once.
    """

    def __init__(self, at_a_time: int) -> None:
        self._at_a_time = at_a_time
        self._jobs: dict[str, Job] = {}
        self._starting: Job | None = None  # its name is not known yet

    def get(self, name: str) -> Job | None:
        """Return the job of a run; None where it was started elsewhere."""
        return self._jobs.get(name)

    async def start(self, order: Mapping[str, Any]) -> str:
        """Start a run and return its name; call it for one run at a time, so that its cap holds.

        Args:
            order: what `job` reads.

        Raises NotAllowed where as many runs go on as may, and LlmOptimizeError where it does not
        start.
        """
        running = 0
        for known in self._jobs.values():
            if known.running:
                running += 1
            else:
                known.close()  # its files: a server may start many runs
        if running >= self._at_a_time:
            raise NotAllowed(
                f"{running} runs go on, as many as may at a time: wait for one to end, or stop one "
                "with stop_run"
            )
        job = self._starting = _open_process(order)
        try:
            name = await asyncio.wait_for(asyncio.to_thread(job.name), _START_SECS)
        except TimeoutError:
            await asyncio.to_thread(job.close)
            raise LlmOptimizeError(
                f"the run has not started within {_START_SECS:g} s: look at the file of f"
            ) from None
        except asyncio.CancelledError:
            # The agent no longer wants it, or the server ends. There is no run yet to clean up.
            job.kill()
            job.close()
            raise
        finally:
            self._starting = None
        if not name:
            await asyncio.to_thread(job.wait)
            error = job.error
            job.close()
            raise LlmOptimizeError(error or "the run was interrupted before it started")
        if name in self._jobs:
            self._jobs[name].close()
        self._jobs[name] = job
        return name

    def interrupt(self) -> None:
        """Ask all of them to end at once; one that has not started a run is killed."""
        if self._starting is not None:
            self._starting.kill()
        for job in self._jobs.values():
            job.interrupt()

    def close(self) -> None:
        """End all of them; everything stays in the store."""
        self.interrupt()
        for job in self._jobs.values():
            job.close()
        self._jobs.clear()


def _open_process(order: Mapping[str, Any]) -> Job:
    output = tempfile.TemporaryFile()  # noqa: SIM115
    # -P: a json.py in the working directory must not be imported in place of Python's own.
    command = [sys.executable, "-P", "-m", "llm_optimize.mcp.job"]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=output,
        start_new_session=True,  # so that only this server interrupts it
    )
    if process.stdin:
        with process.stdin as pipe:
            pipe.write(json.dumps(order).encode())
    return Job(process, output)
