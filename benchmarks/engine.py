"""Benchmark of the engine: python -m benchmarks.engine [--only NAME ...].

Each bar is a ratio within one run.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import subprocess
import sys
import time
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import mean, median
from tempfile import TemporaryDirectory
from typing import Any

from llm_optimize import llm, optimize
from llm_optimize.records import Event, Message, TrialFinished

from .bars import Bar, measure, report
from .prompt_cache import cacheable
from .runs import MODEL, WORDS, run_trials
from .server import ROOT, Server, start_server
from .subjects import closeness, closeness_at_once, slow_closeness

_SCORING_SECS = 0.3  # of slow_closeness


# Own work per trial.


def own_work(rounds: int = 7, trials: int = 40) -> list[Bar]:
    """Compare a trial with a bare model call plus a bare fork, in turns."""
    pairs = []
    with start_server() as server, TemporaryDirectory() as folder:
        chat = llm.Chat(MODEL, base_url=server.base_url)
        for _ in range(rounds):
            bare = asyncio.run(_bare_trials(server, trials))
            times = run_trials(
                closeness, trials + 1, chat, folder, sandbox="process"
            ).moments()
            pairs.append(
                (bare, (times[-1] - times[1]) / trials)
            )  # the first trial opens the connection
    bare, own = (
        1000 * min(side) for side in zip(*pairs, strict=True)
    )  # the rounds with the fewest neighbours
    note = f"{own:.1f} ms a trial, bare {bare:.1f} ms, the best of {rounds} rounds each"
    return [
        Bar(
            "own work per trial, to bare call + bare fork",
            own / bare,
            2.0,
            "x",
            note=note,
        )
    ]


async def _bare_trials(server: Server, trials: int) -> float:
    """Return the seconds of a bare call plus a bare fork."""
    async with _bare_client(server) as client:
        await _bare_call(client)
        begun = time.perf_counter()
        for _ in range(trials):
            await _bare_call(client)
            _bare_fork()
        return (time.perf_counter() - begun) / trials


def _bare_client(server: Server) -> Any:
    import openai

    return openai.AsyncOpenAI(base_url=server.base_url, api_key="none", max_retries=0)


async def _bare_call(client: Any) -> None:
    messages = [
        {"role": "system", "content": "word " * 200},
        {"role": "user", "content": "word " * 200},
    ]
    await client.chat.completions.create(model=MODEL, messages=messages)


def _bare_fork() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", DeprecationWarning
        )  # there may be threads; the child does nothing
        pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


# The pipeline.


def pipeline(
    trials: int = 80, slots: int = 8, workers: int = 8, reply_secs: float = 1.0
) -> list[Bar]:
    """Compare a run with the best that anybody could make of the same replies."""
    with (
        start_server(latency_secs=reply_secs, sigma=0.3) as server,
        TemporaryDirectory() as folder,
    ):
        chat = llm.Chat(MODEL, base_url=server.base_url)
        clock = run_trials(
            slow_closeness,
            trials,
            chat,
            folder,
            workers=workers,
            sandbox="process",
            model_slots=slots,
        )
        delays = [line["delay_secs"] for line in server.log("request")][:trials]
    needed = max(clock.finished.values()) - min(clock.begun.values())
    ideal = _ideal_secs(delays, slots, workers)
    note = f"{needed:.1f} s, ideal {ideal:.1f} s, {slots} slots, {workers} workers"
    return [
        Bar(
            "full pipeline, share of the ideal",
            ideal / needed,
            0.9,
            at_least=True,
            note=note,
        )
    ]


def _ideal_secs(delays: Sequence[float], slots: int, workers: int) -> float:
    """Return when the last scoring could end, x0's coming first, if nothing else took time."""
    asking, scoring = [_SCORING_SECS] * slots, [0.0] * workers
    answered = []
    for delay in delays:
        answered.append(heapq.heappop(asking) + delay)
        heapq.heappush(asking, answered[-1])
    for moment in sorted(answered):
        heapq.heappush(scoring, max(moment, heapq.heappop(scoring)) + _SCORING_SECS)
    return max(scoring)


