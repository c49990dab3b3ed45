"""The view of a run on real terminals: a pty, and an emulator that says what is on the screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from terminals import terminal

pytest.importorskip("pty", reason="there are no ptys on this system")
pytest.importorskip("pyte", reason="needs a terminal emulator: pip install pyte")

HOSTILE = (
    "\x1b[2J\x1b[3;1HOWNED\x1b]0;owned\x07 \u202egnp.exe "
    "\r\x9b31m\x1b[?1049h \x08\x0b\x0c\x1bc"
)
STORY = """
import sys
from llm_optimize.records import *
from llm_optimize.watch.console import Console

hostile, wide = %s
words = f"Make f larger than it was before, in any way that you like. {hostile}" * 3
task = Task(words, "How?", "s", "h")
X = '''import math

def f(n):
    # {hostile}
    return [number * {number} for number in range(n)]
'''
console = Console()
budget = Budget(seconds=600, calls=9, usd=2.0)
console(RunStarted("amber-birch" + hostile, task, "sqlite:///runs.db", 20, budget, ()))
before = None
for number in range(9):
    x = X.replace("{number}", str(number)).replace("{hostile}", hostile)
    console(TrialStarted(number, before.number if before else None))
    console(TrialProposed(number, "model:m" + hostile))
    if number in (3, 4):
        said = "Traceback\\nValueError: boom" + hostile
        trial = Trial.of(number, x, Status.FAILED, "model:m" + hostile, feedback=said)
    else:
        feedback = "\u5b57" * 60 if wide else "it was %%d " %% number + hostile
        parent = before.number if before else None
        trial = Trial.of(number, x, Status.COMPLETE, "model:m", score=number / 7,
                         feedback=feedback, parent=parent)
    usage = Usage(number + 1, 1000 * number, 5, cost_usd=0.01 * number)
    console(TrialFinished(trial, trial.scored, usage))
    if trial.scored:
        console(ChampionFound(trial, before))
        before = trial
console(CallFailed(9, "gpt" + hostile, "HTTP 500 " + hostile))
console(BudgetUsed((Cap("max_steps", 8, 20), Cap("calls", 9, 18),
                    Cap("tokens", 8005, None), Cap("usd", 0.08, 2.0),
                    Cap("seconds", 0, 600), Cap("scorings", 9, None), Cap("stale_steps", 0, None))))
