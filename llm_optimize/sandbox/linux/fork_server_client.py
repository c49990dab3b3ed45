"""The optimizer's ends of a warm process and its keepers (Linux)."""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from ...errors import FunctionUnusable, SandboxUnavailable
from ...records import Limits
from ..environment import clean_environment, one_thread, threads_as_here
from ..pickling import imported_modules, pack
from ..scratch import remove_scratch
from ..wire import receive_frame, send_frame
from .cgroups import Cgroup
from .process_tree import descendants, kill_tree
from .visible_paths import VisiblePaths

_log = logging.getLogger(__name__)
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llm_optimize.sandbox.linux.fork_server import main; main()"
_ROOT = str(Path(__file__).resolve().parents[3])
REPORT_SECS = 2.5  # for a keeper to kill all and say so; then it is replaced
_LOAD_SECS = 300.0  # for the imports of f
_HELLO_SECS = 10.0  # for a keeper and a child to be forked, on a busy machine
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)


@dataclass(frozen=True)
class ForkServerSettings:
    """What a warm process is started for."""

    func: Callable[..., Any]
    limits: Limits
    view: VisiblePaths | None  # None: nothing is hidden
    namespaced: bool
    alone: bool  # for scripts that are judged: without f's folders
    own_folders: tuple[
        str, ...
    ]  # the working directory, and what the user put on the path
    installed: tuple[str, ...]  # where the interpreter and its packages are on the path
    masked: tuple[
        str, ...
    ] = ()  # files that nobody opens in a scoring, though they lie in what is seen


class SupervisorSource(Protocol):
    """Where keepers come from."""

    isolation: tuple[
        str, ...
    ]  # what is at work around their children beside Landlock, as people read it

    def open_link(self) -> socket.socket:
        """Return the link to a new keeper; nobody speaks on it when the other side is gone."""

    def works(self) -> bool:
        """Whether keepers come when they are asked for."""

    def owns(self, pid: int) -> bool:
        """Whether this is a process below, and not another that has the number now."""

    def close(self) -> None:
        """Let go of it."""


class ForkServer:
    """A warm process of our own."""

    def __init__(self, order: ForkServerSettings, wrapper: Sequence[str] = ()) -> None:
        """Start it, in the command that `wrapper` begins, and let it load f.

        Raises FunctionUnusable when f cannot be packed or loaded, SandboxUnavailable when the process ends.
        """
        payload = pack(order.func)
        # Made by that process, which removes it, and removed here as well in case that it was killed.
        name = f"llm_optimize-{secrets.token_hex(8)}"
        self._scratch = (
            None if order.namespaced else os.path.join(tempfile.gettempdir(), name)
        )
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *wrapper,
                    sys.executable,
                    "-P",
                    "-c",
                    _BOOT,
                    _ROOT,
                ],  # -P: no module from the working directory
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**clean_environment(order.limits.env), **one_thread()},
                start_new_session=True,
            )
        try:
            self._greet(order, payload)
        except BaseException:
            self.close()
            raise

    def _greet(self, order: ForkServerSettings, payload: bytes) -> None:
        settings = {
            "sys_path": list(order.installed)
            if order.alone
            else [entry or os.getcwd() for entry in sys.path],
            "installed": order.installed,
            "own_folders": order.own_folders,
            "masked": order.masked,
            "imports": imported_modules(order.func),
            "limits": asdict(order.limits),
            "view": asdict(order.view) if order.view else None,
            "namespaced": order.namespaced,
            "alone": order.alone,
            "threads": threads_as_here(),
            "scratch": self._scratch,
        }
        self._control.settimeout(_LOAD_SECS)
        try:
            send_frame(self._control, json.dumps(settings).encode())
            send_frame(self._control, payload)
            answer = json.loads(receive_frame(self._control)[0])
        except TimeoutError as error:
            raise FunctionUnusable(
                f"f was not loaded within {_LOAD_SECS:.0f} s in a fresh process: what does its module do on import?"
            ) from error
        except (EOFError, OSError) as error:
            raise SandboxUnavailable(
                f"the warm process of the sandbox ended while it loaded f (exit code {self._process.wait(5)}): "
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
        self.isolation = tuple(map(str, answer["walls"]))

    def open_link(self) -> socket.socket:
        """Return the link to a new keeper; nobody speaks on it when this process is gone."""
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):
            send_frame(self._control, b"", (theirs.fileno(),))
        return ours

    def works(self) -> bool:
        """Whether the process runs and forks a keeper when it is asked."""
        probe = Supervisor(self, None)
        try:
            return probe.ready()
        finally:
            probe.discard()

    def owns(self, pid: int) -> bool:
        """Whether this is a process below this one, and not another that has the number now."""
        return pid in descendants(self._process.pid)

    def close(self) -> None:
        """Hang up; it kills its keepers and ends, or is killed."""
        self._control.close()
        try:
            self._process.wait(REPORT_SECS)
        except subprocess.TimeoutExpired:
            kill_tree(self._process.pid)
            self._process.wait()
        if self._scratch is not None:
            remove_scratch(self._scratch)