def in_flight(
    calls: int = 2048, width: int = 256, reply_secs: float = 1.0
) -> list[Bar]:
    """Compare the throughput of concurrent calls with that of the bare client, before and after."""
    with (
        start_server(latency_secs=reply_secs, sigma=0.3) as server,
        TemporaryDirectory() as folder,
    ):
        before = asyncio.run(_bare_rate(server, calls, width))
        seen = len(server.log("request"))
        chat = llm.Chat(MODEL, base_url=server.base_url)
        clock = run_trials(
            closeness_at_once, calls, chat, folder, workers=width, model_slots=width
        )
        most = max(line["in_flight"] for line in server.log("request")[seen:])
        after = asyncio.run(_bare_rate(server, calls, width))
    moments = clock.moments()[1:]
    rate = calls / (moments[-1] - clock.begun[1])
    bare = mean([before, after])
    steady = moments[: max(2, calls - width)]
    stall = max(later - earlier for earlier, later in pairwise(steady))
    note = f"{rate:.0f} calls/s, bare {bare:.0f}; up to {most} in flight"
    return [
        Bar(
            f"{width} calls in flight, throughput to the bare client",
            rate / bare,
            0.8,
            at_least=True,
            note=note,
        ),
        Bar(
            f"{width} calls in flight, longest time without an answer",
            stall,
            max(reply_secs, 0.1),
            "s",
        ),
    ]


async def _bare_rate(server: Server, calls: int, width: int) -> float:
    """Return the calls per second of a bare client."""
    left = iter(range(calls))

    async def ask() -> None:
        for _ in left:
            await _bare_call(client)

    async with _bare_client(server) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(ask() for _ in range(width)))
        return calls / (time.perf_counter() - begun)


# Growth.


def growth(trials: int = 10_000) -> list[Bar]:
    """Compare the last trials of a long run with early ones; in a fresh process, for its memory."""
    code = f"import json; from benchmarks.engine import grow; print(json.dumps(grow({trials})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    facts: dict[str, float] = json.loads(done.stdout)
    name = f"trial {trials} to trial {min(100, trials // 4)}"
    note = f"{facts['late_ms']:.2f} ms, early {facts['early_ms']:.2f} ms"
    return [
        Bar(f"{name}: own time", facts["time"], 1.2, "x", note=note),
        Bar(
            f"{name}: prompt size",
            facts["prompt"],
            1.2,
            "x",
            note=f"{facts['prompt_chars']:.0f} characters",
        ),
        Bar(
            "memory beyond x",
            facts["kb"],
            1.0,
            "kB/trial",
            note=f"resident, {facts['mb']:.1f} MB in all",
        ),
    ]


class Instant:
    """A model that answers at once with two numbers, and notes the size of each prompt."""

    def __init__(self) -> None:
        self.sizes = array("l")
        self._rng = Random(3)

    async def __call__(self, messages: Sequence[Message]) -> str:
        """Return a reply."""
        self.sizes.append(sum(len(message["content"]) for message in messages))
        a, b = self._rng.uniform(-9, 9), self._rng.uniform(-9, 9)
        return f"Nearer.\n\n```\n[{a:.12f}, {b:.12f}]\n```"


class Meter:
    """A watcher that notes when trials are finished, and the resident memory after some of them."""

    def __init__(self, *numbers: int) -> None:
        self.moments = array("d")
        self.bytes: dict[int, int] = {}
        self._numbers = numbers

    def __call__(self, event: Event) -> None:
        """Note it."""
        if isinstance(event, TrialFinished):
            self.moments.append(time.perf_counter())
            if event.trial.number in self._numbers:
                self.bytes[event.trial.number] = resident_bytes()


