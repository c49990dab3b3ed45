"""The world that the programs want to harm: a home with keys, a folder, stores, programs."""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

_IPC_RMID, _IPC_MADE = 0, 0o1600  # a new one, for its owner
_STORES = ("state.db", "runs.db")
_MOST_THINGS = 6
_BUSY_SECS = 1.0


class Scene:
    """What stands there, and the programs of others that go on meanwhile."""

    def __init__(self, home: str) -> None:
        """Build it in a home, and go to the working directory."""
        self.home = Path(home)
        self.work = self.home / "work"
        self.token = f"canary-{secrets.token_hex(8)}"  # in all that nobody may read
        self.write_files()
        os.chdir(self.work)
        self.listeners = Listeners()
        self.writer = Writer([self.work / name for name in _STORES], self.token)
        self.bystander = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", "import time; time.sleep(3600)"]
        )
        self.things: list[Thing] = []

    @property
    def hidden(self) -> list[str]:
        """The files of the stores."""
        return [
            f"{self.work / name}{end}"
            for name in _STORES
            for end in ("", "-wal", "-shm")
        ]

    def write_files(self) -> None:
        """Write all canaries, in the modes that they should have."""
        key = f"OPENAI_API_KEY=sk-{self.token}\n"
        texts = {
            self.home / ".ssh" / "id_canary": f"hostile-canary {self.token}\n",
            self.home / ".netrc": f"machine example.org password {self.token}\n",
            self.home / ".aws" / "credentials": key,
            self.home / ".config" / "gh" / "hosts.yml": key,
            self.home / ".bash_history": f"export {key}",
            self.work / "trials.jsonl": "hostile-canary\n",
            self.work / ".env": key,
            self.work
            / ".git"
            / "config": f"url = https://x:{self.token}@example.org\n",
        }
        (self.home / ".config" / "autostart").mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                path.unlink()
            path.write_text(text, encoding="utf-8")
            path.chmod(0o600 if path.name != "trials.jsonl" else 0o644)
        for folder in (self.home, self.work, self.home / ".ssh"):
            folder.chmod(0o755 if folder.name != ".ssh" else 0o700)

    def make_things(self) -> None:
        """Let another program make what the kernel keeps, now."""
        if len(self.things) < _MOST_THINGS:
            self.things.append(Thing())

    def lost_things(self) -> list[str]:
        """Return what became of others' things, and remove the rest."""
        lost = [said for thing in self.things for said in thing.lost()]
        for thing in self.things:
            thing.remove()
        self.things.clear()
        return lost


class Thing:
    """Things of another program: a closed file in /dev/shm, a semaphore, System V objects."""

    def __init__(self) -> None:
        """Make one of each."""
        self._name = f"other-{secrets.token_hex(6)}"
        self._files = [
            Path("/dev/shm") / f"{self._name}.bin",
            Path("/dev/shm") / f"sem.{self._name}",
        ]
        for path in self._files:
            path.write_text(self._name, encoding="ascii")
        libc = ctypes.CDLL(None)
        self._numbers = {
            "shm": libc.shmget(0, 4096, _IPC_MADE),
            "sem": libc.semget(0, 1, _IPC_MADE),
            "msg": libc.msgget(0, _IPC_MADE),
        }
        self.rows = {(kind, str(number)) for kind, number in self._numbers.items()}
        self.names = {path.name for path in self._files}

    def lost(self) -> list[str]:
        """Return what is gone or altered."""
        lost = [
            str(path)
            for path in self._files
            if not path.exists() or path.read_text() != self._name
        ]
        there = ipc_objects()
        return lost + [
            f"{kind} {number}"
            for kind, number in self.rows
            if (kind, number) not in there
        ]

    def remove(self) -> None:
        """Remove what is left."""
        libc = ctypes.CDLL(None)
        for path in self._files:
            path.unlink(missing_ok=True)
        libc.shmctl(self._numbers["shm"], _IPC_RMID, 0)
        libc.semctl(self._numbers["sem"], 0, _IPC_RMID)
        libc.msgctl(self._numbers["msg"], _IPC_RMID, 0)


def ipc_objects() -> set[tuple[str, str]]:
    """Return the kinds and numbers of all System V objects."""
    rows = {
        kind: Path(f"/proc/sysvipc/{kind}").read_text().splitlines()[1:]
        for kind in ("shm", "sem", "msg")
    }
    return {(kind, line.split()[1]) for kind, lines in rows.items() for line in lines}


class Listeners:
    """A TCP and a UDP socket on one port of loopback."""

    def __init__(self) -> None:
        """Listen."""
        self._tcp, self._udp = (
            socket.socket(),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        )
        self._tcp.bind(("127.0.0.1", 0))
        self._tcp.listen()
        self.port = self._tcp.getsockname()[1]
        self._udp.bind(("127.0.0.1", self.port))
        for one in (self._tcp, self._udp):
            one.setblocking(False)

    def came(self) -> list[str]:
        """Return the kinds of what came since the last look."""
        found = []
        for name, receive in (
            ("tcp", self._tcp.accept),
            ("udp", lambda: self._udp.recv(100)),
        ):
            with suppress(BlockingIOError):
                while receive():
                    found.append(name)
        return sorted(set(found))


class Writer(threading.Thread):
    """A run that goes on: it commits to its databases again and again, and is never refused."""

    def __init__(self, paths: list[Path], token: str) -> None:
        """Open the databases, with their journals beside them, and begin."""
        super().__init__(daemon=True)
        self._paths = paths
        self._token = token
        self._ready = threading.Event()
        self._refused: list[str] = []
        self.start()
        self._ready.wait()

    def run(self) -> None:
        """Write."""
        opened = [
            sqlite3.connect(path, timeout=_BUSY_SECS, isolation_level=None)
            for path in self._paths
        ]
        for one in opened:
            one.execute("PRAGMA journal_mode=WAL")
            one.execute("PRAGMA synchronous=OFF")
            one.execute("CREATE TABLE IF NOT EXISTS trials (x TEXT)")
            one.execute(
                "INSERT INTO trials VALUES (?)", [f"hostile-canary {self._token}"]
            )
        self._ready.set()
        while True:
            for one in opened:
                try:
                    one.execute("UPDATE trials SET x = x || ''")
                except sqlite3.Error as error:
                    self._refused.append(str(error))
            time.sleep(0.03)

    def refusals(self) -> list[str]:
        """Return the errors since the last look."""
        found, self._refused = self._refused, []
        return found