class ScriptBroker:
    """The way from inside a scoring to the warm process of scripts, which its sandbox has beside the one of f."""

    def __init__(self, fd: int, limits: Limits) -> None:
        """Take the descriptor of the door, which stays open, and the limits for what is asked for."""
        self.isolation: tuple[
            str, ...
        ] = ()  # they are those of the scoring that the door leads out of
        self._fd = fd
        self._limits = limits

    def open_link(self) -> socket.socket:
        """Return the link to a new keeper; nobody speaks on it when the other side is gone."""
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError), socket.socket(fileno=os.dup(self._fd)) as door:
            socket.send_fds(
                door, [json.dumps(asdict(self._limits)).encode()], [theirs.fileno()]
            )
        return ours

    def works(self) -> bool:
        """Whether it is worth asking again: a door that leads nowhere stays so."""
        return True

    def owns(self, pid: int) -> bool:
        """Whether a process may be killed from here: none; the other side sees to it when the scoring ends."""
        return False

    def close(self) -> None:
        """Do nothing: the door belongs to the scoring."""


class Supervisor:
    """The optimizer's end of the link to a keeper."""

    def __init__(
        self,
        source: SupervisorSource | None,
        cgroup: Cgroup | None,
        link: socket.socket | None = None,
    ) -> None:
        """Ask the source for a keeper, which is put into the cgroup; or take the link to one that there is."""
        self.source = source
        self.cgroup = cgroup
        self.usable = True
        self.link = link or source.open_link()  # type: ignore[union-attr]  # one of the two is given
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.refusal = ""  # what the other side said instead of a word that was awaited
        self.breach: dict[str, str] | None = (
            None  # the limit for which it works no more
        )
        self._met = False
        self._pid: int | None = None  # of the process that watches over the next child

    def ready(self) -> bool:
        """Wait until the keeper has a child ready for work; return whether it has."""
        self.link.settimeout(_HELLO_SECS)
        try:
            if not self._met:
                pid = self._hear(b"supervisor")
                if self.cgroup is not None:
                    self.cgroup.add(pid)
                self.link.sendall(b"G")
                self._met = True
            self._pid = self._hear(b"ready")
        except (EOFError, OSError):
            self.usable = False
            return False
        self.link.settimeout(REPORT_SECS)
        return True

    def _hear(self, expected: bytes) -> int:
        """Return the process id of whoever says the next word, as it is called here, whatever its namespace."""
        head, ancillary, _, _ = self.link.recvmsg(
            4, socket.CMSG_SPACE(_CREDENTIALS.size)
        )
        if len(head) < 4:
            raise EOFError("the keeper is gone")
        word = self.link.recv(int.from_bytes(head, "big"))
        if word != expected:
            self.refuse(word)
            raise EOFError("the keeper cannot work")
        return int(next(_CREDENTIALS.unpack(data)[0] for _, _, data in ancillary))

    def refuse(self, word: bytes) -> None:
        """Keep why the other side works no more: `no: ...`, or facts that name a limit."""
        self.usable = False
        with suppress(ValueError, TypeError, LookupError):
            breach = json.loads(word)["breach"]
            self.breach = {
                "status": str(breach["status"]),
                "message": str(breach["message"]),
            }
            return
        self.refusal = word.decode("utf-8", "replace").removeprefix("no: ")
        _log.warning("a keeper of the sandbox says: %s", self.refusal)

    def kill(self) -> None:
        """Kill a keeper that does not answer (a candidate may have stopped it); its warm process sweeps behind it."""
        self.usable = False
        if (
            self._pid is not None
            and self.source is not None
            and self.source.owns(self._pid)
        ):
            kill_tree(self._pid)

    def alive(self) -> bool:
        """Whether the other end is there."""
        poll = select.poll()
        poll.register(self.link, select.POLLRDHUP)
        return not poll.poll(0)

    def hang_up(self) -> None:
        """Make the keeper kill its child and end; a call that waits for it returns."""
        with suppress(OSError):
            self.link.shutdown(socket.SHUT_RDWR)

    def discard(self) -> None:
        """Let go of the keeper; without the link it ends by itself."""
        self.link.close()
        if self.cgroup is not None:
            self.cgroup.remove()