def resident_bytes(pid: int | str = "self") -> int:
    """Return the resident set of a process; 0 where it is unknown."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf(
            "SC_PAGE_SIZE"
        )
    except (OSError, IndexError):
        return 0


def grow(trials: int) -> dict[str, float]:
    """Return what `growth` compares, measured in this process."""
    early = min(100, trials // 4)
    window = early // 2
    model, meter, again = Instant(), Meter(trials // 10, trials), Meter()
    # Own time is not the disk's.
    in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with TemporaryDirectory(dir=in_memory) as folder:
        _run_alone(3, Instant(), Meter(), folder)  # what is loaded once is not growth
        _run_alone(trials, model, meter, folder)
        _run_alone(
            2 * early, Instant(), again, folder
        )  # early trials, at the time of the late ones
    first = mean(
        [
            _typical(one.moments[early - window : early + window])
            for one in (meter, again)
        ]
    )
    last = _typical(meter.moments[-2 * window :])
    grown = meter.bytes[trials] - meter.bytes[trials // 10]  # caches are full by then
    size = sys.getsizeof("[-9.123456789012, -9.123456789012]")
    return {
        "time": last / first,
        "early_ms": 1000 * first,
        "late_ms": 1000 * last,
        "prompt": mean(model.sizes[-2 * window :])
        / mean(model.sizes[early - window : early + window]),
        "prompt_chars": mean(model.sizes[-2 * window :]),
        "kb": (grown / (trials - trials // 10) - size) / 1000,
        "mb": grown / 1e6,
    }


def _run_alone(trials: int, model: Instant, meter: Meter, folder: str) -> None:
    store = f"{folder}/{time.monotonic_ns()}.db"
    options: dict[str, Any] = {
        "sandbox": "inline",
        "store": store,
        "seed": 1,
        "callbacks": [meter],
    }
    optimize.run(*WORDS, closeness_at_once, "[5, 3]", trials, model, False, **options)


def _typical(moments: Sequence[float]) -> float:
    return median(later - earlier for earlier, later in pairwise(moments))


# Starting.


def starting(rounds: int = 15) -> list[Bar]:
    """Measure `import llm_optimize` and `llm-optimize --help`, each against a bare interpreter."""
    times: dict[str, list[float]] = {"pass": [], "import llm_optimize": [], "help": []}
    for _ in range(rounds):
        for code, spent in times.items():
            arguments = (
                ["-m", "llm_optimize", "--help"] if code == "help" else ["-c", code]
            )
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments],
                cwd=ROOT,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            spent.append(1000 * (time.perf_counter() - begun))
    bare, imported, helped = (median(spent) for spent in times.values())
    foreign = _foreign_modules()
    return [
        Bar(
            "import llm_optimize, beyond bare Python",
            imported - bare,
            60,
            "ms",
            note=f"bare {bare:.0f} ms",
        ),
        Bar(
            "third-party modules that it imports",
            len(foreign),
            0,
            note=", ".join(foreign[:5]),
        ),
        Bar("llm-optimize --help", helped, 300, "ms"),
    ]


def _foreign_modules() -> list[str]:
    code = (
        "import sys; before = set(sys.modules); import llm_optimize; "
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    tops = {name.partition(".")[0] for name in done.stdout.split()}
    return sorted(tops - sys.stdlib_module_names - {"llm_optimize"})


BENCHMARKS: dict[str, Callable[[], Iterable[Bar]]] = {
    "own_work": own_work,
    "pipeline": pipeline,
    "in_flight": in_flight,
    "growth": growth,
    "cacheable": cacheable,
    "starting": starting,
}


def main() -> int:
    """Measure, print, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--trials", type=int, default=10_000, help="of the growth benchmark"
    )
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    benchmarks = {**BENCHMARKS, "growth": lambda: growth(given.trials)}
    return report(measure(benchmarks, given.only), given.output)


if __name__ == "__main__":
    sys.exit(main())
