"""Real terminals for tests: a program on a pty, and an emulator that knows what stands on its
screen."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]


class Terminal:
    """A program on a pty of a size; `raw` is all that it sent, `lines` what is on the screen."""

    def __init__(
        self,
        command: Sequence[str],
        columns: int,
        lines: int,
        cwd: Path,
        **environment: str,
    ) -> None:
        import fcntl
        import pty
        import struct
        import termios

        import pyte

        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self._screen)
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(
            slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0)
        )
        without = {"COLUMNS", "LINES", "NO_COLOR", "COLORTERM", "FORCE_COLOR"}
        kept = {
            name: value for name, value in os.environ.items() if name not in without
        }
        env = {
            **kept,
            "TERM": "xterm-256color",
            "PYTHONPATH": str(ROOT),
            "PYTHONIOENCODING": "utf-8",
            **environment,
        }
        self._program = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
        os.close(slave)

    @property
    def lines(self) -> list[str]:
        """What is on the screen."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What is on the screen, as one text."""
        return "\n".join(self.lines)

    @property
    def title(self) -> str:
        """The title of the window, which a program may set."""
        return str(self._screen.title)

    def colors(self) -> set[str]:
        """Return the colours of the letters on the screen."""
        rows = self._screen.buffer.values()
        return {char.fg for row in rows for char in row.values() if char.data.strip()}

    def until(
        self, seen: Callable[[Terminal], bool], timeout_secs: float = 30.0
    ) -> None:
        """Read until something is seen; fail when it is not in time."""
        deadline = time.monotonic() + timeout_secs
        while not seen(self):
            if time.monotonic() > deadline or not self._read(deadline):
                raise AssertionError(
                    f"never seen; on the screen is:\n{self.text}\nsent was:\n{self.raw[-3000:]!r}"
                )

    def _read(self, deadline: float) -> bool:
        """Read what there is; return False at the end."""
        if not select.select(
            [self._master], [], [], max(0.0, deadline - time.monotonic())
        )[0]:
            return False
        try:
            sent = os.read(self._master, 65536)
        except OSError:  # the program closed the pty
            return False
        self.raw += sent
        self._stream.feed(sent)
        return bool(sent)

    def press(self, keys: str) -> None:
        """Send keys."""
        os.write(self._master, keys.encode())

    def end(self) -> int:
        """Read all that comes until the program ends; return its exit code."""
        deadline = time.monotonic() + 30
        while self._read(deadline):
            pass
        return self._program.wait(30)

    def close(self) -> None:
        """End the program."""
        if self._program.poll() is None:
            self._program.kill()
        self._program.wait(30)
        os.close(self._master)


@contextmanager
def terminal(
    code: str, columns: int, lines: int, cwd: Path, **environment: str
) -> Iterator[Terminal]:
    """Run Python code on a pty."""
    opened = Terminal([sys.executable, "-c", code], columns, lines, cwd, **environment)
    try:
        yield opened
    finally:
        opened.close()
