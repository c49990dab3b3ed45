"""The fenced blocks of README and docs, and a program that runs them.

Each block has its page, its line, its language and what a comment above it says:

    <!-- file: task.py -->        the block is that file: it lies in the folder of the page's blocks
    <!-- output -->               what the block before it prints; "..." stands for anything
    <!-- not run: why -->         it needs what a test does not have: see NOT_RUN in test_docs.py

`python tests/blocks.py` reads chains of jobs as JSON from its standard input, and writes their
outcomes. A job is a Python file or a command line of `llm-optimize`; the jobs of a chain follow
each other. Every job is a fork of one process that has imported everything: a tenth of the
time that a new interpreter takes.
"""

from __future__ import annotations

import json
import os
import re
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:^<!-- (?P<marker>[^\n]*) -->\n+)?^```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.S | re.M,
)
AT_A_TIME = 2
JOB_SECS = 120.0
ALL_SECS = 400.0


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str  # relative to the project
    line: int
    language: str
    text: str
    marker: str

    @property
    def id(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def file(self) -> str | None:
        """The file that it is."""
        name, _, value = self.marker.partition(": ")
        return value if name == "file" else None

    @property
    def not_run(self) -> str | None:
        """Why no test runs it."""
        name, _, value = self.marker.partition(": ")
        return value if name == "not run" else None

    @property
    def is_output(self) -> bool:
        return self.marker == "output"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(ROOT).as_posix()
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text"))
        marker = (match["marker"] or "").strip()
        found.append(Block(name, line, match["language"], match["text"], marker))
    return found


def commands_of(block: Block) -> Iterator[tuple[str, str]]:
    """Yield the commands of a console block, each with the output that is shown below it."""
    text = block.text.replace("\\\n", " ")
    for part in re.split(r"^\$ ", text, flags=re.M)[1:]:
        command, _, shown = part.partition("\n")
        yield command, shown


# The program that runs jobs.


def work(job: dict[str, Any]) -> None:
    """Do a job in this process, which ends with it."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = Path(job["folder"])
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        file = os.open(folder / f"{job['id']}.{name}", os.O_WRONLY | os.O_CREAT)
        os.dup2(file, number)
    code = 1
    try:
        if "script" in job:
            sys.argv = [job["script"]]
            sys.path[0] = str(folder)
            runpy.run_path(job["script"], run_name="__main__")
        else:
            from llm_optimize.cli import main

            sys.argv = ["llm-optimize", *job["arguments"]]
            main(job["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def outcome_of(job: dict[str, Any], code: int | str) -> dict[str, Any]:
    """Return what became of a job."""
    folder = Path(job["folder"])
    said = {}
    for name in ("out", "err"):
        file = folder / f"{job['id']}.{name}"
        said[name] = file.read_text(encoding="utf-8", errors="replace")
    return {"code": code, **said}


def run_chains(chains: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    """Run all jobs, a few chains at a time; return the outcomes by the ids of the jobs."""
    waiting = [list(chain) for chain in chains if chain]
    running: dict[int, tuple[list[dict[str, Any]], float]] = {}
    outcomes: dict[str, Any] = {}
    end = time.monotonic() + ALL_SECS
    while waiting or running:
        while waiting and len(running) < AT_A_TIME:
            chain = waiting.pop(0)
            pid = os.fork()
            if pid == 0:
                work(chain[0])
            running[pid] = chain, min(end, time.monotonic() + JOB_SECS)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.005)
            kill_late(running)
            continue
        (job, *rest), _ = running.pop(pid)
        outcomes[job["id"]] = outcome_of(job, os.waitstatus_to_exitcode(status))
        if rest:
            waiting.insert(0, rest)
    return outcomes


def kill_late(running: dict[int, tuple[list[dict[str, Any]], float]]) -> None:
    """Kill the jobs whose time is over."""
    for pid, (_, end) in running.items():
        if time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Import what blocks need, and run the jobs."""
    chains = json.load(sys.stdin)
    import numpy  # noqa: F401
    import openai  # noqa: F401
    import optuna  # noqa: F401

    from llm_optimize import cli, optimize, testing  # noqa: F401
    from llm_optimize.propose import classical  # noqa: F401

    json.dump(run_chains(chains), sys.stdout)


if __name__ == "__main__":
    main()