console(TrialStarted(9, 8))
sys.stdin.readline()
console(RunEnded(Result("amber-birch" + hostile, [trial], usage, "max_steps" + hostile)))
"""


def story(hostile: str = "", *, wide: bool = False) -> str:
    return STORY % repr((hostile, wide))


def drawn(screen) -> bool:
    """Whether the last event before the end is on the screen."""
    return "in flight: trial 9 asking" in screen.text and "9/18" in screen.text


@pytest.mark.parametrize(
    ("columns", "lines"), [(60, 12), (80, 24), (130, 30), (200, 60)]
)
@pytest.mark.parametrize("hostile", ["", HOSTILE], ids=["plain", "hostile"])
def test_the_view_stands_on_the_screen(
    tmp_path: Path, columns: int, lines: int, hostile: str
) -> None:
    with terminal(story(hostile), columns, lines, tmp_path) as screen:
        screen.until(drawn)
        shown = screen.lines
        assert shown[0].startswith(" amber-birch")
        assert shown[1].startswith("Make f larger than it was")
        (headline,) = (line for line in shown if line.startswith("best "))
        assert re.match(r"best 1\.143  trial 8 by model:m, [\d.]+ s ago", headline)
        assert "★ 8" in screen.text
        assert "in flight: trial 9 asking" in screen.text
        assert "8/20" in screen.text
        assert (
            sum(line.startswith(" amber-birch") for line in shown) == 1
        )  # nothing scrolled or is there twice
        if lines >= 24:
            assert "trial 8 against trial 7" in screen.text
            assert re.search(r"^.*- +return \[number \* 7 for", screen.text, re.M)
            assert re.search(r"^.*\+ +return \[number \* 8 for", screen.text, re.M)
            assert re.search(r"no reply for trial 9 from gpt", screen.text)
            for words in ("failed: ", "$0.0800/$2.00", "/10m00s", "8,005", " left"):
                assert words in screen.text
            assert hostile or "failed: ValueError" in screen.text
            assert {"green", "red", "cyan"} <= screen.colors()


@pytest.mark.parametrize(("columns", "lines"), [(40, 15), (80, 24)])
def test_hostile_text_moves_nothing(tmp_path: Path, columns: int, lines: int) -> None:
    with terminal(story(HOSTILE), columns, lines, tmp_path) as screen:
        screen.press("\n")
        assert screen.end() == 0
        sent = screen.raw.decode()
        assert screen.title == ""
        assert "\x1b[2J" not in sent
        assert "\x1bc" not in sent
        assert "?1049h" not in sent.replace("\\x1b[?1049h", "")
        assert not set(sent) & set("\x07\x08\x0b\x0c\x9b\u202e")
        assert r"\x1b[2J" in sent  # shown
        assert "llm-optimize" in screen.text.replace("\n", "")


@pytest.mark.parametrize(
    "environment", [{}, {"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_small_dumb_and_old_terminals_get_plain_lines(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    columns = 80 if environment else 40
    with terminal(story(), columns, 40, tmp_path, **environment) as screen:
        screen.press("\n")
        assert screen.end() == 0
        sent = screen.raw.decode()
        assert "\x1b" not in sent
        assert [len(line) for line in sent.splitlines() if len(line) > columns] == []
        assert re.search(r"^ *1 +best +0\.1429 +\+0\.1429", sent, re.M)
        assert re.search(r"^ *3 .*failed: ValueError: boom", sent, re.M)
        assert "no reply for trial 9 from gpt" in sent
        said = " ".join(sent.split())
        assert "max_steps: best 1.143 in trial 8; 9 trials, 9 model calls" in said
        assert said.endswith("llm-optimize show amber-birch")


def test_wide_letters_and_tabs_do_not_break_the_lines(tmp_path: Path) -> None:
    with terminal(story("\t\u5b57", wide=True), 80, 24, tmp_path) as screen:
        screen.until(drawn)
        assert sum(line.startswith(" amber-birch") for line in screen.lines) == 1
        assert "8/20" in screen.text


def test_no_color_is_obeyed_and_the_rest_is_as_ever(tmp_path: Path) -> None:
    with terminal(story(), 80, 24, tmp_path, NO_COLOR="1") as screen:
        screen.until(drawn)
        assert screen.colors() == {"default"}
        assert "★ 8" in screen.text


def test_at_the_end_the_best_x_stays_and_the_cursor_is_back(tmp_path: Path) -> None:
    with terminal(story(), 80, 50, tmp_path) as screen:
        screen.until(drawn)
        screen.press("\n")
        assert screen.end() == 0
        assert screen.raw.count(b"\x1b[?25l") == screen.raw.count(b"\x1b[?25h") == 1
        below = screen.text.rpartition(" best x ")[2]
        assert "return [number * 8 for number in range(n)]" in below
        assert below.rstrip().endswith("llm-optimize show amber-birch")


def test_a_real_run_is_seen_live(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text(
        "import os, time\ndef f(x):\n"
        "    while x > 'b' and not os.path.exists('go'):\n        time.sleep(0.01)\n"
        "    return float(len(x)), 'long enough'\n"
    )
    code = (
        "from llm_optimize import optimize; from task import f\n"
        "from llm_optimize.testing import ScriptedChat\n"
        "model = ScriptedChat('```\\nccc\\n```', '```\\ndd\\n```')\n"
        "optimize.run('Longer.', '?', f, 'a', 2, model, sandbox='inline')"
    )
    with terminal(
        code, 100, 30, tmp_path, PYTHONPATH=f"{Path(__file__).parents[2]}:{tmp_path}"
    ) as screen:
        screen.until(lambda screen: "in flight: trial 1 scoring" in screen.text)
        assert "★ 0" in screen.text
        (tmp_path / "go").touch()
        assert screen.end() == 0
        assert "★ 1" in screen.text
        assert "ended: max_steps" in screen.text


def test_an_error_that_ends_a_run_is_said_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "task.py").write_text("def f(x):\n    return None\n")
    code = (
        "from llm_optimize import optimize; from task import f\n"
        "optimize.run('Longer.', '?', f, 'a', 2, 'mutation', sandbox='inline')"
    )
    path = f"{Path(__file__).parents[2]}:{tmp_path}"
    with terminal(code, 60, 30, tmp_path, PYTHONPATH=path) as screen:
        assert screen.end() == 0
        below = " ".join(screen.text.rpartition("no trial has a score")[2].split())
        assert "the score is None, which is not a number" in below
        assert "return an int or a float" in below
