"""Candidates that misbehave in a whole run: each is reported as what it was, the run goes on."""

import sys
import time
from pathlib import Path

import pytest

from llm_optimize import optimize
from llm_optimize.records import Limits, Status
from llm_optimize.testing import ScriptedChat

DAEMON = """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({path!r}, "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not (os.path.exists({path!r}) and open({path!r}).read()):
    time.sleep(0.005)
y = 2.0
"""

CASES = {
    "loops for ever": ("while True: pass", Status.TIMEOUT, "stopped at the deadline"),
    "prints a gigabyte": (
        "for _ in range(1000): print('x' * 1_000_000)",
        Status.FAILED,
        "output limit of 16 MB",
    ),
    "ends the process": (
        "import os; os._exit(0)",
        Status.FAILED,
        "ended with exit code 0 before f returned",
    ),
    "returns NaN": ("y = float('nan')", Status.INVALID, "the score is nan"),
    "raises": ("raise ValueError('no luck')", Status.FAILED, "ValueError: no luck"),
}


def f(x):
    names = {}
    exec(x, names)
    return names["y"]


def run(tmp_path, x, **options):
    replies = (f"```\n{text}\n```" for text in (x, "y = 5.0"))
    return optimize.run(
        "d",
        "q",
        f,
        "y = 1.0",
        2,
        ScriptedChat(*replies),
        False,
        store=f"{tmp_path}/runs.db",
        timeout_secs=3.0,
        **options,
    )


@pytest.mark.parametrize("case", CASES)
def test_it_is_reported_as_what_it_was_and_the_run_goes_on(tmp_path, case):
    x, status, words = CASES[case]
    begun = time.monotonic()
    result = run(tmp_path, x)
    bad = result.trials[1]
    assert (bad.status, bad.score) == (status, None)
    assert words in bad.feedback
    assert result.best_score == 5.0
    assert time.monotonic() - begun < 15


@pytest.mark.skipif(
    sys.platform != "linux",
    reason="a daemon that left its group is found on Linux only",
)
def test_a_daemon_is_dead_when_its_score_is_there(tmp_path):
    path = tmp_path / "pid"
    result = run(
        tmp_path,
        DAEMON.format(path=str(path)),
        limits=Limits(writable=(str(tmp_path),)),
    )
    assert result.scores == [1.0, 2.0, 5.0]
    assert not Path(f"/proc/{path.read_text()}").exists()
