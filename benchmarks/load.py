"""Competitors: processes that keep the machine busy while something is measured."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

# A competitor reads its standard input in a thread, so that it ends with the process that holds the
# other end, also when that is killed.
_BUSY = """
import os, sys, threading
os.nice(5)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print(flush=True)
while True:
    sum(range(10_000))
"""


@contextmanager
def competitors(count: int) -> Iterator[list[int]]:
    """Run busy processes of low priority until the end of the block; yield their process ids."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        pids = []
        for _ in range(count):
            command = [sys.executable, "-c", _BUSY]
            process = stack.enter_context(
                subprocess.Popen(command, stdin=pipe, stdout=pipe)
            )
            stack.callback(process.kill)
            if process.stdout:
                process.stdout.readline()  # it is busy now
            pids.append(process.pid)
        yield pids
