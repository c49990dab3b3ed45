"""The view of a run: honest in every terminal, and nothing hostile reaches it."""

import io
import re
import sys
import threading
import time

import pytest

from llm_optimize import optimize
from llm_optimize.records import (
    Budget,
    BudgetUsed,
    Counts,
    Result,
    RunEnded,
    RunStarted,
    Status,
    Task,
    Trial,
    TrialFinished,
    TrialProposed,
    TrialStarted,
    Usage,
)
from llm_optimize.testing import ScriptedChat
from llm_optimize.watch._plain_lines import sparkline
from llm_optimize.watch.console import Console

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \u202egnp.exe \r\x9b31m"
TASK = Task("Make f larger.", "How?", "s", "h")


def story(trials, **budget):
    events = [
        RunStarted("amber-birch", TASK, "sqlite:///runs.db", 20, Budget(**budget), ())
    ]
    counts = Counts(first_trials=1)
    for trial in trials:
        counts.observe(trial)
        counts.usage = Usage(trial.number, 10 * trial.number, 5)
        counts.calls = trial.number
        events += [
            TrialStarted(trial.number, trial.parent),
            TrialProposed(trial.number, trial.source),
        ]
        events.append(TrialFinished(trial, counts.champion is trial, counts.usage))
        events.append(BudgetUsed(counts.caps(20, Budget(**budget), 0.0)))
    return [*events, RunEnded(Result("amber-birch", trials, Usage(), "max_steps"))]


TRIALS = [
    Trial.of(0, "x = 1\n", Status.COMPLETE, "x0", score=0.5, feedback="fine"),
    Trial.of(
        1,
        "x = 2\n",
        Status.COMPLETE,
        "model:m",
        score=0.75,
        feedback="better",
        parent=0,
        seconds=1.25,
    ),
    Trial.of(
        2,
        "x = 3\n",
        Status.FAILED,
        "model:m",
        feedback="Traceback\nValueError: boom",
        parent=1,
    ),
    Trial.of(
        3,
        "x = 4\n",
        Status.TIMEOUT,
        "model:m",
        feedback="no score after 10 s",
        parent=1,
        seconds=10.0,
    ),
]


def shown(events, file=None):
    file = file or io.StringIO()
    console = Console(file)
    for event in events:
        console(event)
    console.close()
    return file.getvalue()


def test_without_a_terminal_there_is_a_plain_line_for_each_trial():
    lines = shown(story(TRIALS)).splitlines()
    assert lines[0] == "run amber-birch: Make f larger."
    assert re.fullmatch(r" +0  best +0\.5 +x0 +0\.00 s", lines[1])
    assert re.fullmatch(r" +1  best +0\.75 +\+0\.25 +model:m +1\.25 s", lines[2])
    assert re.fullmatch(
        r" +2 +failed +model:m +0\.00 s  failed: ValueError: boom", lines[3]
    )
    assert re.fullmatch(
        r" +3 +timeout +model:m +10\.00 s  timeout: no score after 10 s", lines[4]
    )
    assert lines[5:7] == ["best x, of trial 1:", "x = 2"]
    assert lines[7].startswith(
        "max_steps: best 0.75 in trial 1; 4 trials, 3 model calls, 35 tokens"
    )
    assert lines[8].endswith("llm-optimize show amber-birch")


def test_hostile_text_is_shown_and_never_sent():
    trials = [
        Trial.of(0, HOSTILE, Status.COMPLETE, HOSTILE, score=1.0, feedback=HOSTILE),
        Trial.of(1, HOSTILE, Status.FAILED, HOSTILE, feedback=HOSTILE),
    ]
    out = shown(story(trials))
    assert not set(out) & set("\x1b\x07\u202e\r\x9b")
    assert "\\x1b" in out


