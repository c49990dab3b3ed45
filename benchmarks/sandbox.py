"""The bars of the sandbox: python -m benchmarks.sandbox [--level LEVEL] [--only NAME ...]."""

from __future__ import annotations

import argparse
import gc
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from llm_optimize import sandbox as sandboxes
from llm_optimize.errors import SandboxUnavailable, UnknownName
from llm_optimize.sandbox import OutcomeStatus, open_sandbox

from .bars import Bar, measure, report, zero
from .engine import resident_bytes
from .heavy_subjects import Holder, learner
from .subjects import endless, length

_Call = getattr(sandboxes, "Call", None)
_WARM_MS = {"process": 20.0, "namespace": 40.0}
_FASTER = {
    "process": 50.0,
    "namespace": 25.0,
}  # than a fresh interpreter: as the two bounds in milliseconds are
_MB = 2**20
_LEFT_SECS = 5.0  # after which a process that still runs is a leak


def score(sandbox: Any, x: str, timeout_secs: float, seed: int = 0) -> Any:
    """Return the outcome of one f(x), whichever way this version asks for it."""
    return (
        sandbox.run(_Call(x, timeout_secs, seed))
        if _Call
        else sandbox.run(x, timeout_secs, seed)
    )


def expect(
    sandbox: Any, x: str, status: OutcomeStatus, timeout_secs: float = 60.0
) -> float:
    """Return the seconds that one f(x) took; raise RuntimeError unless it ends with this status."""
    begun = time.perf_counter()
    outcome = score(sandbox, x, timeout_secs)
    seconds = time.perf_counter() - begun
    if outcome.status is not status:
        raise RuntimeError(
            f"f({x!r}) ended as {outcome.status}: {outcome.message or outcome.traceback}"
        )
    return seconds


# Speed.


def warm(
    level: str = "process", scorings: int = 100, cold_starts: int = 5
) -> list[Bar]:
    """Score an f that needs numpy and scikit-learn, against a new interpreter that imports them."""
    with closing(open_sandbox(level, learner)) as sandbox:
        expect(sandbox, "3", OutcomeStatus.OK)
        warm_ms = 1000 * median(
            expect(sandbox, "3", OutcomeStatus.OK) for _ in range(scorings)
        )
    cold_ms = 1000 * median(_cold_secs() for _ in range(cold_starts))
    return [
        Bar(
            f"warm scoring, {level}",
            warm_ms,
            _WARM_MS.get(level, 20.0),
            "ms",
            note="f imports numpy and sklearn",
        ),
        Bar(
            f"warm scoring, {level}, to a fresh interpreter",
            cold_ms / warm_ms,
            _FASTER.get(level, 50.0),
            "x faster",
            True,
        ),
    ]


def _cold_secs() -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numpy, sklearn.ensemble"], check=True)
    return time.perf_counter() - begun


def kill(
    level: str = "process", scorings: int = 200, timeout_secs: float = 0.2
) -> list[Bar]:
    """Score an f that never returns, and see how late it is dead."""
    habits = ("busy", "asleep", "hide")
    late, before = [], descendants()
    with closing(open_sandbox(level, endless)) as sandbox:
        for number in range(scorings):
            seconds = expect(
                sandbox, habits[number % 3], OutcomeStatus.TIMEOUT, timeout_secs
            )
            late.append(1000 * (seconds - timeout_secs))
    return [
        Bar(
            f"kill at the deadline, {level}, median",
            median(late),
            150,
            "ms late",
            note=f"{scorings} scorings",
        ),
        Bar(f"kill at the deadline, {level}, worst", max(late), 1000, "ms late"),
        zero(f"processes left by killed f, {level}", len(_left_processes(before))),
    ]


# Leaks.


def soak(level: str = "process", scorings: int = 1000, workers: int = 2) -> list[Bar]:
    """Score many times, and see what is left."""
    with _own_folder() as folder, ThreadPoolExecutor(workers) as threads:
        before, open_before = descendants(), _descriptors()
        with closing(open_sandbox(level, length)) as sandbox:
            score_all = partial(_score_all, threads, sandbox)
            score_all(min(500, scorings))
            early = _state(folder)
            score_all(scorings)
            late = _state(folder)
        gc.collect()
        left, open_files, files = (
            _left_processes(before),
            _descriptors() - open_before,
            _files(folder),
        )
    grown = (late["resident"] - early["resident"]) / _MB
    note = f"{scorings} scorings, {workers} workers"
    name = f"soak, {level}: "
    return [
        Bar(f"{name}resident set grows", grown, 20, "MB", note=note),
        zero(
            f"{name}more processes than at first",
            late["processes"] - early["processes"],
        ),
        zero(f"{name}zombies", late["zombies"]),
        zero(
            f"{name}more descriptors than at first",
            late["descriptors"] - early["descriptors"],
        ),
        zero(
            f"{name}more temporary files than at first", late["files"] - early["files"]
        ),
        zero(
            f"{name}left when it is closed",
            len(left) + max(0, open_files) + files,
            "processes, descriptors, files",
        ),
    ]


def _score_all(threads: ThreadPoolExecutor, sandbox: Any, scorings: int) -> None:
    for seconds in threads.map(
        lambda number: expect(sandbox, str(number), OutcomeStatus.OK), range(scorings)
    ):
        if seconds > 10:
            raise RuntimeError(f"a scoring that does nothing took {seconds:.1f} s")


