"""Fork server, seen from the optimizer: started here, given what to load, asked for links."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import FunctionUnusable, SandboxUnavailable
from ...records import Limits
from ..environment import clean_environment, one_thread, thread_counts_here
from ..pickling import imported_modules, pickle_function
from ..scratch import remove_scratch
from ..wire import receive_frame, send_frame
from .process_tree import descendants, kill_tree
from .supervisor_link import REPORT_SECS, Supervisor
from .visible_paths import VisiblePaths

_BOOT = """
import sys
sys.path.insert(0, sys.argv[1])
from llm_optimize.sandbox.linux.fork_server import main
main()
"""
_ROOT = str(Path(__file__).resolve().parents[3])
_LOAD_SECS = 300.0  # for the imports of f
_EXIT_SECS = 5.0  # for the exit code of a fork server that has hung up


@dataclass(frozen=True)
class ForkServerSettings:
    """What a fork server is started for."""

    func: Callable[..., Any]
    limits: Limits
    paths: VisiblePaths | None  # None: all that the optimizer sees
    namespaced: bool
    for_scripts: bool  # for scripts that are judged: without f's folders
    # The working directory, and what the user put on the path.
    own_folders: tuple[str, ...]
    installed: tuple[str, ...]  # where the interpreter and its packages are on the path
    # Files that cannot be opened, though their folders are visible.
    masked: tuple[str, ...] = ()


class ForkServer:
    """A fork server of our own.

    Args:
        settings: what it is started for.
        wrapper: the beginning of the command that starts it, as of bubblewrap.

    Raises FunctionUnusable when f cannot be pickled or loaded, SandboxUnavailable when the process
    ends.
    """

    def __init__(
        self, settings: ForkServerSettings, wrapper: Sequence[str] = ()
    ) -> None:
        payload = pickle_function(settings.func)
        # The fork server makes and removes this folder; it is removed here, too, in case that the
        # fork server is killed.
        self._scratch: str | None = None
        if not settings.namespaced:
            name = f"llm_optimize-{secrets.token_hex(8)}"
            self._scratch = os.path.join(tempfile.gettempdir(), name)
        # -P: no module from the working directory.
        command = [*wrapper, sys.executable, "-P", "-c", _BOOT, _ROOT]
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**clean_environment(settings.limits.env), **one_thread()},
                start_new_session=True,
            )
        try:
            self.isolation = self._load(settings, payload)
        except BaseException:
            self.close()
            raise

    def _load(self, settings: ForkServerSettings, payload: bytes) -> tuple[str, ...]:
        """Let the process load f; return the names of its isolation mechanisms."""
        sys_path = [entry or os.getcwd() for entry in sys.path]
        if settings.for_scripts:
            sys_path = list(settings.installed)
        message = {
            "sys_path": sys_path,
            "installed": settings.installed,
            "own_folders": settings.own_folders,
            "masked": settings.masked,
            "imports": imported_modules(settings.func),
            "limits": asdict(settings.limits),
            "paths": asdict(settings.paths) if settings.paths else None,
            "namespaced": settings.namespaced,
            "for_scripts": settings.for_scripts,
            "threads": thread_counts_here(),
            "scratch": self._scratch,
        }
        self._control.settimeout(_LOAD_SECS)
        try:
            send_frame(self._control, json.dumps(message).encode())
            send_frame(self._control, payload)
            answer = json.loads(receive_frame(self._control)[0])
        except TimeoutError as error:
            raise FunctionUnusable(
                f"f was not loaded within {_LOAD_SECS:.0f} s in a fresh process: "
                "what does its module do on import?"
            ) from error
        except (EOFError, OSError) as error:
            exit_code = self._process.wait(_EXIT_SECS)
            raise SandboxUnavailable(
                f"the fork server of the sandbox ended while it loaded f (exit code {exit_code}): "
                "does importing f's module end the program?"
            ) from error
        if "refused" in answer:
            raise SandboxUnavailable(
                f"no scratch directory can be made: {answer['refused']}; see TMPDIR"
            )
        if "error" in answer:
            raise FunctionUnusable(
                f"f cannot be loaded in a fresh process:\n{answer['error']}"
            )
        return tuple(map(str, answer["isolation"]))

    def open_link(self) -> socket.socket:
        """Return the link to a new supervisor; nobody answers on it when this process is gone."""
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):
            send_frame(self._control, b"", (theirs.fileno(),))
        return ours

    def works(self) -> bool:
        """Whether the process runs and forks a supervisor when it is asked."""
        probe = Supervisor(self, None)
        try:
            return probe.ready()
        finally:
            probe.discard()

    def owns(self, pid: int) -> bool:
        """Whether this is a process below this one, and not another that has its number now."""
        return pid in descendants(self._process.pid)

    def close(self) -> None:
        """Hang up; the process kills its supervisors and ends, or is killed."""
        self._control.close()
        try:
            self._process.wait(REPORT_SECS)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
        if self._scratch is not None:
            remove_scratch(self._scratch)
