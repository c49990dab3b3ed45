"""Options of a run as flags of the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from llm_optimize.store import Store

ROOT = Path(__file__).parents[2]


# From the command line.


@pytest.fixture
def command(tmp_path):
    """Return a function that runs llm-optimize in a folder with an f, and returns its output."""
    (tmp_path / "task.py").write_text("def f(x):\n    return float(x.strip())\n")

    def command(*arguments, code=0):
        line = [
            sys.executable,
            "-m",
            "llm_optimize",
            *map(str, arguments),
            "--store",
            "runs.db",
        ]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            line,
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr if code else done.stdout

    return command


def test_flags_reach_a_run_and_what_goes_on_from_it(command, tmp_path):
    given = (
        "--task d --func task.py:f --x0 1 --model mutation --steps 1 --name amber "
        "--max-prompt-tokens 900 --repeats 2 --limit memory_mb=900 --env LANG --max-calls 9 "
        "--max-score 5 --sandbox inline"
    )
    command("run", *given.split(), "--system-prompt", "Be brief.")
    with closing(Store(tmp_path / "runs.db")) as store:
        stored = store.run("amber").settings
    assert stored["max_prompt_tokens"] == 900
    assert stored["repeats"]["n"] == 2
    assert stored["max_score"] == 5.0
    assert stored["limits"]["memory_mb"] == 900
    assert stored["limits"]["env"] == ["LANG"]
    assert stored["budget"]["calls"] == 9
    assert stored["task"]["system_prompt"] == "Be brief."
    resume = "resume amber --steps 50 --stale-steps 4 --json"
    resumed = json.loads(command(*resume.split()))
    assert "stale_steps" in resumed["stop_reason"]
    replay = "replay amber --steps 50 --max-scorings 1 --name again --json"
    replayed = json.loads(command(*replay.split()))
    assert "scorings" in replayed["stop_reason"]


def test_flags_that_cannot_be_are_refused_in_a_sentence(command):
    given = ["--task", "d", "--func", "task.py:f", "--x0", "1", "--model", "mutation"]
    assert "unknown limit 'memory': did you mean 'memory_mb'" in command(
        "run", *given, "--limit", "memory=5", code=2
    )
    assert "memory_mb takes a whole number" in command(
        "run", *given, "--limit", "memory_mb=much", code=2
    )
    command("run", *given, "--steps", 0, "--name", "amber", "--sandbox", "inline")
    assert "No such option: --seed" in command("resume", "amber", "--seed", 3, code=2)
