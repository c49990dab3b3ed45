"""The bars of report and page: python -m benchmarks.watch [--only NAME ...]."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from itertools import count
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from llm_optimize import optimize
from llm_optimize.records import Event, Reply, Status, Trial, TrialFinished, Usage
from llm_optimize.store import Store, rows
from llm_optimize.watch import report

from .bars import Bar, measure
from .bars import report as print_report
from .server import ROOT
from .subjects import closeness

TASK = {
    "description": "Make it faster.",
    "question": "Which is faster?",
    "system_prompt": "",
    "human_prompt": "",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_LINES = 70  # of x
_GROUP = 20  # trials with a look, and so many without
_SETTLE = 2  # the first of them, while processes begin or end, do not count


def bulk_run(store: Store, name: str, size: int, *, calls: bool) -> None:
    """Write a run at once, each trial with a script of 70 lines, and its calls if wanted."""
    store.create_run(name, {"task": TASK, "max_steps": size}).close()
    rng, xs = (
        Random(1),
        ["".join(f"value_{line} = {line}  # one of many\n" for line in range(_LINES))],
    )
    with store.begin(write=True) as connection:
        run = connection.execute(
            store.tables.run.select().where(store.tables.run.c.name == name)
        ).one()
        trials, asked = [], []
        for number in range(size):
            trial = _trial(number, xs, rng)
            proposed = {"plan": "{}", "note": "", "created_at": run.created_at + number}
            trials.append(
                {
                    **rows.from_trial(trial),
                    **proposed,
                    "run_id": run.id,
                    "number": number,
                }
            )
            trials[-1] |= {
                "finished": number + 1,
                "finished_at": run.created_at + 10.0 * number,
            }
            asked += [_call(run.id, trial)] if calls and number else []
        connection.execute(store.tables.trial.insert(), trials)
        if asked:
            connection.execute(store.tables.call.insert(), asked)


def _trial(number: int, xs: list[str], rng: Random) -> Trial:
    parent = None if not number else max(0, number - 1 - int(rng.expovariate(0.3)))
    if parent is not None:
        lines = xs[parent].splitlines(keepends=True)
        lines[rng.randrange(_LINES)] = f"value = {rng.random()}\n"
        xs.append("".join(lines))
    failed = rng.random() < 0.1
    return Trial.of(
        number=number,
        x=xs[number],
        status=Status.FAILED if failed else Status.COMPLETE,
        source="model:small" if number else "x0",
        score=None if failed else number**0.5 + rng.gauss(0, 5),
        feedback=f"Traceback\nValueError: bad value {rng.random()}"
        if failed
        else f"took {rng.random()} s " * 8,
        parent=parent,
        output="one line of output\n" * 10,
        seconds=rng.random(),
        usage=Usage(1, 2500, 700, 1200, 0, 0.001) if number else Usage(),
    )


def _call(run: int, trial: Trial) -> dict[str, Any]:
    text = f"{trial.x}\n{trial.feedback}\n" * 3
    reply = Reply(f"Because.\n```\n{trial.x}\n```", trial.usage, "small", 2.0)
    return {
        "run_id": run,
        "trial": trial.number,
        "call_index": 0,
        "model": "small",
        "messages": rows.from_messages(
            [
                {"role": "system", "content": text[:2000]},
                {"role": "user", "content": text},
            ]
        ),
        "reply": json.dumps(asdict(reply)),
        "sent_at": 0.0,
    }


# The report.


def report_file(trials: int = 1000) -> list[Bar]:
    """Write the report of a run with all its prompts and replies."""
    with TemporaryDirectory() as folder, closing(Store(f"{folder}/runs.db")) as store:
        bulk_run(store, "long", trials, calls=True)
        begun = time.perf_counter()
        size = report.write(store, "long", f"{folder}/report.html").stat().st_size
        taken = time.perf_counter() - begun
    note = f"{trials} trials with prompts and replies"
    return [
        Bar("report: written in", taken, 5.0, "s", note=note),
        Bar("report: size", size / 1e6, 8.0, "MB", note=note),
    ]


# The page.


def page_opens(trials: int = 10_000) -> list[Bar]:
    """Open a long run in a browser, from a server that has just started; then scroll its table."""
    names = ("page: a long run opens in", "page: longest frame while its table scrolls")
    limits = ((2.0, "s"), (0.2, "s"))
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        return [
            Bar(name, None, *limit, note="no browser")
            for name, limit in zip(names, limits, strict=True)
        ]
    with TemporaryDirectory() as folder, ExitStack() as stack:
        with closing(Store(f"{folder}/runs.db")) as store:
            bulk_run(store, "long", trials, calls=False)
        page = stack.enter_context(_browser_page(path))
        url = stack.enter_context(page_server(f"{folder}/runs.db"))
        page.goto(url)
        page.wait_for_selector("table.runs a")
        begun = time.perf_counter()
        page.click("table.runs a")
        page.wait_for_selector(".rows .row")
        table = time.perf_counter() - begun
        page.wait_for_selector("#progress .chart[data-drawn]")
        drawn = time.perf_counter() - begun
        note = f"{trials} trials; the table after {table:.2f} s, then the chart"
        values = (drawn, page.evaluate(_SCROLL))
        notes = (note, "from top to bottom in 120 frames")
        return [
            Bar(n, v, *at, note=note)
            for n, v, at, note in zip(names, values, limits, notes, strict=True)
        ]


_SCROLL = """async () => {
  const table = document.querySelector(".table");
  let last = performance.now(), longest = 0;
  for (let step = 0; step <= 120; step++) {
    table.scrollTop = (table.scrollHeight - table.clientHeight) * step / 120;
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }
  return longest / 1000;
}"""


@contextmanager
def _browser_page(path: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        try:
            yield browser.new_page(viewport={"width": 1280, "height": 900})
        finally:
            browser.close()


@contextmanager
def page_server(store: str) -> Iterator[str]:
    """Yield the address of a page in a process of its own."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "llm_optimize",
        "view",
        "--store",
        store,
        "--port",
        "0",
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            found = re.search(
                r"http://\S+", process.stdout.readline() if process.stdout else ""
            )
            if found is None:
                raise RuntimeError("the page did not begin")
            yield found[0]
        finally:
            process.terminate()


