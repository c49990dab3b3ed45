"""The optimizer in the jail: runs programs in one of the ways, and reports how it fares itself.

one: the candidate in f's process. split: `eval_utils.call` from outside. nested: f, which holds
labels, calls `eval_utils.call` from its sandbox. bare: no wall at all, for the tests of the
watching; here: in this very process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sys
import time
from typing import Any

from candidates import load_and_call
from llm_optimize import eval_utils
from llm_optimize.errors import SandboxError, VariableMissing
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call, open_sandbox

SERIES = Limits(
    network=False,
    memory_mb=1024,
    processes=64,
    file_mb=64,
    scratch_mb=256,
    output_mb=4,
    result_mb=1,
)
LABELS = ["HIDDEN-LABEL-CANARY-1"]
OWN_SECS = 20.0  # for f itself, around the deadline of what it calls


def main() -> None:
    """Take orders from stdin and answer each with a line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    state = {"signals": 0}
    signal.signal(signal.SIGURG, lambda *_: state.update(signals=state["signals"] + 1))
    ways = Ways(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        order = json.loads(line)
        before_mb = _reset_peak_mb()
        begun = time.monotonic()
        found = ways.run(order)
        found["seconds"] = time.monotonic() - begun
        found["self"] = {
            **_self(),
            "peak_growth_mb": _memory_mb("VmHWM") - before_mb,
            "signals": state["signals"],
        }
        answers.write(json.dumps(found) + "\n")
    ways.close()
    answers.write(json.dumps({"closed": True}) + "\n")


class Ways:
    """The open sandboxes, one for each set of limits."""

    def __init__(self, order: dict[str, Any]) -> None:
        """Take the level, the way and the files of the store."""
        self._level = order["level"]
        self._way = order["way"]
        self._hidden = order["hidden"]
        self._opened: dict[bool, Any] = {}

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Return what becomes of a program, as plain data."""
        limits = Limits() if order["default_limits"] else SERIES
        asked = [order["source"], order["argument"]]
        if self._way == "split":
            return judged(
                [*asked, order["timeout_secs"], self._level, order["default_limits"]]
            )
        if self._way in ("bare", "here"):
            return without_walls(asked, order["timeout_secs"], self._way == "bare")
        sandbox = self._opened.get(order["default_limits"])
        if sandbox is None:
            f = load_and_call if self._way == "one" else judged
            sandbox = open_sandbox(self._level, f, limits, self._hidden)
            self._opened[order["default_limits"]] = sandbox
        if self._way == "one":
            return _said(sandbox.run(Call(asked, order["timeout_secs"])))
        more = [order["timeout_secs"], self._level, order["default_limits"]]
        outcome = sandbox.run(Call([*asked, *more], order["timeout_secs"] + OWN_SECS))
        if outcome.status == "ok" and isinstance(outcome.value, dict):
            return {**outcome.value, "output": outcome.output}
        return {**_said(outcome), "of_f": True}

    def close(self) -> None:
        """Close them all."""
        for sandbox in self._opened.values():
            sandbox.close()


def judged(order: list[Any]) -> dict[str, Any]:
    """Be an f that holds labels and runs the candidate in a sandbox; also called without one."""
    source, argument, timeout_secs, level, default_limits = order
    limits = None if default_limits else SERIES
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            value = eval_utils.call(
                source,
                "candidate",
                [argument],
                None,
                timeout_secs,
                limits=limits,
                sandbox=level,
            )
    except VariableMissing as error:
        return {"status": "raised", "value": None, "message": str(error), "output": ""}
    except SandboxError as error:
        if error.outcome is None:
            raise
        status = (
            "protocol" if error.outcome.status == "ok" else str(error.outcome.status)
        )
        return {
            "status": status,
            "value": None,
            "message": str(error)[-2000:],
            "output": error.outcome.output[-2000:],
        }
    plain = value if isinstance(value, int | float) else repr(value)[:2000]
    return {
        "status": "ok",
        "value": plain,
        "message": "",
        "output": printed.getvalue()[-2000:],
    }


def _said(outcome: Any) -> dict[str, Any]:
    value = (
        outcome.value
        if isinstance(outcome.value, int | float)
        else repr(outcome.value)[:2000]
    )
    said = outcome.message + outcome.traceback[-2000:]
    return {
        "status": str(outcome.status),
        "value": value,
        "message": said,
        "output": outcome.output[-2000:],
    }


def without_walls(
    asked: list[Any], timeout_secs: float, forked: bool
) -> dict[str, Any]:
    """Call the candidate with nothing between it and the scene."""
    if not forked:
        return {
            "status": "ok",
            "value": load_and_call(asked),
            "message": "",
            "output": "",
        }
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, json.dumps(load_and_call(asked)).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        value = json.loads(file.read() or b"0.0")
    os.waitpid(pid, 0)
    return {"status": "ok", "value": value, "message": "", "output": str(value)}


def _self() -> dict[str, Any]:
    """Return what of this process must stay as it is."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "cwd": os.getcwd(),
        "umask": umask,
        "descriptors": len(os.listdir("/proc/self/fd")),
        "environment": sorted(os.environ),
        "handlers": [
            str(signal.getsignal(number))
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
        ],
    }


def _reset_peak_mb() -> float:
    """Let the peak of this process's memory begin here; return what it is now."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return _memory_mb("VmRSS")


def _memory_mb(name: str) -> float:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(
            int(line.split()[1]) / 1024 for line in file if line.startswith(name + ":")
        )


if __name__ == "__main__":
    main()
