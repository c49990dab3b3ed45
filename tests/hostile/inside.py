"""Init of the jail: builds the scene, has the programs run, and reports what became of each.

It is not the optimizer, which is a child: what a program does to "its" optimizer and to other
processes of the user is seen from here, and no signal from inside the jail ends this process.
"""

from __future__ import annotations

import ctypes
import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any

from . import watch
from .scene import Scene

_HONEST = "def candidate(x): return x"
_SETTLE_SECS = 2.0  # for all processes to be gone
_VERDICT_SECS = 60.0  # after the deadline: then nobody will give one
_MORE_PROCESSES = 12  # of the sandbox itself, and of those that are just ending


def main() -> None:
    """Do what the order on stdin says."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    home = _become(order["uid"])
    scene = Scene(home)
    observer = Observer(order, scene)
    for program in order["programs"]:
        say({"begin": program["name"]})
        say({"name": program["name"], **observer.watch(program)})
    say(
        {
            "name": "the end",
            "status": "ok",
            "value": 0.0,
            "message": "",
            "breaches": observer.finish(),
        }
    )
    say({"done": True})


def say(message: dict[str, Any]) -> None:
    """Tell the other side."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _end_with_the_pipe() -> None:
    sys.stdin.read()
    os._exit(0)


def _become(uid: int) -> str:
    """Uncover /proc, make the home, be its user; return the home."""
    home = os.environ["HOME"]
    if os.geteuid() == 0:
        with open("/proc/self/mounts", encoding="utf-8") as file:
            covers = [
                path
                for path in (line.split()[1] for line in file)
                if path.startswith("/proc/")
            ]
        for path in covers:
            ctypes.CDLL(None).umount2(path.encode(), 0)
    os.makedirs(home, exist_ok=True)
    if uid != os.geteuid():
        os.chown(home, uid, uid)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        ctypes.CDLL(None).prctl(
            4, 1, 0, 0, 0
        )  # PR_SET_DUMPABLE: its /proc belongs to it again
    return home