def _state(folder: Path) -> dict[str, int]:
    gc.collect()
    family = [os.getpid(), *_settled()]
    return {
        "resident": sum(map(resident_bytes, family)),
        "processes": len(family),
        "zombies": sum(_is_zombie(pid) for pid in family),
        "descriptors": _descriptors(),
        "files": _files(folder),
    }


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Let all temporary files be made in a folder that nobody else writes to."""
    with tempfile.TemporaryDirectory() as name:
        usual, tempfile.tempdir = tempfile.tempdir, name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = usual


def _files(folder: Path) -> int:
    return sum(1 for _ in folder.rglob("*"))


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


# Memory.


def sharing(
    level: str = "process", size_mb: int = 500, workers: int = 8, hold_secs: float = 3.0
) -> list[Bar]:
    """Score with large arrays in f, several at once, and see whether memory is shared."""
    with (
        closing(open_sandbox(level, Holder(size_mb))) as sandbox,
        ThreadPoolExecutor(workers) as threads,
    ):
        expect(sandbox, "0", OutcomeStatus.OK)
        alone = len(_settled())
        idle = _proportional_mb(alone)
        calls = [
            threads.submit(expect, sandbox, str(hold_secs), OutcomeStatus.OK)
            for _ in range(workers)
        ]
        busy = 0.0
        while not all(call.done() for call in calls):
            busy = max(busy, _proportional_mb(alone + workers))
            time.sleep(0.02)
        for call in calls:
            call.result()
    if not busy:
        raise RuntimeError(
            f"the {workers} scorings did not run at the same time: raise hold_secs"
        )
    name = f"PSS grows, {workers} at once, f holds {size_mb} MB, {level}"
    return [
        Bar(
            name,
            (busy - idle) / size_mb,
            0.5,
            "x",
            note=f"idle {idle:.0f} MB, busy {busy:.0f} MB",
        )
    ]


def _proportional_mb(processes: int) -> float:
    """Return the proportional set size of this process and its descendants.

    Shared pages count once. It is 0 while there are fewer descendants than `processes`, and where
    one came or went meanwhile: the sum is wrong then.
    """
    family = descendants()
    size = sum(map(_pss_bytes, [os.getpid(), *family])) / _MB
    return size if family == descendants() and len(family) >= processes else 0.0


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


# The family of a process.


def descendants(root: int | None = None) -> list[int]:
    """Return the processes below one, by default this one."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            parents.setdefault(_parent(int(entry)), []).append(int(entry))
    found = list(parents.get(os.getpid() if root is None else root, []))
    for pid in found:
        found += parents.get(pid, [])
    return found


def _settled(still_secs: float = 0.3) -> list[int]:
    """Return the descendants when none came or went for a while: a scoring may still be ending."""
    family, since = descendants(), time.monotonic()
    while time.monotonic() < since + still_secs:
        time.sleep(0.02)
        if family != (family := descendants()):
            since = time.monotonic()
    return family


def _stat(pid: int) -> list[str]:
    """Return state, parent and so on; nothing of a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _parent(pid: int) -> int:
    return int((_stat(pid) or ["", "0"])[1])


def _is_zombie(pid: int) -> bool:
    return _stat(pid)[:1] == ["Z"]


def describe(pid: int) -> str:
    """Describe a process in a line: id, state, parent, what it waits for, command."""
    state, parent, *_ = [*_stat(pid), "gone", ""]
    found = [f"process {pid}, state {state}, parent {parent}"]
    for name in ("wchan", "cmdline"):
        with suppress(OSError):
            found.append(
                Path(f"/proc/{pid}/{name}").read_text().replace("\0", " ")[:200]
            )
    return ", ".join(found)


def _left_processes(before: Sequence[int]) -> set[int]:
    """Return what runs below this process and did not `before`, when it had time enough to end."""
    end = time.monotonic() + _LEFT_SECS
    while (left := set(descendants()).difference(before)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


BENCHMARKS: dict[str, Callable[..., list[Bar]]] = {
    "warm": warm,
    "kill": kill,
    "soak": soak,
    "sharing": sharing,
}


def at_level(
    level: str, benchmark: Callable[..., list[Bar]], **options: Any
) -> list[Bar]:
    """Run a benchmark; where there is no such level here, return one skipped bar that says why."""
    if not sys.platform.startswith("linux"):
        return [Bar(f"sandbox {level}", None, 0, note="measured on Linux only")]
    try:
        with closing(open_sandbox(level, length)):
            pass
    except (SandboxUnavailable, UnknownName) as reason:
        return [Bar(f"sandbox {level}", None, 0, note=str(reason).partition("\n")[0])]
    return benchmark(level, **options)


def benchmarks(
    level: str, **options: dict[str, Any]
) -> dict[str, Callable[[], Iterable[Bar]]]:
    """Return the benchmarks of one level, with options for some of them by name."""
    return {
        name: partial(at_level, level, each, **options.get(name, {}))
        for name, each in BENCHMARKS.items()
    }


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--level", default="process", help="process or namespace")
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument("--scorings", type=int, default=1000, help="of the soak")
    parser.add_argument(
        "--data-mb", type=int, default=500, help="that f holds, for sharing"
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    options = {
        "soak": {"scorings": given.scorings},
        "sharing": {"size_mb": given.data_mb},
    }
    return report(measure(benchmarks(given.level, **options), given.only), given.output)


if __name__ == "__main__":
    sys.exit(main())
