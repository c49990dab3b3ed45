"""Runs in the background, for `llm-optimize mcp`: each is a process of its own, and ends with this one."""

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

_START_SECS = 120.0  # in which a run begins: the import of the user's file is in it
_STOP_SECS = 15.0  # in which an interrupted run has cleaned up
_MAX_SAID_BYTES = 4_000  # of what a job printed last


class Job:
    """A run in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], printed: IO[bytes]) -> None:
        """Take the process, and the file that it prints into."""
        self._process = process
        self._printed = printed
        self._error: str | None = None  # what it was when the files were closed

    @property
    def running(self) -> bool:
        """Whether it goes on."""
        return self._process.poll() is None

    @property
    def error(self) -> str:
        """What went wrong, in a sentence; empty while it goes on, and where it ended well or was interrupted."""
        if self._error is not None:
            return self._error
        if self._process.poll() in (None, 0, 130):
            return ""
        lines = without_secrets(self._said()).strip().splitlines()
        return (
            one_line(lines[-1], 600)
            if lines
            else f"the process of the run ended with {self._process.returncode}"
        )

    def _said(self) -> str:
        size = self._printed.seek(0, os.SEEK_END)
        self._printed.seek(max(0, size - _MAX_SAID_BYTES))
        return self._printed.read().decode("utf-8", "replace")

    def name(self) -> str:
        """Wait until the run has begun and return its name; empty when it ended before."""
        said = self._process.stdout.readline() if self._process.stdout else b""
        return str(json.loads(said)) if said else ""

    def interrupt(self) -> None:
        """Ask it to end at once; what is in flight is done again by a resume."""
        if self.running:
            self._process.send_signal(
                signal.SIGINT
            ) if os.name == "posix" else self._process.terminate()

    def kill(self) -> None:
        """End it without asking: it has not begun yet, so that there is nothing to keep."""
        self._process.kill()

    def wait(self) -> None:
        """Wait until it has ended; end it where it does not."""
        try:
            self._process.wait(_STOP_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """End it and forget what it printed, except what went wrong."""
        self.interrupt()
        self.wait()
        self._error = self.error
        if self._process.stdout:
            self._process.stdout.close()
        self._printed.close()


class Jobs:
    """All runs that were begun here, by name."""

    def __init__(self, at_a_time: int) -> None:
        """Begin with none; so many may go on at a time."""
        self._jobs: dict[str, Job] = {}
        self._beginning: Job | None = None  # whose name is not known yet
        self._at_a_time = at_a_time

    def get(self, name: str) -> Job | None:
        """Return the job of a run; None where it was begun elsewhere."""
        return self._jobs.get(name)

    async def start(self, job: Mapping[str, Any]) -> str:
        """Begin a run and return its name. One start at a time, so that their number holds.

        Raises NotAllowed where as many go on as may, and LlmOptimizeError where it does not begin.
        """
        self._refuse_too_many()
        begun = self._beginning = _process(job)
        try:
            name = await asyncio.wait_for(asyncio.to_thread(begun.name), _START_SECS)
        except TimeoutError:
            await asyncio.to_thread(begun.close)
            raise LlmOptimizeError(
                f"the run has not begun within {_START_SECS:g} s: look at the file of f"
            ) from None
        except (
            asyncio.CancelledError
        ):  # the agent no longer wants it, or the server ends
            begun.kill()
            begun.close()
            raise
        finally:
            self._beginning = None
        if not name:
            await asyncio.to_thread(begun.wait)
            error = begun.error
            begun.close()
            raise LlmOptimizeError(error or "the run was interrupted before it began")
        if name in self._jobs:
            self._jobs[name].close()
        self._jobs[name] = begun
        return name

    def _refuse_too_many(self) -> None:
        """Close the files of jobs that have ended, and raise NotAllowed where all places are taken."""
        running = [job for job in self._jobs.values() if job.running]
        for job in self._jobs.values():
            if job not in running:
                job.close()
        if len(running) >= self._at_a_time:
            raise NotAllowed(
                f"{len(running)} runs go on, as many as may at a time: wait for one to end, or stop one with stop_run"
            )

    def interrupt(self) -> None:
        """Ask all of them to end at once; one that has not begun is not asked."""
        if self._beginning is not None:
            self._beginning.kill()
        for job in self._jobs.values():
            job.interrupt()

    def close(self) -> None:
        """End all of them; everything is kept in the store."""
        self.interrupt()
        for job in self._jobs.values():
            job.close()
        self._jobs.clear()


def _process(job: Mapping[str, Any]) -> Job:
    printed = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-m",
            "llm_optimize.mcp.job",
        ],  # -P: a json.py of the working directory is not ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=printed,
        start_new_session=True,  # so that nothing but this program interrupts it
    )
    if process.stdin:
        with process.stdin as text:
            text.write(json.dumps(job).encode())
    return Job(process, printed)