class Optimizer:
    """The other process, which runs the programs."""

    def __init__(self, order: dict[str, Any], scene: Scene) -> None:
        """Start it."""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from hostile.optimizer import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            env={**os.environ, "OPENAI_API_KEY": f"sk-{scene.token}"},
            cwd=scene.work,
        )
        self._said: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        self.pid = self._process.pid
        self._ask(
            {"level": order["level"], "way": order["way"], "hidden": scene.hidden}
        )

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _ask(self, order: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(order) + "\n")

    def run(
        self, source: str, argument: float, program: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return what it says of a program; None when it is dead or hangs."""
        self._ask(
            {
                "source": source,
                "argument": argument,
                "timeout_secs": program["timeout_secs"],
                "default_limits": program["default_limits"],
            }
        )
        return self._answer(program["timeout_secs"] + _VERDICT_SECS)

    def _answer(self, within_secs: float) -> dict[str, Any] | None:
        with suppress(queue.Empty):
            line = self._said.get(timeout=within_secs)
            if line:
                return json.loads(line)
            self._said.put("")  # the end, also for those who ask later
        return None

    def close(self) -> bool:
        """Let it close its sandboxes and end; return whether it did."""
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        closed = self._answer(_VERDICT_SECS) is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
            return closed
        self._process.kill()
        self._process.wait()
        return False


class Observer:
    """Runs a program and says what it broke."""

    def __init__(self, order: dict[str, Any], scene: Scene) -> None:
        """Start the optimizer and let it run something honest."""
        self._scene = scene
        self._order = order
        self._alone = {pid for pid, _ in watch.processes()}
        self._at_first = {*os.listdir("/tmp")}
        self._optimizer = Optimizer(order, scene)
        self._self: dict[str, Any] = {}
        self._warmed: set[bool] = set()  # which limits have an open sandbox
        self._warm(order["programs"][0])

    def _warm(self, program: dict[str, Any]) -> list[str]:
        """Make the honest call; return what is wrong with it."""
        said = self._optimizer.run(_HONEST, 3.0, {**program, "timeout_secs": 10.0})
        if said is None:
            self._optimizer.close()
            self._optimizer = Optimizer(self._order, self._scene)
            said = self._optimizer.run(_HONEST, 3.0, {**program, "timeout_secs": 10.0})
            if said is None:
                sys.exit("no optimizer works here")
            self._self, self._warmed = said["self"], {program["default_limits"]}
            return [
                f"next call: the optimizer is dead; its successor says {said['status']}"
            ]
        self._self = said["self"]
        self._warmed.add(program["default_limits"])
        return (
            []
            if said["value"] == 3.0
            else [f"next call: {said['status']} {said['message'][:300]}"]
        )

    def watch(self, program: dict[str, Any]) -> dict[str, Any]:
        """Return what a program came to, and every breach that was seen."""
        scene = self._scene
        if program["default_limits"] not in self._warmed:
            self._warm(program)
        watch.quiet()
        scene.listeners.came()
        scene.writer.refusals()
        scene.make_things()
        before, was = watch.snapshot(scene, self._optimizer.pid), self._self
        argument = float(scene.listeners.port) if program["wants_port"] else 3.0
        sampler = watch.Sampler(scene)
        breaches, last = [], None
        for _ in range(program["runs"]):
            last = self._optimizer.run(program["source"], argument, program)
            if last is None:
                breaches.append("killed: the optimizer gives no verdict any more")
                break
            breaches += self._said(program, last, was)
            self._self = last["self"]
        sampler.stop()
        breaches += self._seen(program, sampler)
        # Each of those has a sandbox of its own.
        if self._order["way"] != "split" or breaches:
            breaches += self._warm(program)
        breaches += self._settled(before)
        if lost := scene.lost_things():
            breaches.append(
                f"things of others: gone or altered: {', '.join(lost)}"[:300]
            )
        if breaches:
            scene.write_files()
        last = last or {"status": "dead", "value": None, "message": ""}
        return {
            **{name: last[name] for name in ("status", "value", "message")},
            "breaches": breaches,
        }

    def _said(
        self, program: dict[str, Any], said: dict[str, Any], was: dict[str, Any]
    ) -> list[str]:
        """Look at the answer, and at what the optimizer says of itself."""
        found, now = [], said["self"]
        value = said["value"]
        if isinstance(value, int | float) and 600 <= value < float("inf"):
            found.append(f"value: {value} says that the attack came through")
        if self._scene.token in json.dumps(said):
            found.append("canary: a secret is in what came back")
        if said["seconds"] > program["timeout_secs"] + self._order["late_secs"]:
            found.append(
                f"late: {said['seconds']:.1f} s at a deadline of {program['timeout_secs']} s"
            )
        for name in ("cwd", "umask", "environment", "handlers"):
            if now[name] != was[name]:
                found.append(f"optimizer: its {name} became {now[name]}")
        if now["descriptors"] > was["descriptors"]:
            found.append(
                f"optimizer: it holds {now['descriptors']} descriptors, {was['descriptors']} before"
            )
        if now["signals"] > was["signals"]:
            found.append("signal: the optimizer received SIGURG")
        if now["peak_growth_mb"] > program["optimizer_mb"]:
            found.append(f"optimizer memory: it grew by {now['peak_growth_mb']:.0f} MB")
        return found

    def _seen(self, program: dict[str, Any], sampler: watch.Sampler) -> list[str]:
        """Look at what was seen meanwhile."""
        found = [f"packet: {kind} came" for kind in self._scene.listeners.came()]
        found += [
            f"store: its writer was refused: {said}"
            for said in self._scene.writer.refusals()[:1]
        ]
        if program["probe"] == "inotify" and sampler.no_inotify:
            found.append(
                f"inotify: refused to another program {sampler.no_inotify} times"
            )
        if sampler.most_processes > program["processes"] + _MORE_PROCESSES:
            found.append(
                f"processes: {sampler.most_processes} more than before at "
                f"processes={program['processes']}"
            )
        if program["scoring_mb"] and sampler.most_memory_mb > program["scoring_mb"]:
            found.append(f"memory: {sampler.most_memory_mb:.0f} MB more than before")
        return found

    def _settled(self, before: dict[str, watch.Facts]) -> list[str]:
        """Wait until all is as it was; return what is not."""
        until = time.monotonic() + self._order["settle_secs"]
        while True:
            watch.reap()
            found = list(
                watch.differences(
                    before, watch.snapshot(self._scene, self._optimizer.pid)
                )
            )
            if not found or time.monotonic() > until:
                return found
            time.sleep(0.05)

    def finish(self) -> list[str]:
        """Let the optimizer end; return what it leaves behind."""
        found = (
            [] if self._optimizer.close() else ["killed: the optimizer does not end"]
        )
        until = time.monotonic() + _SETTLE_SECS
        while time.monotonic() < until and self._left():
            time.sleep(0.05)
        return (
            found
            + [f"process left: {said}" for said in self._left()]
            + self._files_left()
        )

    def _left(self) -> list[str]:
        watch.reap()
        return [str(pid) for pid, _ in watch.processes() if pid not in self._alone]

    def _files_left(self) -> list[str]:
        return [
            f"scratch left: {name}"
            for name in sorted({*os.listdir("/tmp")} - self._at_first)
        ]


if __name__ == "__main__":
    main()