# What it costs a run to be watched.


def watched(trials: int = 400, scoring_secs: float = 0.1) -> list[Bar]:
    """Run with a page that follows every other twenty trials; compare trials with and without."""
    with TemporaryDirectory() as folder:
        store, asked = f"{folder}/runs.db", count()
        Store(store).close()
        with page_server(store) as url:
            look = _Look(url)
            try:
                optimize.run(
                    "Decrease f.",
                    "Smaller?",
                    _Slow(scoring_secs),
                    "[5, 3]",
                    trials,
                    _instant(asked),
                    False,
                    sandbox="inline", seed=1, store=store, name="watched", callbacks=[look],
                )  # fmt: skip
            finally:
                look.close()
    plain, with_look = look.groups[0::2], look.groups[1::2]
    ratios = [
        median(after) / median(before)
        for before, after in zip(plain, with_look, strict=False)
    ]
    note = (
        f"median of {len(ratios)} pairs of {_GROUP} trials "
        f"of {1000 * median(plain[0]):.1f} ms, in one run"
    )
    return [
        Bar("watching a run, to not watching it", median(ratios), 1.02, "x", note=note)
    ]


def _instant(asked: Iterator[int]) -> Callable[[Any], str]:
    """Return a model that answers at once, never the same."""
    return lambda messages: f"```\n[{next(asked)}, 1]\n```"


class _Slow:
    """closeness, after a while."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __call__(self, x: str) -> tuple[float, str]:
        time.sleep(self._seconds)
        return closeness(x)


class _Look:
    """A watcher that follows the page's live stream in turns, and notes how long trials take."""

    def __init__(self, url: str) -> None:
        self._settling = 0
        self.groups: list[list[float]] = [
            []
        ]  # seconds of trials: not watched, watched, not watched, ...
        self._url = url.replace("/?", "/api/live?run=watched&after=999999.0&")
        self._last: float | None = None
        self._reader: Any = None

    def __call__(self, event: Event) -> None:
        """Note a finished trial; begin or end to watch after each group."""
        if not isinstance(event, TrialFinished):
            return
        now = time.perf_counter()
        self._settling -= 1
        if self._last is not None and self._settling < 0:
            self.groups[-1].append(now - self._last)
        self._last = now
        if event.trial.number % _GROUP == _GROUP - 1 and self.groups[-1]:
            self._turn()
            self.groups.append([])
            self._last, self._settling = None, _SETTLE

    def _turn(self) -> None:
        if self._reader is not None:
            self.close()
        else:
            self._reader = subprocess.Popen(
                [sys.executable, "-c", _READER, self._url],
                stdout=subprocess.PIPE,
                text=True,
            )
            if self._reader.stdout.readline() != "reading\n":
                raise RuntimeError("the live stream did not begin")

    def close(self) -> None:
        """Stop watching."""
        if self._reader is not None:
            self._reader.terminate()
            self._reader.wait()
            self._reader.stdout.close()
            self._reader = None


_READER = """
import sys, urllib.request
with urllib.request.urlopen(sys.argv[1]) as stream:
    print("reading", flush=True)
    for line in stream:
        pass
"""

BENCHMARKS: dict[str, Callable[[], Iterable[Bar]]] = {
    "report_file": report_file,
    "page_opens": page_opens,
    "watched": watched,
}


def main() -> int:
    """Measure, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=(), help=", ".join(BENCHMARKS))
    parser.add_argument("--output", help="write the numbers as JSON into this file")
    given = parser.parse_args()
    return print_report(measure(BENCHMARKS, given.only), given.output)


if __name__ == "__main__":
    sys.exit(main())
