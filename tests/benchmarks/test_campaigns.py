"""The campaigns of benchmarks/, short; and proof that their judges see what they are to see."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import kills
from benchmarks.faults import RATES, faults
from benchmarks.kills import Death, Snapshot, Story

ROOT = Path(__file__).parents[2]


def missed(bars):
    """Return the bars that do not hold; times are bounded here only for any load."""
    times = [bar for bar in bars if bar.unit == "s"]
    broken = [bar for bar in bars if bar.verdict != "held" and bar not in times]
    return [
        (bar.name, bar.value, bar.note)
        for bar in (*broken, *(bar for bar in times if bar.value > 20))
    ]


def test_a_run_survives_what_endpoints_do():
    bars = faults(trials=60, deadline_secs=4.0, seed=2)
    assert len(bars) == 7
    assert missed(bars) == []
    met = next(bar.note for bar in bars if bar.name == "replies lost")
    assert all(
        f"{name} " in met for name in RATES if name != "context"
    )  # of which one in a hundred comes seldom


def test_a_run_survives_a_prompt_that_is_too_long():
    bars = faults(
        trials=20, rates=dict.fromkeys(RATES, 0.0) | {"context": 0.05}, seed=15
    )  # request 12, and no other
    assert missed(bars) == []


@pytest.mark.skipif(
    sys.platform != "linux", reason="processes are counted as Linux shows them"
)
def test_runs_that_are_killed_and_resumed_lose_and_repeat_nothing(tmp_path):
    output = tmp_path / "bars.json"
    short = ["--runs", "3", "--steps", "8", "--kills", "2", "--output", output]
    command = [sys.executable, "-m", "benchmarks.kills", *short]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert output.exists(), done.stdout + done.stderr
    finished, *others = json.loads(output.read_text())
    assert finished["value"] == 3
    # A time: this machine's load decides, and the benchmark judges it.
    time_on_the_way = others.pop()
    assert time_on_the_way["name"].startswith("answer sent until its x is committed")
    repeated = [bar for bar in others if bar["name"].startswith("calls repeated")]
    others = [bar for bar in others if bar not in repeated]
    assert [bar["name"] for bar in others if bar["verdict"] != "held"] == []
    # An answer takes longer than 0.1 s to the disk where this machine is very busy.
    assert repeated[0]["value"] <= 2
    assert int(finished["note"].split()[0]) >= 2  # kills; some runs are quicker
    assert len(others) == 6


# The judges.


def snapshot(*numbers, replies=(), calls=0, integrity="ok"):
    trials = {number: (f'"x{number}"', -1.0, "complete", 5.0) for number in numbers}
    return Snapshot(integrity, trials, list(replies), calls, begun=True)


def answer(name, time):
    return {"event": "answer", "text": f"Reply {name}: so", "time": time}


REQUEST = {"event": "request"}
KILLED = Story(
    deaths=[Death(at=100.0, noted=2, snapshot=snapshot(0, 1), left=0)],
    final=snapshot(0, 1, 2, replies=[(1, "a"), (2, "b")], calls=3),
    notes=["scoring x1", "scored x1", "scoring x2", "scored x2"],
    log=[
        REQUEST,
        answer("a", 50.0),
        REQUEST,
        answer("lost on the wire", 99.95),
        REQUEST,
        answer("b", 120.0),
    ],
)
JUDGES = (
    kills.lost_scores,
    kills.scored_again,
    kills.asked_again,
    kills.unlisted_calls,
    kills.damaged,
)


def test_a_run_without_fault_is_acquitted():
    assert [judge(KILLED) for judge in JUDGES] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("judge", "story"),
    [
        (
            kills.lost_scores,
            replace(
                KILLED, final=snapshot(0, 2, replies=KILLED.final.replies, calls=3)
            ),
        ),
        (kills.scored_again, replace(KILLED, notes=[*KILLED.notes, "scoring x1"])),
        (
            kills.asked_again,
            replace(KILLED, log=[*KILLED.log, answer("c", 60.0)]),
        ),  # it is not in the store
        (
            kills.asked_again,
            replace(
                KILLED, final=snapshot(replies=[(1, "a"), (2, "b"), (2, "c")], calls=3)
            ),
        ),
        (kills.asked_again, replace(KILLED, log=[*KILLED.log, answer("a", 130.0)])),
        (kills.unlisted_calls, replace(KILLED, log=[*KILLED.log, REQUEST])),
        (
            kills.damaged,
            replace(KILLED, final=replace(KILLED.final, integrity="row 7 missing")),
        ),
    ],
)
def test_a_fault_is_seen(judge, story):
    assert judge(story) == 1