class Screen(io.StringIO):
    """A terminal that keeps what it was sent."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)

    def size(columns, lines):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))

    size(80, 24)
    return size


ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def test_in_a_terminal_there_is_a_view(terminal):
    out = ANSI.sub("", shown(story(TRIALS, calls=9), Screen()))
    for words in (
        "amber-birch",
        "Make f larger.",
        "best 0.75",
        "★ 1",
        "ValueError: boom",
        "model calls",
        "3/9",
        "3/20",
    ):
        assert words in out
    assert out.rstrip().endswith("llm-optimize show amber-birch")
    assert "x = 2" in out.rpartition("best x")[2]


def test_in_a_terminal_hostile_text_does_nothing(terminal):
    trials = [
        Trial.of(0, HOSTILE, Status.COMPLETE, HOSTILE, score=1.0, feedback=HOSTILE)
    ]
    out = shown(story(trials), Screen())
    assert "\x1b[2J" not in out
    assert "\x1b]0;" not in out
    assert not set(ANSI.sub("", out)) & set("\x07\u202e\x9b")


@pytest.mark.parametrize(("columns", "lines"), [(40, 10), (80, 24), (200, 60)])
def test_the_view_fits_the_screen(terminal, columns, lines):
    terminal(columns, lines)
    source, feedback = "model:" + "m" * 50, "f" * 500
    trials = [
        Trial.of(
            n, f"x{n}" * 100, Status.COMPLETE, source, score=n / 7, feedback=feedback
        )
        for n in range(300)
    ]
    screen = Screen()
    console = Console(screen)
    for event in story(trials)[:-1]:
        console(event)
    console.close()
    last = ANSI.sub("", screen.getvalue().rpartition("\x1b[2K")[2])
    picture = console.svg("t", width=columns, height=lines)
    assert picture.startswith("<svg")
    assert all(len(line) <= columns for line in last.splitlines())
    rows = set(re.findall(r'clip-path="url\(#terminal-\d+-line-(\d+)\)', picture))
    assert max(map(int, rows)) < lines


def test_no_color_is_obeyed(terminal, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    out = shown(story(TRIALS), Screen())
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", out)


def test_a_dumb_terminal_gets_plain_lines(terminal, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in shown(story(TRIALS), Screen())


def test_the_terminal_is_given_back_when_a_run_breaks(terminal, monkeypatch, tmp_path):
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)

    class Broken:
        async def propose(self, plan, ask, rng):
            raise RuntimeError("a bug in the user's proposer")

        def observe(self, trial):
            pass

    with pytest.raises(RuntimeError, match="a bug"):
        optimize.run(
            "d",
            "q",
            float,
            "1",
            2,
            proposer=Broken(),
            sandbox="inline",
            store=f"{tmp_path}/runs.db",
        )
    assert screen.getvalue().rstrip("\n").endswith("\x1b[?25h")  # the cursor is back
    assert not [
        thread for thread in threading.enumerate() if "refresh" in thread.name.lower()
    ]


def test_thousands_of_trials_cost_little():
    trials = [
        Trial.of(n, "x", Status.COMPLETE, "m", score=float(n), feedback="f")
        for n in range(20_000)
    ]
    console = Console(io.StringIO())
    events = story(trials)
    begun = time.monotonic()
    for event in events:
        console(event)
    assert time.monotonic() - begun < 10
    assert len(console._run.last) + len(console._run.best_scores) < 1000


def test_a_resumed_run_shows_what_was_there():
    started = RunStarted("amber", TASK, "s", 20, Budget(), tuple(TRIALS))
    lines = shown(
        [started, RunEnded(Result("amber", TRIALS, Usage(), "max_steps"))]
    ).splitlines()
    assert lines[0].endswith("4 trials so far")
    assert "best 0.75 in trial 1; 4 trials" in lines[3]


def test_a_sparkline_rises_and_fits():
    assert sparkline([], 5) == ""
    assert sparkline([1.0, 1.0], 5) == "▁▁"
    assert sparkline([float(n) for n in range(1000)], 8) == "▁▂▃▄▅▆▇█"


def test_a_real_run_is_shown_from_its_events(tmp_path):
    out = io.StringIO()
    model = ScriptedChat("```\n2\n```", "no block", "none", "nothing")
    optimize.run(
        "d",
        "q",
        float,
        "1",
        2,
        model,
        False,
        store=f"{tmp_path}/runs.db",
        sandbox="inline",
        callbacks=[Console(out)],
    )
    assert "model:scripted" in out.getvalue()
    assert "invalid: the reply holds no fenced block" in out.getvalue()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (
            "a\n" * 2000,
            "a\nb\n" * 1000,
        ),  # took minutes where lines that are everywhere were compared, too
        ("x" * 3_000_000, "y" * 3_000_000),
        ("(\n" * 500_000, "'''\n" * 500_000),
    ],
)
def test_a_hostile_difference_is_drawn_soon(old, new):
    trials = [
        Trial.of(0, old, Status.COMPLETE, "m", score=0.0),
        Trial.of(
            1, new, Status.COMPLETE, "m", score=1.0, parent=0, feedback="f" * 3_000_000
        ),
    ]
    console = Console(io.StringIO())
    for event in story(trials)[:-1]:
        console(event)
    begun = time.monotonic()
    picture = console.svg("t", width=200, height=60)
    assert time.monotonic() - begun < 10
    assert "trial&#160;1" in picture


def test_a_picture_loads_nothing():
    console = Console(io.StringIO())
    for event in story(TRIALS):
        console(event)
    picture = console.svg("t")
    assert "url(http" not in picture.replace('"', "")
    assert "@font-face" not in picture
