"""Exit codes of commands that run f: 0 with a score, 1 without one or after an error."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llm_optimize.cli import app

ROOT = Path(__file__).parents[2]
TASK = """\
def good(x):
    return float(x.split()[-1])

def low(x):
    return abs(float(x.split()[-1]) - 3)

def broken():
    return 1.0

def empty(x):
    return None

def unlucky(x):
    raise ValueError(f"not {x}")
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "task.py").write_text(TASK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(func, *more, command="run"):
    """Return the exit code, the output, and what goes to standard error."""
    words = [command, "--task", "t", "--func", f"task.py:{func}", "--x0", "a = 5"]
    words += ["--model", "mutation", "--sandbox", "inline", *more]
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("how", [(), ("--quiet",), ("--json",)])
def test_a_run_with_a_score_exits_with_0(folder, how):
    assert run("good", "--steps", "1", *how)[0] == 0


@pytest.mark.parametrize("how", [(), ("--quiet",), ("--json",)])
@pytest.mark.parametrize(
    ("func", "sentence"),
    [("broken", "define it as f(x)"), ("empty", "the score is None")],
)
def test_a_broken_f_exits_with_1_and_the_sentence(folder, func, sentence, how):
    code, _, error = run(func, "--steps", "9", *how)
    assert code == 1
    assert error.startswith("error: ")
    assert sentence in error
    assert "Traceback" not in error


@pytest.mark.parametrize("how", [(), ("--quiet",), ("--json",)])
def test_a_run_without_any_score_exits_with_1(folder, how):
    code, said, error = run("unlucky", "--steps", "2", *how)
    assert code == 1
    assert "no trial" in said + error
    assert "score" in said + error


def test_catch_goes_on_and_a_run_without_a_score_still_exits_with_1(folder):
    code, said, _ = run("empty", "--steps", "3", "--catch")
    assert code == 1
    assert "max_steps" in said


def test_a_resume_that_ends_without_a_score_exits_with_1(folder):
    assert run("unlucky", "--steps", "1", "--name", "a")[0] == 1
    done = CliRunner().invoke(app, ["resume", "a", "--steps", "2"])
    assert done.exit_code == 1
    done = CliRunner().invoke(
        app, ["resume", "a", "--steps", "4", "--func", "task.py:good"]
    )
    assert done.exit_code == 0


def test_a_comparison_without_any_score_exits_with_1(folder):
    words = ("--contender", "best", "--contender", "best_of_n", "--budget", "2")
    code, _, _ = run("unlucky", *words, "--seeds", "2", command="compare")
    assert code == 1


def test_a_direction_is_an_option_of_the_command_line(folder):
    words = ("--direction", "minimize", "--steps", "8", "--seed", "1", "--name", "low")
    code, _, _ = run("low", *words)
    assert code == 0
    listed = CliRunner().invoke(app, ["show", "low"]).output
    assert " * " in listed
    done = CliRunner().invoke(app, ["resume", "low", "--direction", "maximize"])
    assert done.exit_code == 2
    assert run("low", "--direction", "down")[0] != 0


def test_the_program_itself_exits_with_1(folder):
    words = ["run", "--task", "t", "--func", "task.py:broken", "--x0", "5"]
    done = subprocess.run(
        [sys.executable, "-m", "llm_optimize", *words, "--model", "mutation", "-q"],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: f does not take the arguments")
